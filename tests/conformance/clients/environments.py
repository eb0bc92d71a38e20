"""Installs each client into a cache directory of its own, once; a client that cannot be had says why.

Nothing is taken from the developer's environment: versions stand in clients.toml, a change there makes a new directory.
`OBJSTORE_CONFORMANCE_CACHE` names another place than the user's cache.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CATALOGUE = HERE.parent / "clients.toml"
INSTALL_TIMEOUT_S = 900


class Unobtainable(Exception):
    """The client cannot be installed here; the text says why."""


@dataclass(frozen=True)
class Client:
    """A client as the catalogue has it."""

    name: str
    source: str
    packages: tuple[str, ...]
    script: str
    program: str = ""
    no_virtual: str = ""
    hosts: int = 0  # of guests, which the cluster must have


@dataclass
class Installed:
    """A client that is there: how its script is run."""

    client: Client
    command: list[str]
    path: str = ""  # directory with the client's programs


def catalogue() -> dict[str, Client]:
    """All clients by name, in the order of the file."""
    tables = tomllib.loads(CATALOGUE.read_text())
    return {
        name: Client(
            name,
            table["from"],
            tuple(table["packages"]),
            table["script"],
            table.get("program", ""),
            table.get("virtual", ""),
            table.get("hosts", 0),
        )
        for name, table in tables.items()
    }


def cache_directory() -> Path:
    """Where clients are installed."""
    chosen = os.environ.get("OBJSTORE_CONFORMANCE_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "objstore-conformance"


def install(client: Client) -> Installed:
    """Have the client.  Raises Unobtainable."""
    return _INSTALLERS[client.source](client)


def _run(command: list[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except FileNotFoundError:
        raise Unobtainable(f"{command[0]} is not on this machine") from None
    except subprocess.TimeoutExpired:
        raise Unobtainable(f"{command[0]} took longer than {INSTALL_TIMEOUT_S} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unobtainable(f"{Path(command[0]).name} {command[1] if len(command) > 1 else ''}: {lines[-1][:200] if lines else 'failed'}")


def _directory(client: Client, extra: str = "") -> tuple[Path, bool]:
    """The client's directory, and whether it is ready.  One that an interrupted attempt left is made anew."""
    digest = hashlib.sha256(json.dumps([client.packages, sys.version_info[:2], extra]).encode()).hexdigest()[:12]
    directory = cache_directory() / f"{client.name}-{digest}"
    ready = (directory / ".ready").exists()
    if not ready:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    return directory, ready


def _script(client: Client) -> str:
    return str(HERE / client.script)


def _pypi(client: Client) -> Installed:
    directory, ready = _directory(client)
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(directory / "bin" / "python")
    if not ready:
        _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(directory)])
        _run([uv, "pip", "install", "--quiet", "--python", python, *client.packages])
        (directory / ".ready").touch()
    return Installed(client, [python, _script(client)], str(directory / "bin"))


def _debian(client: Client) -> Installed:
    if not Path(client.program).exists():
        if os.geteuid():
            raise Unobtainable(f"{client.program} is missing and only root can install it: apt-get install {' '.join(client.packages)}")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        try:
            _run(["apt-get", "install", "-y", "--no-install-recommends", *client.packages], environment=quiet)
        except Unobtainable:
            _run(["apt-get", "update"], environment=quiet)
            _run(["apt-get", "install", "-y", "--no-install-recommends", *client.packages], environment=quiet)
    return Installed(client, [sys.executable, _script(client)], str(Path(client.program).parent))


def _npm(client: Client) -> Installed:
    directory, ready = _directory(client)
    if not ready:
        _run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(directory), *client.packages])
        (directory / ".ready").touch()
    # Imports of a module are looked for beside it and above: the script runs from where its packages are.
    script = directory / client.script
    script.write_text((HERE / client.script).read_text())
    return Installed(client, ["node", str(script)])


def _go(client: Client) -> Installed:
    source = (HERE / client.script).read_text()
    pins = (HERE / "go.mod.txt").read_text()
    directory, ready = _directory(client, source + pins)
    program = directory / "client"
    if not ready:
        (directory / "go.mod").write_text(pins)
        (directory / "main.go").write_text(source)
        _run(["go", "mod", "tidy"], cwd=directory)
        _run(["go", "build", "-o", str(program), "."], cwd=directory)
        (directory / ".ready").touch()
    return Installed(client, [str(program)])


def _maven(client: Client) -> Installed:
    source = (HERE / client.script).read_text()
    project = (HERE / "pom.xml").read_text()
    directory, ready = _directory(client, source + project)
    if not ready:
        (directory / "pom.xml").write_text(project)
        java = directory / "src" / "main" / "java"
        java.mkdir(parents=True)
        (java / client.script).write_text(source)
        _run(["mvn", "-q", "-B", "package"], cwd=directory)
        (directory / ".ready").touch()
    return Installed(
        client, ["java", "-XX:+UseSerialGC", "-Xmx512m", "-cp", f"{directory}/target/classes:{directory}/target/lib/*", "AwsSdk"]
    )


def _own(client: Client) -> Installed:
    return Installed(client, [sys.executable, _script(client)])


_INSTALLERS = {"pypi": _pypi, "debian": _debian, "npm": _npm, "go": _go, "maven": _maven, "own": _own}
