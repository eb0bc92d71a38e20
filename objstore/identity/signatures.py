"""Signatures of EC2 and S3 requests that a service passes on to be checked.  Pure; any input is a verdict, never a failure.

What is checked besides the signature is its age: whoever read a request yesterday has nothing of it today.  A presigned
URL of version 4 is no proof that its owner is here, and is refused; in strings to sign it cannot be told from a header's, so these are
asked about by services alone and no token is given for them.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha1, sha256
from urllib.parse import quote

MAX_TEXT = 65_536
MAX_EXPIRY_S = 604_800
_TIMES = (
    "%Y%m%dT%H%M%SZ",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%S",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%a, %d %b %Y %H:%M:%S %z",
)


def _key_v4(secret: str, date: str, region: str, service: str) -> bytes:
    key = ("AWS4" + secret).encode()
    for text in (date, region, service, "aws4_request"):
        key = hmac.digest(key, text.encode(), "sha256")
    return key


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _time_of(text: str) -> float | None:
    """Seconds since 1970 of any of the forms that requests are dated in."""
    for form in _TIMES:
        try:
            found = datetime.strptime(text, form)  # noqa: DTZ007 the forms without a zone are in UTC
        except ValueError:
            continue
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    return None


def _fresh(text: str, now_s: float, age_s: float) -> bool:
    found = _time_of(text) if len(text) <= 64 else None
    return found is not None and abs(now_s - found) <= age_s


def s3_string_is_signed(secret: str, string: bytes, signature: str, now_s: float, age_s: float) -> bool:
    """Whether a string to sign of S3, of version 4 or 2, was signed with this secret a moment ago."""
    if not secret or len(string) > MAX_TEXT:
        return False
    text = string.decode("utf-8", "replace")
    if text.startswith("AWS4-HMAC-SHA256\n"):
        lines = text.split("\n")
        scope = lines[2].split("/") if len(lines) == 4 else []
        if len(scope) != 4 or scope[3] != "aws4_request" or not lines[1].startswith(scope[0]) or not _fresh(lines[1], now_s, age_s):
            return False
        return _same(hmac.new(_key_v4(secret, scope[0], scope[1], scope[2]), string, sha256).hexdigest(), signature)
    if not _dated_v2(text, now_s, age_s):
        return False
    return _same(base64.b64encode(hmac.new(secret.encode(), string, sha1).digest()).decode(), signature)


def _dated_v2(text: str, now_s: float, age_s: float) -> bool:
    """Version 2: verb, MD5, type, then the date (or when a URL expires), then the headers, of which one may hold the date."""
    lines = text.split("\n")
    if len(lines) < 5:
        return False
    date = lines[3].strip()
    if date.isascii() and date.isdigit() and len(date) <= 12:
        return now_s <= int(date) <= now_s + MAX_EXPIRY_S
    for line in lines[4:]:
        if line.startswith("x-amz-date:"):
            date = line.partition(":")[2].strip()
    return _fresh(date, now_s, age_s)


def ec2_request_is_signed(secret: str, request: Mapping[str, object], now_s: float, age_s: float) -> bool:
    """Whether a request as ec2tokens is told of it (verb, host, path, params, headers, body_hash, signature) was signed a moment ago."""
    parts = {name: request.get(name, "") for name in ("verb", "host", "path", "body_hash", "signature")}
    if not secret or not all(isinstance(value, str) and len(value) <= MAX_TEXT for value in parts.values()):
        return False
    texts = {name: str(value) for name, value in parts.items()}
    params, headers = _texts(request.get("params")), _texts(request.get("headers"))
    if params is None or headers is None:
        return False
    lower = {name.lower(): value for name, value in headers.items()}
    if lower.get("authorization", "").startswith("AWS4-HMAC-SHA256 "):
        return _is_signed_v4(secret, texts, params, lower, now_s, age_s)
    if params.get("SignatureVersion") == "2":
        return _is_signed_v2(secret, texts, params, now_s, age_s)
    return False


def _texts(found: object) -> dict[str, str] | None:
    if found in (None, ""):
        return {}
    if not isinstance(found, dict) or len(found) > 1000:
        return None
    if not all(isinstance(name, str) and isinstance(value, str | int) for name, value in found.items()):
        return None
    return {name: str(value) for name, value in found.items()}


def _query(params: Mapping[str, str]) -> str:
    pairs = sorted((quote(n, safe="-_.~", errors="replace"), quote(v, safe="-_.~", errors="replace")) for n, v in params.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def _is_signed_v2(secret: str, texts: Mapping[str, str], params: Mapping[str, str], now_s: float, age_s: float) -> bool:
    if not _fresh(params.get("Timestamp", ""), now_s, age_s) or "Expires" in params:
        return False
    digest = {"HmacSHA256": sha256, "HmacSHA1": sha1}.get(params.get("SignatureMethod", ""))
    if digest is None:
        return False
    query = _query({name: value for name, value in params.items() if name != "Signature"})
    found = False
    for host in {texts["host"], texts["host"].partition(":")[0]}:  # clients differ on whether the port belongs to it
        string = "\n".join((texts["verb"], host, texts["path"], query))
        made = base64.b64encode(hmac.new(secret.encode(), string.encode("utf-8", "replace"), digest).digest()).decode()
        found |= _same(made, texts["signature"])
    return found


def _is_signed_v4(
    secret: str, texts: Mapping[str, str], params: Mapping[str, str], headers: Mapping[str, str], now_s: float, age_s: float
) -> bool:
    fields = {
        name.strip(): value.strip()
        for name, _, value in (piece.partition("=") for piece in headers["authorization"].partition(" ")[2].split(","))
    }
    scope = fields.get("Credential", "").split("/")
    signed = fields.get("SignedHeaders", "").split(";")
    date = headers.get("x-amz-date") or headers.get("date", "")
    if len(scope) != 5 or scope[4] != "aws4_request" or not date.startswith(scope[1]) or not _fresh(date, now_s, age_s):
        return False
    # The host at least must be bound, and what else is said of the request: an unsigned x-amz- header is somebody else's.
    if "host" not in signed or any(name.startswith("x-amz-") and name not in signed for name in headers):
        return False
    if "X-Amz-Signature" in params or not texts["body_hash"]:
        return False
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in signed)
    canonical = "\n".join((texts["verb"], texts["path"] or "/", _query(params), lines, ";".join(signed), texts["body_hash"]))
    hashed = sha256(canonical.encode("utf-8", "replace")).hexdigest()
    string = "\n".join(("AWS4-HMAC-SHA256", date, "/".join(scope[1:]), hashed))
    made = hmac.new(_key_v4(secret, scope[1], scope[2], scope[3]), string.encode("utf-8", "replace"), sha256).hexdigest()
    return _same(made, fields.get("Signature", "")) and _same(made, texts["signature"])


def decoded(text: str) -> bytes | None:
    """A string to sign as s3tokens is given it: base64, of either alphabet."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
