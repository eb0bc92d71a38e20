"""The consistent-hash ring: knows devices and partitions, nothing of objects or HTTP.

A name is hashed to a partition (`hashing`), a table gives each partition `replica_count` devices (`lookup`), an operator
changes that table with few moves (`builder`, `plan`, `assign`), and the result travels as one checksummed file (`codec`).
Everything here is pure except `ring.files` and `ring.cli`, which is why neither is imported below.
"""

from ring.builder import Add, Change, Readdress, Remove, Replace, Weigh, abandon, change, create, finish
from ring.codec import decode, encode
from ring.diff import Diff, diff
from ring.hashing import partition_of
from ring.lookup import Ring
from ring.model import UNASSIGNED, Device, RingError, RingSpec
from ring.report import balance, dispersion

__all__ = [
    "UNASSIGNED",
    "Add",
    "Change",
    "Device",
    "Diff",
    "Readdress",
    "Remove",
    "Replace",
    "Ring",
    "RingError",
    "RingSpec",
    "Weigh",
    "abandon",
    "balance",
    "change",
    "create",
    "decode",
    "diff",
    "dispersion",
    "encode",
    "finish",
    "partition_of",
]
