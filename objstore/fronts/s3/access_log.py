"""Access logs of buckets: lines are gathered, then written in batches as objects of the target bucket.

As on Amazon this is done as well as it can be: a proxy that is killed loses what it gathered since the last batch, and lines
beyond the limit are dropped and counted.  Nothing is written for the writing of logs itself.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from urllib.parse import unquote_plus

from objstore.core import bucket_logging
from objstore.core.acl import PRIVATE, Acl, acl_of
from objstore.core.bucket_logging import Access, LoggingConfig, line, log_key
from objstore.errors import AccessDenied, AclNotSupported, ObjstoreError
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.settings import S3Settings
from objstore.objects.api import Attributes, BucketInfo, Expected, ObjectStoreApi, Principal
from objstore.objects.config import Parsed
from objstore.runtime.clock import Clock
from objstore.runtime.rng import Rng
from objstore.runtime.tasks import TaskOwner

log = logging.getLogger(__name__)

PARSED = Parsed("logging", bucket_logging.decode)
LIMIT_BYTES = 16 * 1024 * 1024  # of lines that wait or are being written, for all buckets: so many batches as there may be tasks
BATCH_BYTES = 1024 * 1024  # a bucket's lines are written when there are so many
SERVICE = "logging.s3.amazonaws.com"


class _Whole:
    """A body that is all here."""

    def __init__(self, data: bytes) -> None:
        self.size: int | None = len(data)
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        yield self._data

    async def finish(self) -> Mapping[str, bytes]:
        """Nothing was promised."""
        return {}


class _Batch:
    """Lines of one bucket for one target."""

    __slots__ = ("bytes", "first_us", "info", "lines")

    def __init__(self, info: BucketInfo, first_us: int) -> None:
        self.info = info
        self.first_us = first_us
        self.lines: list[str] = []
        self.bytes = 0


class AccessLog:
    """Gathers and writes."""

    def __init__(self, store: ObjectStoreApi, clock: Clock, rng: Rng, settings: S3Settings) -> None:
        self.counts: Counter[str] = Counter()  # lines "written", "dropped", "failed"
        self._store = store
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._tasks = TaskOwner("access log", limit=64)
        self._batches: dict[tuple[bytes, LoggingConfig], _Batch] = {}
        self._bytes = 0
        self._ticking = False

    async def aclose(self) -> None:
        """Write what was gathered."""
        await self._tasks.aclose()
        await self.flush()

    def record(self, request: S3Request, api: str, code: str, *, status: int, sent: int, seconds: float) -> None:
        """Take down an answered request, if its bucket asks for that.  One look into a dictionary where it does not."""
        info = self._store.known_bucket(request.who, request.bucket)
        config = None if info is None else PARSED.of(info)
        if info is None or config is None:
            return
        now_us = self._clock.wall_us()
        text = line(self._access(request, info, api, code, status=status, sent=sent, seconds=seconds, now_us=now_us))
        if self._bytes + len(text) > LIMIT_BYTES:
            self.counts["dropped"] += 1
            return
        batch = self._batches.get((info.id, config))
        if batch is None:
            batch = self._batches[info.id, config] = _Batch(info, now_us)
        batch.lines.append(text)
        batch.bytes += len(text)
        self._bytes += len(text)
        if batch.bytes >= BATCH_BYTES:
            self._tasks.spawn(self._write(config, self._batches.pop((info.id, config))), name="write log")
        if not self._ticking:
            self._ticking = True
            self._tasks.spawn(self._tick(), name="write logs")

    async def flush(self) -> None:
        """Write everything that was gathered."""
        batches, self._batches = self._batches, {}
        for (_, config), batch in batches.items():
            await self._write(config, batch)

    async def _tick(self) -> None:
        await self._clock.sleep(self._settings.log_interval_s)
        self._ticking = False
        await self.flush()

    async def _write(self, config: LoggingConfig, batch: _Batch) -> None:
        try:
            await self._write_batch(config, batch)
        finally:
            self._bytes -= batch.bytes  # only now: what is on its way is in memory, and takes as long as the cluster is slow

    async def _write_batch(self, config: LoggingConfig, batch: _Batch) -> None:
        info = batch.info
        key = log_key(
            config, info.account, info.region or self._settings.region, info.name,
            first_us=batch.first_us, now_us=self._clock.wall_us(), unique=self._rng.token(8).hex().upper(),
        )  # fmt: skip
        # At home in the account: should the target be deleted and its name taken by another, nothing goes there.
        who = Principal(account=info.account, user=SERVICE, home=info.account)
        data = "".join(batch.lines).encode()
        acl = acl_of((*PRIVATE.grants, *config.grants)) if config.grants else None
        try:
            try:
                await self._put(who, config.bucket, key, data, acl)
            except (AclNotSupported, AccessDenied):
                if acl is None:
                    raise
                await self._put(who, config.bucket, key, data, None)  # lists were switched off there since, or may not let everybody in
        except ObjstoreError as failure:
            self.counts["failed"] += len(batch.lines)
            log.warning("the access log of bucket %s cannot be written to %s: %s", info.name, config.bucket, failure)
        else:
            self.counts["written"] += len(batch.lines)

    async def _put(self, who: Principal, bucket: str, key: str, data: bytes, acl: Acl | None) -> None:
        await self._store.put(who, bucket, key, _Whole(data), attributes=Attributes("text/plain", acl=acl), expected=Expected())

    def _access(
        self, request: S3Request, info: BucketInfo, api: str, code: str, *, status: int, sent: int, seconds: float, now_us: int
    ) -> Access:
        who, headers = request.who, request.headers
        signed = "AuthHeader" if "authorization" in headers else "QueryString" if request.query.get("X-Amz-Signature") else ""
        return Access(
            owner=info.account, bucket=info.name, time_us=now_us, source_ip=who.request.source_ip,
            requester=who.arn or who.canonical_id or who.account, request_id=request.id, operation=operation_of(request, api),
            key=request.key, uri=f"{request.method} {request.received.path}{'?' if request.received.query else ''}{_shown(request)} HTTP/1.1",
            status=status, error="" if code.isdigit() else code, bytes_sent=sent, total_ms=int(seconds * 1000),
            referer=headers.get("referer", ""), user_agent=headers.get("user-agent", ""), version_id=request.query.get("versionId", ""),
            host_id=self._settings.host_id, signature="SigV4" if signed else "", auth=signed, host=headers.get("host", ""),
            secure=request.scheme == "https",
        )  # fmt: skip


def operation_of(request: S3Request, api: str) -> str:
    """Amazon's name in logs: REST.GET.OBJECT, REST.PUT.ACL..."""
    if api == "Website":
        return f"WEBSITE.{request.method}.OBJECT"
    if api == "CopyObject":
        return "REST.COPY.OBJECT"
    if api == "DeleteObjects":
        return "REST.POST.MULTI_OBJECT_DELETE"
    resource = "OBJECT" if request.key else "BUCKET"
    names = [name for name in request.query if name in _RESOURCES]
    return f"REST.{request.method}.{_RESOURCES[names[0]] if names else resource}"


_RESOURCES = {
    "acl": "ACL", "cors": "CORS", "encryption": "ENCRYPTION", "legal-hold": "LEGAL_HOLD", "lifecycle": "LIFECYCLE", "location": "LOCATION",
    "logging": "LOGGING_STATUS", "notification": "NOTIFICATION", "object-lock": "OBJECT_LOCK_CONFIGURATION", "policy": "BUCKETPOLICY",
    "publicAccessBlock": "PUBLIC_ACCESS_BLOCK", "requestPayment": "REQUEST_PAYMENT", "retention": "OBJECT_LOCK_RETENTION",
    "tagging": "TAGGING", "uploadId": "UPLOAD", "uploads": "UPLOADS", "versioning": "VERSIONING", "versions": "BUCKETVERSIONS",
    "website": "WEBSITE",
}  # fmt: skip
_SECRET = frozenset(
    (
        "x-amz-signature", "signature", "x-amz-security-token", "x-amz-credential", "awsaccesskeyid",
        "x-amz-server-side-encryption-customer-key", "x-amz-copy-source-server-side-encryption-customer-key",
    )
)  # fmt: skip


def _shown(request: S3Request) -> str:
    """The query without what signs it, and without keys: a presigned address in a log would be a key to the object."""
    return "&".join([item for item in request.received.query.split("&") if unquote_plus(item.partition("=")[0]).lower() not in _SECRET])
