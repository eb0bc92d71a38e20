"""How commands say what went wrong: for people on standard error, for programs as one JSON object on standard output."""

import json
import sys
from typing import Any


def report(message: str, *, code: int = 1, **facts: Any) -> int:
    """Print `{"error": ...}` and return the exit code."""
    print(json.dumps({"error": message, **facts}))
    return code


def complain(what: str, *, why: str = "", hint: str = "", code: int = 1) -> int:
    """Tell a person what, why and what to do next; returns the exit code."""
    lines = [f"error: {what}", *([f"why:   {why}"] if why else []), *([f"try:   {hint}"] if hint else [])]
    print("\n".join(lines), file=sys.stderr)
    return code
