"""What every handler needs, and what it returns."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from objstore.core.lifecycle import DAY_US
from objstore.errors import AccessDenied
from objstore.fronts.s3.auth import Authenticator
from objstore.fronts.s3.body import RequestBody, read_document
from objstore.fronts.s3.checksums import expected_of, parse_md5
from objstore.fronts.s3.notifier import Notifier
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.settings import S3Settings
from objstore.fronts.s3.xml import MAX_DOCUMENT_BYTES, document
from objstore.identity.logic import Credentials
from objstore.objects.api import Body, Expected, ObjectStoreApi
from objstore.runtime.clock import Clock
from objstore.runtime.tasks import TaskOwner, Threads

Headers = list[tuple[bytes, bytes]]
XML_TYPE = (b"content-type", b"application/xml")


@dataclass(slots=True)
class Response:
    """An answer.  `body` goes out with the head; `rest`, when there is any, streams behind it."""

    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes | memoryview = b""
    rest: AsyncIterator[bytes | memoryview] | None = None
    length: int | None = None  # of body and rest together; None: the length of `body`, -1: unknown


@dataclass(frozen=True, slots=True)
class Front:
    """The S3 front's dependencies."""

    store: ObjectStoreApi
    credentials: Credentials
    settings: S3Settings
    clock: Clock
    tasks: TaskOwner
    threads: Threads | None = None
    authenticator: Authenticator | None = None
    notifier: Notifier | None = None
    day_us: int = DAY_US  # of lifecycle rules; another in tests

    def body(self, request: S3Request) -> Body:
        """The request's body, as the store takes it; the file, where a form was sent."""
        if request.form is not None:
            return request.form
        return RequestBody(
            request,
            threads=self.threads,
            thread_from_bytes=self.settings.hash_in_thread_bytes,
            limit_bytes=self.settings.max_put_bytes,
        )

    async def document(self, request: S3Request, limit_bytes: int = MAX_DOCUMENT_BYTES, *, promised_of_object: bool = False) -> bytes:
        """A body that is an XML document, whole and verified; empty when there is none.

        With `promised_of_object` checksum headers speak of an object and only Content-MD5 of the document.
        """
        headers = request.headers
        if "content-length" not in headers and "transfer-encoding" not in headers:
            return b""
        body = RequestBody(request, threads=None, thread_from_bytes=0, limit_bytes=1 << 40)
        expected = Expected(parse_md5(headers.get("content-md5"))) if promised_of_object else expected_of(headers, request.amz, default="")
        return await read_document(body, expected, limit_bytes)

    async def check_owner(self, request: S3Request, header: str, bucket: str) -> None:
        """See that a bucket belongs to whom the request expects, if it says so.  Raises AccessDenied."""
        expected = request.amz.get(header)
        if expected is None:
            return
        info = await self.store.find_bucket(request.who, bucket)
        if expected not in (info.account, self.credentials.owner_of(info.account).canonical_id):
            raise AccessDenied(
                "the bucket belongs to another account than expected", hint=f"The bucket is not owned by what {header} says."
            )


def xml_answer(root: str, content: str | Iterable[str], headers: Headers | None = None) -> Response:
    """200 with a document."""
    return Response(200, [XML_TYPE, *(headers or ())], document(root, content))


def empty_answer(status: int, headers: Headers | None = None) -> Response:
    """An answer without a body."""
    return Response(status, headers or [])
