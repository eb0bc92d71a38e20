"""Calls on images' bytes: upload, download, stage."""

from objstore.core.ranges import parse_range
from objstore.errors import InvalidRange
from objstore.objects.api import ByteRange
from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import CallRefused, Headers, forbidden
from objstore.services.image.content import CONTENT_TYPE
from objstore.services.image.records import DEACTIVATED, QUEUED, SAVING, UPLOADING
from objstore.services.image.rights import check_change
from objstore.services.image.service import ImageService


class DataCalls:
    """The handlers."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/v2/images/{image_id}"
        return {("PUT", f"{one}/file"): self.upload, ("GET", f"{one}/file"): self.download, ("PUT", f"{one}/stage"): self.stage}

    async def upload(self, call: Call) -> Answer:
        """The bytes of an image that has none; afterwards it is active."""
        await self._receive(call, SAVING, staged=False)
        return Answer(204)

    async def stage(self, call: Call) -> Answer:
        """Bytes that an import will take."""
        await self._receive(call, UPLOADING, staged=True)
        return Answer(204)

    async def _receive(self, call: Call, during: str, *, staged: bool) -> None:
        if call.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            raise CallRefused(415, f"The content type of an image's data is {CONTENT_TYPE}.")
        image = await self._service.image(call)
        check_change(call, image)
        size = None if "transfer-encoding" in call.headers else call.content_length or 0
        await self._service.uploads.receive(image.id, call.body(), size=size, before=(QUEUED,), during=during, staged=staged)

    async def download(self, call: Call) -> Answer:
        """The bytes, or a range of them; nothing where there are none."""
        image = await self._service.image(call)
        if image.status == DEACTIVATED and not call.is_admin:
            raise forbidden("The requested image has been deactivated. Image data download is forbidden.")
        if image.body is None or image.size is None:
            return Answer(204)
        headers: Headers = [(b"accept-ranges", b"bytes")]
        range_ = _range_of(call)
        try:
            reading = await self._service.bodies.read(image.body, range_)
        except InvalidRange:
            raise CallRefused(416, "The range is not one of the image's.", [(b"content-range", b"bytes */%d" % image.size)]) from None
        if range_ is None:
            headers.append((b"content-md5", str(image.checksum).encode()))
        else:
            last = reading.offset + reading.length - 1
            headers.append((b"content-range", b"bytes %d-%d/%d" % (reading.offset, last, image.size)))
        return Answer(
            200 if range_ is None else 206,
            headers=headers,
            stream=reading.chunks,
            length=reading.length,
            content_type=CONTENT_TYPE.encode(),
        )


def _range_of(call: Call) -> ByteRange | None:
    """One range of bytes.  Raises 416 for several, which are not served."""
    header = call.headers.get("range")
    if header is None:
        return None
    found = parse_range(header)
    if found is None:
        raise CallRefused(416, "One range of bytes can be asked for, such as bytes=0-1023.")
    return ByteRange(*found)
