"""RenameObject, as directory buckets have it on Amazon; here in every bucket."""

import re
from urllib.parse import unquote_to_bytes

from objstore.errors import InvalidArgument, InvalidRequest
from objstore.fronts.s3.context import Front, Response, empty_answer
from objstore.fronts.s3.objects import written_version
from objstore.fronts.s3.params import conditions_of
from objstore.fronts.s3.request import S3Request

SOURCE = "x-amz-rename-source"
_TOKEN = re.compile(r"[!-~]{1,64}")


async def rename_object(front: Front, request: S3Request) -> Response:
    """RenameObject.  The source is a key, percent-encoded; one slash before it does not count."""
    headers = request.headers
    value = headers.get(SOURCE, "")
    try:
        source = unquote_to_bytes(value.encode("latin-1")).decode().removeprefix("/")
    except UnicodeDecodeError:
        raise InvalidArgument("The x-amz-rename-source value must be percent-encoded UTF-8.") from None
    if not source:
        raise InvalidRequest("Missing required header for this request: x-amz-rename-source")
    token = headers.get("x-amz-client-token", "")
    if token and _TOKEN.fullmatch(token) is None:
        raise InvalidArgument("The client token has 1 to 64 ASCII characters from ! to ~.")
    info = await front.store.rename(
        request.who,
        request.bucket,
        source,
        request.key,
        token=token,
        source_conditions=conditions_of(headers, SOURCE + "-"),
        conditions=conditions_of(headers),
    )
    return empty_answer(200, written_version(info))


OBJECT_ROUTES = {("PUT", "renameObject"): ("RenameObject", rename_object)}
