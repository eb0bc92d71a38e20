"""Structured logs: one JSON object a line on standard error, with credentials taken out before they are written.

Redaction works on the finished line, so it also covers exceptions and what other libraries log.  It is a net under the
rule that nobody logs a secret in the first place, never a licence to do so.
"""

import datetime
import logging
import re
import sys
import traceback
from typing import Any, TextIO

import msgspec

REDACTED = "[redacted]"
MIN_SECRET_CHARS = 8  # shorter strings would blank out ordinary words

# Each keeps its first group and hides what follows it.
_PATTERNS = (
    re.compile(r"(?i)(\bauthorization\b[\"']?\s*[:=,]\s*b?[\"']?)[^\"'\r\n]+"),
    re.compile(r"(?i)(\bx-(?:amz-security|auth|subject|storage|service)-token\b[\"']?\s*[:=,]\s*b?[\"']?)[^\s\"'&,;)\]}]+"),
    re.compile(r"(?i)(\b(?:x-amz-signature|x-amz-credential|signature|temp_url_sig|awsaccesskeyid)=)[^\s\"'&,;)\]}]+"),
    re.compile(
        r"(?i)(\b(?:secret|secret_key|secret_access_key|password|passcode|cluster_key|token)\b[\"']?\s*[:=]\s*b?[\"']?)[^\s\"'&,;)\]}]+"
    ),
    re.compile(
        r"(?i)(\b(?:x-(?:auth-key|storage-pass|container-sync-key)|temp-url-key(?:-2)?)\b[\"']?\s*[:=,]\s*b?[\"']?)[^\s\"'&,;)\]}]+"
    ),
    re.compile(r"(?i)(\b(?:x-container-sync-auth|openstack-auth-receipt)\b[\"']?\s*[:=,]\s*b?[\"']?)[^\"'\r\n]+"),
    re.compile(r"(://[^/@:\s\"']*:)[^@/\s\"']+(?=@)"),  # the password of a URL
    re.compile(r"(?i)(\bx-amz-server-side-encryption-customer-key\b[\"']?\s*[:=,]\s*b?[\"']?)[^\s\"'&,;)\]}]+"),
)
_secrets: list[str] = []

# Attributes that every LogRecord has; anything beside them came from `extra=`.
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}


def hide(secret: str) -> None:
    """Replace this very string in every line from now on; for keys that a process holds for its whole life."""
    if len(secret) >= MIN_SECRET_CHARS and secret not in _secrets:
        _secrets.append(secret)


def redact(text: str) -> str:
    """`text` without credentials: header values, signatures in URLs, secrets in key=value form, hidden strings."""
    for secret in _secrets:
        text = text.replace(secret, REDACTED)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{REDACTED}", text)
    return text


class JsonFormatter(logging.Formatter):
    """time (UTC), level, process, logger, message; `extra` values and the traceback where there are any."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON without its newline."""
        entry: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        entry.update({k: _plain(v) for k, v in vars(record).items() if k not in _STANDARD})
        if record.exc_info and record.exc_info[0] is not None:
            entry["traceback"] = redact("".join(traceback.format_exception(*record.exc_info)))
        return msgspec.json.encode(entry).decode()


class TextFormatter(logging.Formatter):
    """The same facts for a person at a terminal."""

    def __init__(self, process: str) -> None:
        super().__init__(f"%(asctime)s {process} %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One line, then the traceback where there is one."""
        return redact(super().format(record))


def set_up(process: str, *, level: str = "info", style: str = "json", stream: TextIO | None = None) -> None:
    """Send all logging of this process to `stream` (standard error).  Call once, at the process edge.

    `level` is a name as in `logging`; `style` is "json" or "text".  Raises ValueError for others.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None or style not in ("json", "text"):
        raise ValueError(f"log level {level!r} or style {style!r} is not known; try info and json")
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter(process) if style == "json" else TextFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # A log that cannot be written (full disk) must not fill standard error with tracebacks nor stop the process.
    logging.raiseExceptions = False


def _utc(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    return value if isinstance(value, int | float | bool | None) else redact(repr(value))
