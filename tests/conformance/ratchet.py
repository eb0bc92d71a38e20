"""ratchet.toml: what has passed once and may not be lost again.  A section for each suite, a list of names in each.

Names whose client or test did not run this time say nothing; those that ran and failed are lost.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path

FILE = Path(__file__).with_name("ratchet.toml")
HEADER = "# What has passed once: it may only grow.  Written by `python -m tests.conformance --grow`.\n"


def known(section: str) -> set[str]:
    """What has passed before."""
    return set(_read().get(section, {}).get("passed", []))


def lost(section: str, passed: Iterable[str], failed: Iterable[str]) -> set[str]:
    """What passed before and fails now."""
    return (known(section) & set(failed)) - set(passed)


def grow(section: str, passed: Iterable[str]) -> None:
    """Add what passes."""
    tables = {name: set(table.get("passed", [])) for name, table in _read().items()}
    tables.setdefault(section, set()).update(passed)
    text = HEADER
    for name in sorted(tables):
        lines = "".join(f'  "{entry}",\n' for entry in sorted(tables[name]))
        text += f"\n[{name}]\npassed = [\n{lines}]\n"
    FILE.write_text(text)


def _read() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(FILE.read_text()) if FILE.exists() else {}
