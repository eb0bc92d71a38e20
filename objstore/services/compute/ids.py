"""Identifiers."""

import re

from objstore.runtime.rng import Rng

_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")


def new_uuid(rng: Rng) -> str:
    """A random UUID with its hyphens."""
    text = rng.token(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def is_uuid(text: object) -> bool:
    """Whether a text is a UUID, with or without hyphens."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None
