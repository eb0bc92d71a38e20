"""Answers to work that may take minutes: 200 first, blanks while it runs, its outcome in the body.

Amazon does the same for CopyObject, UploadPartCopy and CompleteMultipartUpload, so every client reads an `<Error>` out of
a 200.  The work belongs to the front's task owner: a client that goes away does not stop it halfway.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from objstore.errors import ObjstoreError
from objstore.fronts.s3.context import XML_TYPE, Front, Headers, Response, xml_answer
from objstore.fronts.s3.errors import Failure, error_document, failure_of
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import DECLARATION, NAMESPACE

log = logging.getLogger(__name__)
Work = Callable[[], Awaitable[tuple[str, Headers]]]
_UNEXPECTED = Failure(500, "InternalError", "We encountered an internal error. Please try again.")


async def answer_in_time(front: Front, request: S3Request, root: str, work: Work) -> Response:
    """The answer when the work ends soon (its errors are raised), else an answer that has begun."""
    task = front.tasks.spawn(_outcome(work), name=root)
    await asyncio.wait([task], timeout=front.settings.early_answer_s)
    if task.done():
        outcome = task.result()
        if isinstance(outcome, BaseException):
            raise outcome
        content, headers = outcome
        return xml_answer(root, content, headers)
    return Response(200, [XML_TYPE], DECLARATION.encode(), _trickle(front, request, root, task), length=-1)


async def _outcome(work: Work) -> tuple[str, Headers] | Exception:
    """The work's result or exception, as a value: whoever waits decides, and a client that left is no failed task."""
    try:
        return await work()
    except Exception as failure:  # noqa: BLE001 handed to the waiter, which raises or renders it
        return failure


async def _trickle(
    front: Front, request: S3Request, root: str, task: "asyncio.Task[tuple[str, Headers] | Exception]"
) -> AsyncIterator[bytes]:
    while not task.done():
        await asyncio.wait([task], timeout=front.settings.keep_alive_s)
        if not task.done():
            yield b" "
    outcome = task.result()
    if not isinstance(outcome, Exception):
        yield f'<{root} xmlns="{NAMESPACE}">{outcome[0]}</{root}>'.encode()
        return
    if isinstance(outcome, ObjstoreError):
        failure = failure_of(outcome, bucket=request.bucket, key=request.key)
    else:
        log.error("request %s: %s failed", request.id, root, exc_info=outcome)
        failure = _UNEXPECTED
    yield error_document(failure, request.resource, request.id, front.settings.host_id).removeprefix(DECLARATION.encode())
