"""The handshake of one connection, fixed newstyle.  Sans-IO: bytes in, bytes out.

Whatever comes in, `receive` returns; what makes no sense at all sets `closed`.  After `chosen` is set the rest of what came belongs to the
transmission phase.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from objstore.services.volume.nbd import protocol as nbd


class Export(NamedTuple):
    """What a client must know of a device before it uses it."""

    name: str
    size_bytes: int
    read_only: bool
    description: str = ""


class Exports(Protocol):
    """What there is to choose from."""

    def names(self) -> Sequence[str]:
        """For clients that list."""

    def find(self, name: str) -> Export | None:
        """The export of that name; "" is the only one where there is only one."""


class _BadOption(Exception):
    """The option's data is not what it should be."""


class Handshake:
    """Up to the choice of an export."""

    def __init__(self, exports: Exports) -> None:
        self.chosen: Export | None = None
        self.closed = False
        self.structured = False
        self.allocation = False  # base:allocation was negotiated for the chosen export
        self._exports = exports
        self._buffer = bytearray()
        self._flags: int | None = None
        self._options = 0
        self._context_of: str | None = None

    @staticmethod
    def greeting() -> bytes:
        """What the server says first."""
        return nbd.GREETING.pack(nbd.SERVER_MAGIC, nbd.OPTION_MAGIC, nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES)

    @property
    def rest(self) -> bytes:
        """Bytes that came behind the handshake."""
        return bytes(self._buffer)

    def receive(self, data: bytes | memoryview) -> bytes:
        """What to answer."""
        self._buffer += data
        answers = bytearray()
        while not self.closed and self.chosen is None:
            step = self._step()
            if step is None:
                break
            answers += step
        return bytes(answers)

    def _step(self) -> bytes | None:
        """Handle one message; None when it is not whole yet."""
        if self._flags is None:
            if len(self._buffer) < nbd.CLIENT_FLAGS.size:
                return None
            (self._flags,) = nbd.CLIENT_FLAGS.unpack_from(self._buffer)
            del self._buffer[: nbd.CLIENT_FLAGS.size]
            if self._flags & ~(nbd.FIXED_NEWSTYLE | nbd.NO_ZEROES) or not self._flags & nbd.FIXED_NEWSTYLE:
                self.closed = True
            return b""
        if len(self._buffer) < nbd.OPTION.size:
            return None
        magic, option, length = nbd.OPTION.unpack_from(self._buffer)
        self._options += len(self._buffer) >= nbd.OPTION.size + length
        if magic != nbd.OPTION_MAGIC or length > nbd.OPTION_LIMIT_BYTES or self._options > nbd.OPTIONS_LIMIT:
            self.closed = True
            return b""
        end = nbd.OPTION.size + length
        if len(self._buffer) < end:
            return None
        data = bytes(self._buffer[nbd.OPTION.size : end])
        del self._buffer[:end]
        try:
            return self._answer(option, data)
        except _BadOption as failure:
            return _reply(option, nbd.REP_ERR_INVALID, str(failure).encode())

    def _answer(self, option: int, data: bytes) -> bytes:
        if option == nbd.OPT_EXPORT_NAME:
            return self._export_name(data)
        if option in (nbd.OPT_INFO, nbd.OPT_GO):
            return self._info(option, data)
        if option in (nbd.OPT_LIST_META_CONTEXT, nbd.OPT_SET_META_CONTEXT):
            return self._meta_context(option, data)
        if option in (nbd.OPT_LIST, nbd.OPT_STRUCTURED_REPLY) and data:
            raise _BadOption("this option has no data")
        if option == nbd.OPT_ABORT:
            self.closed = True
            return _reply(option, nbd.REP_ACK)
        if option == nbd.OPT_LIST:
            names = [name.encode() for name in self._exports.names()]
            return b"".join([_reply(option, nbd.REP_SERVER, nbd.U32.pack(len(name)) + name) for name in names]) + _reply(
                option, nbd.REP_ACK
            )
        if option == nbd.OPT_STRUCTURED_REPLY:
            self.structured = True
            return _reply(option, nbd.REP_ACK)
        return _reply(option, nbd.REP_ERR_UNSUP)

    def _export_name(self, data: bytes) -> bytes:
        """The old way to choose: there is no way to refuse but to hang up."""
        export = self._exports.find(_text(data)) if len(data) <= nbd.NAME_LIMIT_BYTES else None
        if export is None:
            self.closed = True
            return b""
        self._choose(export)
        zeroes = b"" if (self._flags or 0) & nbd.NO_ZEROES else bytes(124)
        return nbd.EXPORT.pack(export.size_bytes, self.transmission_flags(export)) + zeroes

    def _info(self, option: int, data: bytes) -> bytes:
        reader = _Reader(data)
        name = reader.text()
        wanted = {reader.u16() for _ in range(reader.u16())}
        reader.end()
        export = self._exports.find(name)
        if export is None:
            return _reply(option, nbd.REP_ERR_UNKNOWN, b"there is no such export")
        answer = _reply(
            option, nbd.REP_INFO, nbd.INFO_EXPORT_BODY.pack(nbd.INFO_EXPORT, export.size_bytes, self.transmission_flags(export))
        ) + _reply(
            option, nbd.REP_INFO,
            nbd.INFO_BLOCK_SIZE_BODY.pack(nbd.INFO_BLOCK_SIZE, nbd.MINIMUM_BLOCK_BYTES, nbd.PREFERRED_BLOCK_BYTES, nbd.TRANSFER_LIMIT_BYTES),
        )  # fmt: skip
        if nbd.INFO_NAME in wanted:
            answer += _reply(option, nbd.REP_INFO, nbd.U16.pack(nbd.INFO_NAME) + export.name.encode())
        if nbd.INFO_DESCRIPTION in wanted and export.description:
            answer += _reply(option, nbd.REP_INFO, nbd.U16.pack(nbd.INFO_DESCRIPTION) + export.description.encode())
        if option == nbd.OPT_GO:
            self._choose(export)
        return answer + _reply(option, nbd.REP_ACK)

    def _choose(self, export: Export) -> None:
        self.chosen = export
        self.allocation = self.structured and self._context_of == export.name

    def _meta_context(self, option: int, data: bytes) -> bytes:
        if option == nbd.OPT_SET_META_CONTEXT:
            self._context_of = None
        if not self.structured:
            raise _BadOption("metadata contexts need structured replies")
        reader = _Reader(data)
        export = self._exports.find(reader.text())
        queries = [reader.text() for _ in range(reader.u32(limit=nbd.OPTION_LIMIT_BYTES // 4))]
        reader.end()
        if export is None:
            return _reply(option, nbd.REP_ERR_UNKNOWN, b"there is no such export")
        lists = option == nbd.OPT_LIST_META_CONTEXT
        if nbd.BASE_ALLOCATION in queries or (lists and (not queries or "base:" in queries)):
            if not lists:
                self._context_of = export.name
            context = nbd.U32.pack(nbd.ALLOCATION_ID) + nbd.BASE_ALLOCATION.encode()
            return _reply(option, nbd.REP_META_CONTEXT, context) + _reply(option, nbd.REP_ACK)
        return _reply(option, nbd.REP_ACK)

    def transmission_flags(self, export: Export) -> int:
        """What commands the export takes."""
        flags = nbd.HAS_FLAGS | nbd.SEND_FLUSH | nbd.SEND_FUA | nbd.CAN_MULTI_CONN | nbd.SEND_CACHE
        if self.structured:
            flags |= nbd.SEND_DF
        if export.read_only:
            return flags | nbd.READ_ONLY
        return flags | nbd.SEND_TRIM | nbd.SEND_WRITE_ZEROES | nbd.SEND_FAST_ZERO


class _Reader:
    """Takes an option's data apart.  Raises _BadOption at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise _BadOption("the option's data is shorter than it says")
        self._at += size
        return self._data[self._at - size : self._at]

    def u16(self) -> int:
        return int.from_bytes(self._take(2), "big")

    def u32(self, *, limit: int = 1 << 32) -> int:
        value = int.from_bytes(self._take(4), "big")
        if value > limit:
            raise _BadOption(f"{value} is more than there can be")
        return value

    def text(self) -> str:
        return _text(self._take(self.u32(limit=nbd.NAME_LIMIT_BYTES)))

    def end(self) -> None:
        if self._at != len(self._data):
            raise _BadOption("the option's data is longer than it says")


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return nbd.OPTION_REPLY.pack(nbd.OPTION_REPLY_MAGIC, option, kind, len(data)) + data
