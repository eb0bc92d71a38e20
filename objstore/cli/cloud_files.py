"""What a client needs to find a cloud: `openrc` for a shell, `clouds.yaml` for programs, a key pair for guests.  They lie in the cluster's directory."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from objstore.cli.layout import write_file

CLOUD = "objstore"  # its name in clouds.yaml
OPENRC = "openrc"
CLOUDS = "clouds.yaml"
KEY = Path("secrets") / "guests.key"


@dataclass(frozen=True)
class Login:
    """How the administrator logs in."""

    auth_url: str
    user: str
    project: str
    password: str
    region: str
    ca_file: str | None = None


def login_of(summary: dict[str, Any]) -> Login:
    """From what `ctl up` prints."""
    admin = summary["admin"]
    return Login(summary["identity"], admin["user"], admin["project"], admin["password"], summary["region"], summary["ca_cert"])


def openrc(login: Login) -> str:
    """For a shell to read: `. openrc`."""
    values = {
        "OS_AUTH_URL": login.auth_url,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_USERNAME": login.user,
        "OS_PASSWORD": login.password,
        "OS_PROJECT_NAME": login.project,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": login.region,
        **({"OS_CACERT": login.ca_file} if login.ca_file else {}),
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def clouds(login: Login) -> str:
    """For openstacksdk and whatever is made of it.  Strings of JSON are strings of YAML."""

    def line(indent: int, name: str, value: str) -> str:
        return f"{' ' * indent}{name}: {json.dumps(value)}\n"

    return (
        f"clouds:\n  {CLOUD}:\n    auth:\n"
        + line(6, "auth_url", login.auth_url)
        + line(6, "username", login.user)
        + line(6, "password", login.password)
        + line(6, "project_name", login.project)
        + line(6, "user_domain_name", "Default")
        + line(6, "project_domain_name", "Default")
        + line(4, "region_name", login.region)
        + (line(4, "cacert", login.ca_file) if login.ca_file else "")
    )


def write_files(root: Path, login: Login) -> tuple[Path, Path]:
    """Both files, for their owner alone: the password is in them.  Raises OSError."""
    paths = (root / OPENRC, root / CLOUDS)
    for path, text in zip(paths, (openrc(login), clouds(login)), strict=True):
        write_file(path, text.encode(), mode=0o600)
    return paths


def ensure_key(root: Path) -> tuple[Path, str]:
    """The file of the private key with which to log in to guests, made once, and its public half as guests take it.  Raises OSError, ValueError."""
    path = root / KEY
    if path.exists():
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    else:
        key = Ed25519PrivateKey.generate()
        encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        write_file(path, encoded, mode=0o600)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return path, f"{public.decode()} {CLOUD}"
