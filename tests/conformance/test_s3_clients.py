"""The command lines that people use, unchanged, against the S3 front over HTTP and over TLS."""

import filecmp
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.s3_server import ALICE, Running, make_certificate, s3_serving

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module", params=["http", "https"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    files = make_certificate(tmp_path_factory.mktemp("tls")) if request.param == "https" else None
    with s3_serving(tls=files) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> Path:
    source = tmp_path / "src"
    (source / "sub dir").mkdir(parents=True)
    (source / "empty").write_bytes(b"")
    (source / "a+b&c.txt").write_text("hello")
    (source / "sub dir" / "grün %41.bin").write_bytes(os.urandom(20 << 20))  # several parts for both clients
    return source


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-500:]}{done.stderr[-2000:]}"
    return done.stdout


def same(left: Path, right: Path) -> bool:
    names = sorted(path.relative_to(left) for path in left.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(right) for path in right.rglob("*") if path.is_file())
    return all(filecmp.cmp(left / name, right / name, shallow=False) for name in names)


def test_the_aws_command_line(server: Running, files: Path, tmp_path: Path) -> None:
    def aws(*arguments: str) -> str:
        return run(
            str(BIN / "aws"), "--endpoint-url", server.url, *arguments,
            AWS_ACCESS_KEY_ID=ALICE.access_key, AWS_SECRET_ACCESS_KEY=ALICE.secret_key, AWS_DEFAULT_REGION="eu-central-1",
            AWS_MAX_ATTEMPTS="1", AWS_EC2_METADATA_DISABLED="true", HOME=str(tmp_path), **({"AWS_CA_BUNDLE": server.ca} if server.ca else {}),
        )  # fmt: skip

    aws("s3", "mb", "s3://aws-cli")
    aws("s3", "cp", "--recursive", "--only-show-errors", str(files), "s3://aws-cli/")
    assert aws("s3", "ls", "--recursive", "s3://aws-cli").count("\n") == 3
    aws("s3", "sync", "--only-show-errors", "s3://aws-cli", str(tmp_path / "dst"))
    assert same(files, tmp_path / "dst")
    aws("s3", "mv", "--only-show-errors", "s3://aws-cli/a+b&c.txt", "s3://aws-cli/moved")
    aws("s3", "cp", "--only-show-errors", "s3://aws-cli/sub dir/grün %41.bin", "s3://aws-cli/copy")
    for algorithm in ("CRC64NVME", "SHA256"):
        put = ("s3api", "put-object", "--bucket", "aws-cli", "--key", algorithm, "--checksum-algorithm", algorithm)
        assert f"Checksum{algorithm}" in aws(*put, "--body", str(files / "a+b&c.txt"))
    aws("s3", "rb", "--force", "s3://aws-cli")


@pytest.mark.parametrize("version", ["v4", "v2"])
def test_s3cmd(server: Running, files: Path, tmp_path: Path, version: str) -> None:
    host = f"127.0.0.1:{server.port}"
    configuration = tmp_path / "s3cfg"
    configuration.write_text(
        f"[default]\naccess_key = {ALICE.access_key}\nsecret_key = {ALICE.secret_key}\nhost_base = {host}\nhost_bucket = {host}\n"
        f"use_https = {server.scheme == 'https'}\nca_certs_file = {server.ca or ''}\nbucket_location = US\nmultipart_chunk_size_mb = 5\n"
        f"signature_v2 = {version == 'v2'}\n"
    )

    def s3cmd(*arguments: str) -> str:
        return run(str(BIN / "s3cmd"), "-c", str(configuration), *arguments)

    s3cmd("mb", "s3://s3cmd")
    s3cmd("put", "--recursive", f"{files}/", "s3://s3cmd/")
    assert s3cmd("ls", "-r", "s3://s3cmd").count("\n") == 3
    assert "ACL:       alice: FULL_CONTROL" in s3cmd("info", "s3://s3cmd/a+b&c.txt")
    assert "Location:  us-east-1" in s3cmd("info", "s3://s3cmd")
    s3cmd("sync", "s3://s3cmd/", f"{tmp_path / 'dst'}/")
    assert same(files, tmp_path / "dst")
    s3cmd("cp", "s3://s3cmd/a+b&c.txt", "s3://s3cmd/copy")
    s3cmd("modify", "--add-header=x-amz-meta-q:1", "s3://s3cmd/copy")
    assert "x-amz-meta-q: 1" in s3cmd("info", "s3://s3cmd/copy")
    assert "4 objects" in s3cmd("du", "s3://s3cmd")
    s3cmd("rb", "--recursive", "s3://s3cmd")
