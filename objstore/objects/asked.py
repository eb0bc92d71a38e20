"""What conditions of policies ask of a request: the values of condition keys, worked out when a policy asks and not before.

Keys are AWS's and Amazon S3's; what an operation knows better than its headers say (the tags it is about to write, how long a
lock lasts) it hands over in `given`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from objstore.core.names import split_copy_source
from objstore.core.policy_conditions import parse_date
from objstore.core.rows import Row
from objstore.errors import InvalidRequest
from objstore.objects.api import BucketInfo, Principal

EXISTING_TAG = "s3:existingobjecttag/"
REQUEST_TAG = "s3:requestobjecttag/"
PRINCIPAL_TAG = "aws:principaltag/"
# Patterns of a policy take time by their length times that of what they are held against; keys are no longer than the first.
MAX_VALUE_CHARS = 2048
MAX_GRANT_CHARS = 8192  # a hundred grants
GRANTS = ("read", "write", "read-acp", "write-acp", "full-control")
_DAY_S = 86_400
_TLS = "1.2"  # the least that is spoken here: whoever demands more is not let in by mistake

# Condition keys that are headers, or parameters, of the same name.
_HEADERS = frozenset(
    (
        "x-amz-acl", "x-amz-content-sha256", "x-amz-metadata-directive", "x-amz-object-ownership", "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-customer-algorithm", "x-amz-storage-class",
        "x-amz-tagging-directive", "x-amz-website-redirect-location", *(f"x-amz-grant-{name}" for name in GRANTS),
    )
)  # fmt: skip
_ETAG = re.compile(r'[^\s",*/]+|"[^\s",*/]+"')
_PARAMETERS = frozenset(("delimiter", "max-keys"))


class Asked:
    """Values of condition keys for one question.  `row` is the object as it is, None while it is not known or not there."""

    __slots__ = ("_bucket", "_given", "_prefix", "_row", "_tags", "_version_id", "_who")

    def __init__(
        self, who: Principal, bucket: BucketInfo | None, *, version_id: str = "", row: Row | None = None,
        tags: Mapping[str, str] | None = None, given: Mapping[str, Sequence[str]] | None = None, prefix: str | None = None,
    ) -> None:  # fmt: skip
        self._who = who
        self._bucket = bucket
        self._version_id = version_id
        self._row = row
        self._tags = tags
        self._given = given
        self._prefix = prefix

    def __call__(self, key: str) -> Sequence[str] | None:
        """The values of a condition key (lower case); None when the request does not have it."""
        if self._given is not None and key in self._given:
            return self._given[key]
        maker = _BY_KEY.get(key)
        if maker is not None:
            found = maker(self)
            return _one(self._who.facts.get(key)) if found is None and key.startswith("aws:") else found
        service, _, name = key.partition(":")
        if service == "s3":
            return self._of_s3(name, key)
        return _one(self._who.facts.get(key))

    def _of_s3(self, name: str, key: str) -> Sequence[str] | None:
        request = self._who.request
        if key.startswith(EXISTING_TAG):
            return _tag(self._row.tags if self._row is not None else None, key[len(EXISTING_TAG) :])
        if key.startswith(REQUEST_TAG):
            return _tag(self._tags, key[len(REQUEST_TAG) :])
        if name in _HEADERS:
            return _one(request.header(name), MAX_GRANT_CHARS if name.startswith("x-amz-grant-") else MAX_VALUE_CHARS)
        if name in _PARAMETERS:
            return _one(request.parameter(name))
        return None

    # -- S3's own ---------------------------------------------------------------------------------------------

    def _prefixes(self) -> Sequence[str] | None:
        return _one(self._prefix if self._prefix is not None else self._who.request.parameter("prefix"))

    def _request_tag_keys(self) -> Sequence[str] | None:
        return tuple(self._tags) if self._tags else None

    def _version(self) -> Sequence[str] | None:
        return _one(self._version_id or None)

    def _account(self) -> Sequence[str] | None:
        return None if self._bucket is None else (self._bucket.account,)

    def _copy_source(self) -> Sequence[str] | None:
        text = self._who.request.header("x-amz-copy-source")
        try:
            return None if text is None else _one(split_copy_source(text)[0])
        except UnicodeDecodeError:
            return None  # it names nothing, and the copy is refused for that

    def _signed_how(self) -> tuple[str, str] | None:
        """(kind of authentication, version of the signature); None of a request that is not signed."""
        request = self._who.request
        if self._who.anonymous:
            return None
        if request.form_signature:
            return "POST", request.form_signature
        header = request.header("authorization")
        if header is not None:
            return "REST-HEADER", "AWS" if header.startswith("AWS ") else "AWS4-HMAC-SHA256"
        if request.parameter("X-Amz-Signature") is not None:
            return "REST-QUERY-STRING", "AWS4-HMAC-SHA256"
        if request.parameter("Signature") is not None:
            return "REST-QUERY-STRING", "AWS"
        return None

    def _auth_type(self) -> Sequence[str] | None:
        found = self._signed_how()
        return None if found is None else (found[0],)

    def _signature_version(self) -> Sequence[str] | None:
        found = self._signed_how()
        return None if found is None else (found[1],)

    def _signature_age(self) -> Sequence[str] | None:
        request = self._who.request
        text = request.parameter("X-Amz-Date") or request.header("x-amz-date")
        signed_s = _second_of(text or "")
        return None if signed_s is None else (str(max(request.now_us // 1000 - signed_s * 1000, 0)),)

    def _tls(self) -> Sequence[str] | None:
        return (_TLS,) if self._who.request.secure else None

    def _if_none_match(self) -> Sequence[str] | None:
        """What keeps a write from replacing anything; with another value the header keeps it from next to nothing."""
        return ("*",) if (self._who.request.header("if-none-match") or "").strip() == "*" else None

    def _if_match(self) -> Sequence[str] | None:
        """What lets a write replace one content alone: a single ETag."""
        text = (self._who.request.header("if-match") or "").strip()
        return _one(text) if _ETAG.fullmatch(text) is not None else None

    def _lock_mode(self) -> Sequence[str] | None:
        return _one(self._who.request.header("x-amz-object-lock-mode"))

    def _lock_until(self) -> Sequence[str] | None:
        return _one(self._who.request.header("x-amz-object-lock-retain-until-date"))

    def _lock_days(self) -> Sequence[str] | None:
        """Days that a lock will last, a day begun counts."""
        texts = self("s3:object-lock-retain-until-date")
        until = parse_date(texts[0]) if texts else None
        if until is None:
            return None
        return (str(max(-int((self._who.request.now_us / 1e6 - until) // _DAY_S), 0)),)

    def _legal_hold(self) -> Sequence[str] | None:
        return _one(self._who.request.header("x-amz-object-lock-legal-hold"))

    # -- AWS's global ones ------------------------------------------------------------------------------------

    def _source_ip(self) -> Sequence[str] | None:
        return _one(self._who.request.source_ip or None)

    def _secure(self) -> Sequence[str] | None:
        return ("true" if self._who.request.secure else "false",)

    def _user_agent(self) -> Sequence[str] | None:
        return _one(self._who.request.header("user-agent"))

    def _referer(self) -> Sequence[str] | None:
        return _one(self._who.request.header("referer"))

    def _now(self) -> Sequence[str] | None:
        now_us = self._who.request.now_us
        return (datetime.fromtimestamp(now_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),) if now_us else None

    def _epoch(self) -> Sequence[str] | None:
        now_us = self._who.request.now_us
        return (str(now_us // 1_000_000),) if now_us else None

    def _principal_arn(self) -> Sequence[str] | None:
        who = self._who
        return _one(who.facts.get("aws:principalarn") or (arns_of(who) or (None,))[-1])

    def _principal_account(self) -> Sequence[str] | None:
        return _one(self._who.account or None)

    def _principal_type(self) -> Sequence[str] | None:
        if self._who.anonymous:
            return ("Anonymous",)
        return None if "aws:principaltype" in self._who.facts else ("User",)

    def _user_id(self) -> Sequence[str] | None:
        return ("anonymous",) if self._who.anonymous else _one(self._who.facts.get("aws:userid") or self._who.canonical_id or None)

    def _user_name(self) -> Sequence[str] | None:
        who = self._who
        return _one(who.facts.get("aws:username") or (who.user if ":assumed-role/" not in who.arn else None) or None)

    def _service(self) -> Sequence[str] | None:
        return ("false",)

    def _region(self) -> Sequence[str] | None:
        return None if self._bucket is None else _one(self._bucket.region or None)


def lock_facts(mode: str, until_us: int) -> dict[str, Sequence[str]]:
    """What policies are told of a retention: what will be kept, in whatever form the request has it."""
    seconds, fraction_us = divmod(until_us, 1_000_000)
    until = f"{seconds}.{fraction_us:06d}" if fraction_us else str(seconds)
    return {"s3:object-lock-mode": (mode,), "s3:object-lock-retain-until-date": (until,)}


def arns_of(who: Principal) -> tuple[str, ...]:
    """The ARNs by which policies may name a caller: the own, then that of the role behind a session."""
    if who.anonymous or not who.account:
        return ()
    arn = who.arn or f"arn:aws:iam::{who.account}:user/{who.user or who.account}"
    if not arn.startswith("arn:aws:sts::") or ":assumed-role/" not in arn:
        return (arn,)
    role = who.facts.get("aws:principalarn") or f"arn:aws:iam::{who.account}:role/{arn.partition(':assumed-role/')[2].partition('/')[0]}"
    return arn, role


_S3: dict[str, Callable[[Asked], Sequence[str] | None]] = {
    "prefix": Asked._prefixes,
    "requestobjecttagkeys": Asked._request_tag_keys,
    "versionid": Asked._version,
    "resourceaccount": Asked._account,
    "x-amz-copy-source": Asked._copy_source,
    "authtype": Asked._auth_type,
    "signatureversion": Asked._signature_version,
    "signatureage": Asked._signature_age,
    "tlsversion": Asked._tls,
    "if-none-match": Asked._if_none_match,
    "if-match": Asked._if_match,
    "object-lock-mode": Asked._lock_mode,
    "object-lock-retain-until-date": Asked._lock_until,
    "object-lock-remaining-retention-days": Asked._lock_days,
    "object-lock-legal-hold": Asked._legal_hold,
}
_AWS: dict[str, Callable[[Asked], Sequence[str] | None]] = {
    "sourceip": Asked._source_ip,
    "securetransport": Asked._secure,
    "useragent": Asked._user_agent,
    "referer": Asked._referer,
    "currenttime": Asked._now,
    "epochtime": Asked._epoch,
    "principalarn": Asked._principal_arn,
    "principalaccount": Asked._principal_account,
    "principaltype": Asked._principal_type,
    "principalisawsservice": Asked._service,
    "viaawsservice": Asked._service,
    "requestedregion": Asked._region,
    "resourceaccount": Asked._account,
    "userid": Asked._user_id,
    "username": Asked._user_name,
}


_BY_KEY = {f"s3:{name}": maker for name, maker in _S3.items()} | {f"aws:{name}": maker for name, maker in _AWS.items()}


@lru_cache(256)
def _second_of(text: str) -> int | None:
    """Seconds since 1970 of the date of a signature; those of all requests of a second are the same."""
    try:
        return int(datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def _one(text: str | None, most: int = MAX_VALUE_CHARS) -> Sequence[str] | None:
    if text is None:
        return None
    if len(text) > most:
        raise InvalidRequest(f"The request has a value of more than {most} characters, which a policy would have to be held against.")
    return (text,)


def _tag(tags: Mapping[str, str] | None, name: str) -> Sequence[str] | None:
    """A tag's value; names of condition keys know no case, so neither do those of tags in them."""
    for key, value in (tags or {}).items():
        if key.lower() == name:
            return (value,)
    return None
