"""What an error of the operating system says about the device: full, short of descriptors or memory, or bad.

The difference decides who suffers.  Being full is an answer, being short passes, and only what is left is held against the
bytes on the disk: a file must not go to quarantine because the process had too many others open.
"""

import errno

_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_full(failure: BaseException) -> bool:
    """Whether there was no room."""
    return isinstance(failure, OSError) and failure.errno in _FULL


def is_shortage(failure: BaseException) -> bool:
    """Whether the process or the machine lacked descriptors or memory: nothing is wrong with the device."""
    return isinstance(failure, OSError) and failure.errno in _SHORT
