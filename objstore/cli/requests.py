"""What the command line asks of a cluster's supervisor, over the socket in D/run.

Names and meanings are those of `objstore ctl`; the supervisor answers with what `ctl` prints.
"""

import msgspec

from objstore.daemons.control import ControlRequest


class NewCluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to lay a cluster where there is none yet; nothing of it changes one that is there."""

    nodes: int = 3
    devices: int = 1
    zones: int = 3
    proxies: int = 2
    port_base: int = 21000
    tls: bool = False
    uid_base: int | None = None
    policies: tuple[str, ...] = ()  # "NAME=NODES" or "NAME=NODES:REPLICAS"


class Up(ControlRequest, frozen=True, tag="up"):
    """Lay the cluster if need be, start all that does not run, return when writes are possible.

    `exec_prefix` ("CMD" or "NAME:CMD") and `environment` ("NAME:K=V" or "K=V") hold for processes started from now on, until
    an `up` gives others; None leaves them as they are.  `overrides` are kept in cluster.toml.
    """

    new: NewCluster = NewCluster()
    identities: str | None = None
    exec_prefix: list[str] | None = None
    environment: list[str] | None = None
    overrides: tuple[str, ...] = ()
    agents: int | None = None  # hosts of guests, from now on; None leaves them as they are
    timeout_s: float = 120.0


class Down(ControlRequest, frozen=True, tag="down"):
    """Stop all processes in order, then the supervisor itself."""


class Summary(ControlRequest, frozen=True, tag="summary"):
    """What `up` printed, as it is now; starts nothing."""


class StartProcess(ControlRequest, frozen=True, tag="start"):
    """Start one process and wait until it is ready; nothing happens where it runs."""

    name: str
    timeout_s: float = 60.0


class StopProcess(ControlRequest, frozen=True, tag="stop"):
    """Stop one process with a signal; the supervisor does not start it again."""

    name: str
    signal: str = "TERM"


class GetStatus(ControlRequest, frozen=True, tag="status"):
    """The cluster's state, from facts gathered for this call."""


class GetPids(ControlRequest, frozen=True, tag="pids"):
    """Name to process id, of one process or all that run."""

    name: str = ""


class RunRepair(ControlRequest, frozen=True, tag="repair"):
    """Replicate to the end."""

    timeout_s: float = 600.0


class RunAudit(ControlRequest, frozen=True, tag="audit"):
    """Verify every stored byte."""

    timeout_s: float = 3600.0


class AddNode(ControlRequest, frozen=True, tag="add_node"):
    """Make and start a node, and publish a ring with its devices."""

    devices: int = 1
    zone: int | None = None
    weight: float = 1.0
    policy: str = ""


class AddPolicy(ControlRequest, frozen=True, tag="add_policy"):
    """Make a further storage policy, "NAME=NODES" or "NAME=NODES:REPLICAS", start its nodes, and let every process know of it."""

    policy: str
    devices: int = 1


class Drain(ControlRequest, frozen=True, tag="drain"):
    """Publish a ring in which the node's devices have no weight."""

    name: str


class Remove(ControlRequest, frozen=True, tag="remove"):
    """Publish a ring without the node; its process ends when the ring has done without it."""

    name: str


class Where(ControlRequest, frozen=True, tag="where"):
    """Where the copies of an object are: "BUCKET/KEY"."""

    target: str


class FindCopies(ControlRequest, frozen=True, tag="find_copies"):
    """What the supervisor asks of the daemon for `where`.  Bucket names are looked up in each of `tenants`."""

    bucket: str
    key: str
    tenants: list[str]


class ListHoldings(ControlRequest, frozen=True, tag="list_holdings"):
    """What buckets hold, by the counters: of one name or of all, behind the record named `after`."""

    bucket: str = ""
    after: str = ""


class ScanHoldings(ControlRequest, frozen=True, tag="scan_holdings"):
    """The same below a prefix, a page of the bucket at a time; `bucket_id` in hexadecimal, `cursor` as the page before gave it."""

    bucket_id: str
    prefix: str = ""
    depth: int = 0
    cursor: str = ""


class RotateTokenKeys(ControlRequest, frozen=True, tag="rotate_token_keys"):
    """Seal tokens of the identity service with the next key; with `revoke` none from before is good any more."""

    revoke: bool = False


SupervisorRequest = (
    Up | Down | Summary | StartProcess | StopProcess | GetStatus | GetPids | RunRepair | RunAudit | AddNode | AddPolicy | Drain | Remove | Where
    | ListHoldings | ScanHoldings | RotateTokenKeys
)  # fmt: skip
