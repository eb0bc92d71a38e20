"""The `objstore` command: finds the code for one command and loads nothing else.

The roles (node, proxy, daemon, supervise) are what supervisors and service managers run; they skip the command line library.
"""

import sys
from collections.abc import Sequence

ROLES = ("node", "proxy", "daemon", "services", "disks", "agent", "supervise")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 failed, 2 usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in ROLES and not {"-h", "--help"} & set(words):
        from objstore.cli.roles import run_role

        return run_role(words[0], words[1:])
    from objstore.cli.commands import run

    return run(words)
