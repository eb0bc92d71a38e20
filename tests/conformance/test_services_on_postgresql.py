"""The services on PostgreSQL: the very unit tests that pass on SQLite, run again on a real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import postgres

ROOT = Path(__file__).resolve().parents[2]
WHOLE = ("tests/unit/services", "tests/unit/runtime/test_sql.py")
CHOSEN = (  # what sleeps there sleeps in real time: the rest takes long
    "tests/unit/runtime/test_sql.py", "tests/unit/services/tables",
    *(f"tests/unit/services/image/test_{name}.py" for name in ("tables", "records", "listing", "members")),
    *(f"tests/unit/services/network/test_{name}.py" for name in ("tables", "records", "addresses")),
    *(f"tests/unit/services/volume/api/test_{name}.py" for name in ("tables", "records")),
    *(f"tests/unit/services/compute/test_{name}.py" for name in ("tables", "cloud_tables", "records", "scheduler")),
)  # fmt: skip


@pytest.mark.parametrize("suites", [pytest.param(WHOLE, marks=pytest.mark.slow, id="all"), pytest.param(CHOSEN, id="chosen")])
def test_the_tests_of_the_services_pass_on_postgresql(tmp_path: Path, suites: tuple[str, ...]) -> None:
    with postgres(tmp_path) as url:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *suites], cwd=ROOT, env={**os.environ, "OBJSTORE_TEST_DATABASE": url},
            capture_output=True, text=True, check=False, timeout=3600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
