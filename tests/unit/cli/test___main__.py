"""`python -m objstore.cli` is the same command: exit code and output."""

import subprocess
import sys


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-P", "-m", "objstore.cli", "version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("objstore ")
    wrong = subprocess.run([sys.executable, "-P", "-m", "objstore.cli", "nonsense"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
