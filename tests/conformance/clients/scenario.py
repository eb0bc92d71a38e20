"""What every Python script here shares: where the server is, and how a scenario is told apart, run and reported.

Standard library alone: scripts run in the clients' own environments.  One line of JSON behind "@@ " for each scenario is the
whole protocol; scripts in other languages print the same.
"""

import filecmp
import hashlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

URL = os.environ["S3_URL"]
HOST = os.environ["S3_HOST"]
SCHEME = os.environ["S3_SCHEME"]
STYLE = os.environ["S3_STYLE"]  # path or virtual
KEY = os.environ["S3_ACCESS_KEY"]
SECRET = os.environ["S3_SECRET_KEY"]
REGION = os.environ["S3_REGION"]
CA = os.environ["S3_CA"]  # empty over HTTP
BUCKET = os.environ["S3_BUCKET"]
FILES = Path(os.environ["S3_FILES"])
SCRATCH = Path(os.environ["S3_SCRATCH"])

_scenarios: list[Callable[[], None]] = []


class Skip(Exception):
    """The scenario means nothing for this client or transport; the text says why."""


def scenario(function: Callable[[], None]) -> Callable[[], None]:
    """Mark a scenario; they run in the order written."""
    _scenarios.append(function)
    return function


def run() -> None:
    """Run all and report each."""
    for function in _scenarios:
        line = {"scenario": function.__name__.replace("_", " "), "result": "ok"}
        try:
            function()
        except Skip as skip:
            line.update(result="skipped", detail=str(skip))
        except Exception as failure:  # noqa: BLE001 whatever it is, the other scenarios go on
            here = [frame for frame in traceback.extract_tb(failure.__traceback__) if frame.filename == function.__code__.co_filename]
            where = f"line {here[0].lineno}: {here[0].line}" if here else ""
            line.update(result="failed", detail=f"{where}: {type(failure).__name__}: {str(failure)[:600]}")
        print("@@ " + json.dumps(line), flush=True)
    sys.exit(0)


def command(*arguments: str, timeout: float = 120, ok: tuple[int, ...] = (0,), text: str | None = None, **environment: str) -> str:
    """Run a program; its standard output."""
    done = subprocess.run(
        arguments, capture_output=True, timeout=timeout, check=False, env={**os.environ, **environment}, cwd=SCRATCH,
        input=None if text is None else text.encode(),
    )  # fmt: skip
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if done.returncode not in ok:
        raise AssertionError(f"{' '.join(arguments)[:200]}: exit {done.returncode}: {out[-300:]} {err[-700:]}")
    return out


def same_files(left: Path, right: Path) -> None:
    """Raise unless both directories hold the same files, byte for byte."""
    names = sorted(path.relative_to(left) for path in left.rglob("*") if path.is_file())
    others = sorted(path.relative_to(right) for path in right.rglob("*") if path.is_file())
    assert names == others, f"other files: {sorted(map(str, set(names) ^ set(others)))}"
    for name in names:
        assert filecmp.cmp(left / name, right / name, shallow=False), f"other bytes: {name}"


def noise(seed: str, size: int) -> bytes:
    """Bytes that do not repeat and are the same in every run."""
    return hashlib.shake_128(seed.encode()).digest(size)


def names() -> list[str]:
    """The files' keys."""
    return sorted(str(path.relative_to(FILES)) for path in FILES.rglob("*") if path.is_file())


def raises(kind: type[BaseException], call: Callable[[], object]) -> BaseException:
    """The exception of that kind that the call must raise."""
    try:
        call()
    except kind as failure:
        return failure
    raise AssertionError("it should have been refused")


def make_bucket(name: str = BUCKET) -> None:
    """Make a bucket with curl, for clients that cannot."""
    address = URL.replace("//", f"//{name}.") + "/" if STYLE == "virtual" else f"{URL}/{name}"
    signed = ("--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{KEY}:{SECRET}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD")
    command("curl", "-sSf", *(("--cacert", CA) if CA else ()), "-X", "PUT", *signed, address)
