"""`python -m tests.sim`: see tests/sim/runner.py."""

import os
import sys

HASH_SEED = "0"

if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        # The same seed must give the same run in every process.  That holds without this too, as a test says, but a failing
        # seed is worth a second fence.
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]])
    from tests.sim.runner import main

    sys.exit(main(sys.argv[1:]))
