"""Static websites: which object answers a path, and which redirects apply; pure.

Routing rules are looked at in order: those without an error code before an object is looked for, those with one once the
answer would be that error.  The first that fits decides.
"""

import msgspec

MAX_RULES = 50


class RoutingRule(msgspec.Struct, frozen=True, array_like=True):
    """A rule as the client wrote it; None where it said nothing."""

    key_prefix: str | None = None
    error_code: int | None = None
    protocol: str | None = None
    host: str | None = None
    replace_prefix: str | None = None
    replace_key: str | None = None
    redirect_code: int | None = None


class WebsiteConfig(msgspec.Struct, frozen=True, array_like=True):
    """The configuration as stored: either `redirect_host`, or an index document and the rest."""

    record_version: int
    index_suffix: str = ""
    error_key: str | None = None
    redirect_host: str = ""
    redirect_protocol: str | None = None
    rules: tuple[RoutingRule, ...] = ()


class Redirect(msgspec.Struct, frozen=True):
    """Where a client is sent; empty host and protocol mean those of the request."""

    key: str
    code: int = 301
    protocol: str = ""
    host: str = ""


_DECODER = msgspec.msgpack.Decoder(WebsiteConfig)


def encode(config: WebsiteConfig) -> bytes:
    """Configuration to bytes."""
    return msgspec.msgpack.encode(config)


def decode(data: bytes) -> WebsiteConfig:
    """Bytes to configuration."""
    return _DECODER.decode(data)


def index_key(config: WebsiteConfig, key: str) -> str:
    """The object that answers a path: itself, or the index document of a folder."""
    return key + config.index_suffix if not key or key.endswith("/") else key


def redirect_before(config: WebsiteConfig, key: str) -> Redirect | None:
    """Where a path is sent before any object is looked for."""
    if config.redirect_host:
        return Redirect(key, 301, config.redirect_protocol or "", config.redirect_host)
    for rule in config.rules:
        if rule.error_code is None and key.startswith(rule.key_prefix or ""):
            return _applied(rule, key)
    return None


def redirect_after(config: WebsiteConfig, key: str, status: int) -> Redirect | None:
    """Where a path is sent whose answer would be this error."""
    for rule in config.rules:
        if rule.error_code == status and key.startswith(rule.key_prefix or ""):
            return _applied(rule, key)
    return None


def _applied(rule: RoutingRule, key: str) -> Redirect:
    if rule.replace_key is not None:
        target = rule.replace_key
    elif rule.replace_prefix is not None:
        target = rule.replace_prefix + key[len(rule.key_prefix or "") :]
    else:
        target = key
    return Redirect(target, rule.redirect_code or 301, rule.protocol or "", rule.host or "")
