"""The published test vectors of Signature Version 4, all of them, as they are in botocore's source distribution.

They are fetched from the package index once (the wheel does not have them) and kept in the cache of the conformance clients.  The
service they sign for normalises paths, which S3 never does: for those few the signature must be refused over the path as it came,
and hold over the path that the vector names.
"""

import subprocess
import sys
import tarfile
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest

from objstore.core.sigv4 import (
    Received,
    SignatureRefused,
    canonical_paths,
    canonical_requests,
    parse_authorization,
    signing_key,
    string_to_sign,
    verify,
)
from objstore.fronts.s3.request import header_table
from tests.conformance.clients.environments import cache_directory

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SERVICE = frozenset(("service",))
NORMALISED = {"get-relative", "get-relative-relative", "get-slash", "get-slash-dot-slash", "get-slash-pointless-dot", "get-slashes"}
LEAST = 34  # vectors in the suite; fewer would mean that some were not found


def fetch() -> Path:
    """The suite's directory; skips where the index cannot be reached."""
    wanted = f"botocore=={version('botocore')}"
    home = cache_directory() / f"aws4_testsuite-{version('botocore')}"
    if (home / ".ready").exists():
        return home
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(home), wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"NOT RUN: the vectors of Signature Version 4: {wanted} did not come within 300 s")
    if done.returncode:
        pytest.skip(f"NOT RUN: the vectors of Signature Version 4: {wanted} cannot be fetched: {done.stderr.strip()[-200:]}")
    (archive,) = home.glob("botocore-*.tar.gz")
    with tarfile.open(archive) as opened:
        suite = [member for member in opened.getmembers() if "/aws4_testsuite/" in member.name and member.isfile()]
        opened.extractall(home, suite, filter="data")
    archive.unlink()
    (home / ".ready").touch()
    return home


@dataclass(frozen=True)
class Vector:
    """One request, signed, and what its signature is over."""

    name: str
    request: Received
    payload: str
    canonical: bytes
    to_sign: str
    authorization: str


def vector(request: Path) -> Vector:
    """A vector by its .sreq file, the signed request; what was signed is in files beside it (one .sreq has another's signature)."""
    head, _, body = request.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
    first, *lines = head.replace(b"\n ", b" ").split(b"\n")  # lines that are folded are one; the server itself refuses them
    method, _, rest = first.decode("latin-1").partition(" ")
    target = rest.rpartition(" ")[0]
    path, _, query = target.partition("?")
    pairs = [line.partition(b":")[::2] for line in lines]
    headers, _ = header_table([(name.lower(), value.strip()) for name, value in pairs])
    stem = request.with_suffix("")
    return Vector(
        stem.name, Received(method, path, query, headers), sha256(body).hexdigest(),
        stem.with_suffix(".creq").read_bytes().replace(b"\r\n", b"\n"), stem.with_suffix(".sts").read_text().replace("\r\n", "\n"),
        stem.with_suffix(".authz").read_text().strip(),
    )  # fmt: skip


def holds(given: Vector, request: Received) -> None:
    """Check every step of the way.  Raises SignatureRefused when the signature is over something else."""
    claim = parse_authorization(given.authorization, "20150830T123600Z", SERVICE)
    key = signing_key(SECRET, claim.credential.date, claim.credential.region, claim.credential.service)
    verify(request, claim, given.payload, key)
    assert given.canonical in canonical_requests(request, claim, given.payload)
    assert string_to_sign(claim, given.canonical) == given.to_sign


def test_every_published_vector_holds() -> None:
    vectors = [vector(path) for path in sorted(fetch().rglob("*.sreq"))]
    assert len(vectors) >= LEAST
    normalised = set()
    for given in vectors:
        path = given.canonical.split(b"\n")[1].decode()
        if path in canonical_paths(given.request.path):
            holds(given, given.request)
            continue
        normalised.add(given.name)
        with pytest.raises(SignatureRefused):
            holds(given, given.request)
        holds(given, Received(given.request.method, path, given.request.query, given.request.headers))
    assert normalised == NORMALISED


def test_a_vector_with_one_digit_changed_does_not_hold() -> None:
    given = vector(next(fetch().rglob("get-vanilla.sreq")))
    changed = given.authorization[:-1] + ("0" if given.authorization[-1] != "0" else "1")
    with pytest.raises(SignatureRefused):
        holds(Vector(given.name, given.request, given.payload, given.canonical, given.to_sign, changed), given.request)
