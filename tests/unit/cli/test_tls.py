"""Generated certificates: a client that trusts the authority accepts the server by name and by address."""

import socket
import ssl
import stat
import threading
import time
from pathlib import Path

import pytest

from objstore.cli.tls import CA_FILE, CERTIFICATE_FILE, KEY_FILE, make_certificates


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "tls"
    make_certificates(path, wall_us=time.time_ns() // 1000)
    return path


def _handshake(directory: Path, name: str, trust: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(directory / CERTIFICATE_FILE, directory / KEY_FILE)
    client = ssl.create_default_context(cafile=str(trust))
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            try:
                server.wrap_socket(theirs, server_side=True).close()
            except (ssl.SSLError, OSError):
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, client.wrap_socket(ours, server_hostname=name):
            pass
    finally:
        thread.join()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "::1"])
def test_the_server_is_trusted_under_each_of_its_names(directory: Path, name: str) -> None:
    _handshake(directory, name, directory / CA_FILE)


def test_another_name_and_another_authority_are_refused(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(directory, "example.org", directory / CA_FILE)
    make_certificates(tmp_path / "other", wall_us=time.time_ns() // 1000)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(directory, "localhost", tmp_path / "other" / CA_FILE)


def test_the_key_is_for_the_owner_alone(directory: Path) -> None:
    assert stat.S_IMODE((directory / KEY_FILE).stat().st_mode) == 0o600


def test_the_certificate_holds_for_buckets_named_by_host(tmp_path: Path) -> None:
    make_certificates(tmp_path, wall_us=time.time_ns() // 1000, domains=("s3.localhost",))
    for name in ("s3.localhost", "photos.s3.localhost", "localhost"):
        _handshake(tmp_path, name, tmp_path / CA_FILE)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(tmp_path, "photos.s3.example", tmp_path / CA_FILE)
