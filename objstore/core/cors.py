"""Cross-origin rules: which origins, methods and headers a browser may use on a bucket; pure.

A pattern holds at most one `*`, which stands for any run of characters.  The first rule that allows origin, method and all
requested headers decides, as on Amazon.
"""

import msgspec

MAX_RULES = 100
MAX_ID = 255
METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")


class CorsRule(msgspec.Struct, frozen=True, array_like=True):
    """One rule, as the client wrote it."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    max_age_s: int | None = None
    id: str | None = None


class CorsConfig(msgspec.Struct, frozen=True, array_like=True):
    """The configuration as stored; new fields go last, with a default."""

    record_version: int
    rules: tuple[CorsRule, ...]


class Allowed(msgspec.Struct, frozen=True):
    """What a browser is told: `origin` is "*" when every origin is allowed, else the one that asked."""

    origin: str
    rule: CorsRule


_DECODER = msgspec.msgpack.Decoder(CorsConfig)


def encode(config: CorsConfig) -> bytes:
    """Configuration to bytes."""
    return msgspec.msgpack.encode(config)


def decode(data: bytes) -> CorsConfig:
    """Bytes to configuration."""
    return _DECODER.decode(data)


def matches(pattern: str, text: str) -> bool:
    """Whether a text is as a pattern with at most one `*` says."""
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(head) + len(tail) and text.startswith(head) and text.endswith(tail)


def allowed(config: CorsConfig, origin: str, method: str, headers: tuple[str, ...] = ()) -> Allowed | None:
    """What the first rule says that allows this request; None when none does.  `headers` are those of a preflight, any case."""
    for rule in config.rules:
        if method not in rule.methods or not any(matches(pattern, origin) for pattern in rule.origins):
            continue
        lower = [pattern.lower() for pattern in rule.headers]
        if all(any(matches(pattern, name.lower()) for pattern in lower) for name in headers):
            return Allowed("*" if "*" in rule.origins else origin, rule)
    return None
