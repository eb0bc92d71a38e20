"""Which accelerator guests can have here: found out by booting a guest of fourteen bytes, since a /dev/kvm that opens proves nothing.

On some machines it is emulated itself, and a hundred times slower than emulation by QEMU (TCG).  The answer holds until the machine is
started anew.
"""

import logging
import os
from pathlib import Path

import msgspec

from objstore.errors import ObjstoreError
from objstore.runtime import commands
from objstore.services.compute.agent.run import PROGRAM

log = logging.getLogger(__name__)

BOOT_S = 2.0
KVM = "/dev/kvm"
ANSWER, IMAGE = "accelerator.json", "probe.img"
# Prints "K" on the debug port and ends QEMU by its exit device with 42, which is status 85 of the process.
GUEST = bytes.fromhex("baf803b04beebaf400b02aeef4ebfd").ljust(510, b"\0") + b"\x55\xaa"
ENDED = 85


class _Answer(msgspec.Struct):
    boot_id: str
    accelerator: str


async def accelerator(virt_type: str, directory: str, boot_id: str) -> str:
    """ "kvm" or "tcg"; `virt_type` may say so itself.  Raises ProgramMissing, OSError."""
    if virt_type != "auto":
        return virt_type
    path = Path(directory, ANSWER)
    try:
        known = msgspec.json.decode(path.read_bytes(), type=_Answer)
        if known.boot_id == boot_id:
            return known.accelerator
    except (OSError, msgspec.DecodeError):
        pass
    found = "kvm" if os.access(KVM, os.R_OK | os.W_OK) and await boots("kvm", directory) else "tcg"
    log.info("guests run with %s", found)
    path.write_bytes(msgspec.json.encode(_Answer(boot_id, found)))
    return found


async def boots(kind: str, directory: str, *, timeout_s: float = BOOT_S) -> bool:
    """Whether a guest boots with it in time.  Raises ProgramMissing."""
    image = Path(directory, IMAGE)
    image.write_bytes(GUEST.ljust(1 << 20, b"\0"))
    arguments = [
        "-machine", f"pc,accel={kind}", "-m", "16", "-display", "none", "-monitor", "none", "-serial", "none", "-nodefaults",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive", f"file={image},format=raw,if=ide,snapshot=on",
    ]  # fmt: skip
    try:
        done = await commands.run(PROGRAM, *arguments, timeout_s=timeout_s, check=False)
    except commands.ProgramMissing:
        raise
    except ObjstoreError:
        return False
    finally:
        image.unlink(missing_ok=True)
    return done.code == ENDED
