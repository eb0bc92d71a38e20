"""What a guest wrote to its serial line: the end of it is shown, and only so much of it is kept."""

import os
from pathlib import Path

from objstore.services.compute.agent.layout import CONSOLE, CONSOLE_OLD


def tail(directory: str, lines: int | None, most_bytes: int) -> str:
    """The last lines (None: all that are kept), of at most `most_bytes`; what is no UTF-8 is shown as such."""
    data = end_of(Path(directory, CONSOLE), most_bytes)
    if len(data) < most_bytes:
        data = end_of(Path(directory, CONSOLE_OLD), most_bytes - len(data)) + data
    text = data.decode(errors="replace")
    if lines is None:
        return text
    kept = text.splitlines(keepends=True)
    return "".join(kept[-lines:]) if lines > 0 else ""


def cap(directory: str, most_bytes: int) -> None:
    """Set aside what is there once it is over the limit.  QEMU goes on writing at the end, wherever that is."""
    log = Path(directory, CONSOLE)
    try:
        if log.stat().st_size <= most_bytes:
            return
        data = end_of(log, most_bytes)
        os.truncate(log, 0)
        Path(directory, CONSOLE_OLD).write_bytes(data)
    except FileNotFoundError:
        return


def end_of(path: Path, size: int) -> bytes:
    """The last bytes of a file; none where there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read(size)
    except FileNotFoundError:
        return b""
