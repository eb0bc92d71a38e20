"""The services on PostgreSQL: the very unit tests that pass on SQLite, run again on a real server."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.postgres import postgres

ROOT = Path(__file__).resolve().parents[2]
SUITES = ("tests/unit/services", "tests/unit/runtime/test_sql.py")


def test_the_tests_of_the_services_pass_on_postgresql(tmp_path: Path) -> None:
    with postgres(tmp_path) as url:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *SUITES], cwd=ROOT, env={**os.environ, "OBJSTORE_TEST_DATABASE": url},
            capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:]
