"""Object lock: configuration of buckets, retention and legal hold of versions."""

from objstore.core.locks import MODES, LockConfig, decode_config
from objstore.errors import MalformedXml
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import kept, needed, one, only, read_document, text, whole
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.objects import version_header
from objstore.fronts.s3.params import bypass_of, parse_version
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.times import iso_time, parse_date
from objstore.fronts.s3.xml import Element, element, parse
from objstore.objects.actions import Action
from objstore.objects.lock import PART

LIMIT_BYTES = 16 * 1024


def _config_of(root: Element) -> LockConfig:
    only(root, "ObjectLockEnabled", "Rule")
    if needed(root, "ObjectLockEnabled").strip() != "Enabled":
        raise MalformedXml
    rule = one(root, "Rule")
    if rule is None:
        return LockConfig()
    only(rule, "DefaultRetention")
    default = one(rule, "DefaultRetention")
    if default is None:
        raise MalformedXml
    only(default, "Mode", "Days", "Years")
    mode, days, years = needed(default, "Mode").strip(), whole(default, "Days"), whole(default, "Years")
    if mode not in MODES or (days is None) == (years is None):
        raise MalformedXml
    return LockConfig(mode=mode, days=days or 0, years=years or 0)


async def put_object_lock_configuration(front: Front, request: S3Request) -> Response:
    """PutObjectLockConfiguration."""
    root = await read_document(front, request, PART, "ObjectLockConfiguration", LIMIT_BYTES)
    await front.store.set_lock_config(request.who, request.bucket, _config_of(root))
    return empty_answer(200)


async def get_object_lock_configuration(front: Front, request: S3Request) -> Response:
    """GetObjectLockConfiguration."""
    config = decode_config(await kept(front, request, PART))
    rule = ""
    if config.mode:
        period = element("Days", config.days) if config.days else element("Years", config.years)
        rule = f"<Rule><DefaultRetention>{element('Mode', config.mode)}{period}</DefaultRetention></Rule>"
    return xml_answer("ObjectLockConfiguration", f"<ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}")


async def _document(front: Front, request: S3Request, root: str, action: Action) -> Element:
    version = parse_version(request.query.get("versionId"))
    await front.store.check_access(request.who, request.bucket, action, request.key, version_id=version)
    return parse(await front.document(request, LIMIT_BYTES), root)


async def put_object_retention(front: Front, request: S3Request) -> Response:
    """PutObjectRetention; an empty document takes the retention away, where that is allowed."""
    version = parse_version(request.query.get("versionId"))
    root = await _document(front, request, "Retention", Action.WRITE_RETENTION)
    only(root, "Mode", "RetainUntilDate")
    mode, date = (text(root, "Mode") or "").strip(), (text(root, "RetainUntilDate") or "").strip()
    until_us = parse_date(date) if date else None
    if bool(mode) != bool(date) or (mode and mode not in MODES) or (date and until_us is None):
        raise MalformedXml
    info = await front.store.set_retention(
        request.who, request.bucket, request.key, mode, until_us or 0, version_id=version, bypass=bypass_of(request.amz)
    )
    return empty_answer(200, version_header(info))


async def get_object_retention(front: Front, request: S3Request) -> Response:
    """GetObjectRetention."""
    version = parse_version(request.query.get("versionId"))
    info = await front.store.retention_of(request.who, request.bucket, request.key, version_id=version)
    if not info.lock_mode:
        raise S3Refused(404, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
    return xml_answer("Retention", element("Mode", info.lock_mode) + element("RetainUntilDate", iso_time(info.retain_until_us)))


async def put_object_legal_hold(front: Front, request: S3Request) -> Response:
    """PutObjectLegalHold."""
    version = parse_version(request.query.get("versionId"))
    root = await _document(front, request, "LegalHold", Action.WRITE_LEGAL_HOLD)
    only(root, "Status")
    status = needed(root, "Status").strip()
    if status not in ("ON", "OFF"):
        raise MalformedXml
    info = await front.store.set_legal_hold(request.who, request.bucket, request.key, on=status == "ON", version_id=version)
    return empty_answer(200, version_header(info))


async def get_object_legal_hold(front: Front, request: S3Request) -> Response:
    """GetObjectLegalHold."""
    version = parse_version(request.query.get("versionId"))
    info = await front.store.legal_hold_of(request.who, request.bucket, request.key, version_id=version)
    return xml_answer("LegalHold", element("Status", "ON" if info.legal_hold else "OFF"))


BUCKET_ROUTES = {
    ("GET", "object-lock"): ("GetObjectLockConfiguration", get_object_lock_configuration),
    ("PUT", "object-lock"): ("PutObjectLockConfiguration", put_object_lock_configuration),
}
OBJECT_ROUTES = {
    ("GET", "retention"): ("GetObjectRetention", get_object_retention),
    ("PUT", "retention"): ("PutObjectRetention", put_object_retention),
    ("GET", "legal-hold"): ("GetObjectLegalHold", get_object_legal_hold),
    ("PUT", "legal-hold"): ("PutObjectLegalHold", put_object_legal_hold),
}
