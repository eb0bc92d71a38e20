"""Files for clients: readable by a shell, by YAML, by SSH, and by their owner alone."""

import os
import stat
import subprocess
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization

from objstore.cli.cloud_files import Login, clouds, ensure_key, login_of, openrc, write_files

LOGIN = Login("https://127.0.0.1:5400/identity/v3", "admin", "admin", 'it\'s "odd" $x', "us-east-1", "/d/my ca.pem")


def test_a_shell_reads_the_login_as_it_is() -> None:
    done = subprocess.run(["sh", "-c", openrc(LOGIN) + "env"], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    values = dict(line.split("=", 1) for line in done.stdout.splitlines() if line.startswith("OS_"))
    assert (values["OS_PASSWORD"], values["OS_CACERT"], values["OS_AUTH_URL"]) == (LOGIN.password, LOGIN.ca_file, LOGIN.auth_url)


def test_programs_read_the_login_as_it_is() -> None:
    cloud = yaml.safe_load(clouds(LOGIN))["clouds"]["objstore"]
    assert cloud["auth"]["password"] == LOGIN.password
    assert (cloud["region_name"], cloud["cacert"]) == ("us-east-1", LOGIN.ca_file)


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    for path in write_files(tmp_path, LOGIN):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_login_is_what_up_printed() -> None:
    summary = {"identity": "http://i", "admin": {"user": "a", "project": "b", "password": "c"}, "region": "r", "ca_cert": None}
    login = login_of(summary)
    assert login == Login("http://i", "a", "b", "c", "r")
    assert "OS_CACERT" not in openrc(login)
    assert "cacert" not in clouds(login)


def test_a_key_is_made_once_and_is_the_same_later(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    path, public = ensure_key(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public.startswith("ssh-ed25519 AAAA")
    assert ensure_key(tmp_path) == (path, public)
    assert serialization.load_ssh_public_key(public.encode()) is not None
