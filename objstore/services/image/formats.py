"""What an image's bytes are, found while they stream by, and whether they may be taken.

The parsing is done by the format inspector that OpenStack's services share (Oslo), which keeps up with what is found out about
hostile images.  Here is the judgement: bytes of a format that can name other files (backing files, data files, extents) are refused when
they do, whatever the settings; bytes that are not what `disk_format` says are refused unless that is switched off.  Nothing here trusts a
name, and nobody after this may guess a format: QEMU is always told.
"""

import io
import logging
from dataclasses import dataclass

from oslo_utils.imageutils import format_inspector

from objstore.errors import Refused

DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop", "gpt")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
AMAZON = ("ami", "ari", "aki")  # disk and container format are the same there
# What bytes may be found to be under each disk_format.  A disk with a partition table is a raw one; an ISO image may have one too.
_FITTING = {
    "raw": frozenset(("raw", "gpt", "luks")), "gpt": frozenset(("gpt",)), "iso": frozenset(("iso", "gpt")), "ploop": frozenset(("raw", "gpt")),
    **dict.fromkeys(AMAZON, frozenset(("raw", "gpt"))), **{name: frozenset((name,)) for name in ("vhd", "vhdx", "vmdk", "qcow2", "vdi")},
}  # fmt: skip
# Formats whose checks find other files and unknown features.  Of a partition table they judge taste, which is the guest's business.
_DANGEROUS = ("qcow2", "vmdk", "qed", "vhd", "vhdx", "vdi")
_ARCHIVES = ("ovf", "ova", "docker", "compressed")  # what is in them is not a disk's bytes
logging.getLogger("oslo_utils.imageutils.format_inspector").setLevel(logging.ERROR)  # which inspector gave up is no news


class FormatRefused(Refused):
    """The bytes are not what the image says they are, or refer to files outside of themselves."""


@dataclass(frozen=True)
class Found:
    """What bytes are: a name ("" is unknown: an archive), and the size of the disk in bytes where it is known."""

    format: str
    virtual_size: int | None


class Inspection:
    """Looks at one stream; `feed` and `finish` may run in a thread, one at a time."""

    def __init__(self, disk_format: str, container_format: str, *, enforce: bool) -> None:
        self._disk_format = disk_format
        self._archive = container_format in _ARCHIVES
        self._enforce = enforce
        self._wrapper = format_inspector.InspectWrapper(io.BytesIO())
        self.size = 0

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.size += len(piece)
        if not self._archive:
            self._wrapper._process_chunk(piece)  # the public way in is a file to read from; here bytes are handed over

    def finish(self) -> Found:
        """The verdict at the end.  Raises FormatRefused."""
        if self._archive:
            return Found("", None)
        self._wrapper.close()
        matches = {str(inspector): inspector for inspector in self._wrapper.formats or ()}
        for name, inspector in matches.items():
            if name in _DANGEROUS:
                _check_safe(name, inspector)
        names = frozenset(matches) - {"raw"} or frozenset(("raw",))
        if self._enforce and not names <= _FITTING[self._disk_format]:
            raise FormatRefused(f"The image's disk_format is {self._disk_format}, its content is {' and '.join(sorted(names))}.")
        if self._enforce and self._disk_format == "iso" and "iso" not in names:
            raise FormatRefused("The image's disk_format is iso, its content is a disk with a partition table.")
        name = self._disk_format if self._disk_format in names else sorted(names)[0]
        return Found(name, self._virtual_size(name, matches[name]))

    def _virtual_size(self, name: str, inspector: format_inspector.FileInspector) -> int | None:
        if name in ("raw", "gpt", "luks", "iso"):
            return self.size
        try:
            return int(inspector.virtual_size) or None
        except Exception:  # noqa: BLE001 a header that says no size; the inspectors raise whatever their parsing meets
            return None


def _check_safe(name: str, inspector: format_inspector.FileInspector) -> None:
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as failure:
        raise FormatRefused(f"The image is a {name} file that fails the check {', '.join(sorted(failure.failures))}.") from None
    except Exception:  # noqa: BLE001 a header that cannot even be checked is refused like one that failed
        raise FormatRefused(f"The image is a {name} file whose header cannot be checked.") from None
