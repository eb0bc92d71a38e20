"""What state a server is in and what may be done with it then, in Nova's words.  Pure.

A server has a `vm_state` (what it is meant to be), a `task_state` (what is being done with it) and a `power_state` (what its guest
was last seen doing).  The status that clients see follows from the first two.
"""

from collections.abc import Mapping
from dataclasses import dataclass

BUILDING, ACTIVE, PAUSED, STOPPED, RESIZED, ERROR, DELETED = "building", "active", "paused", "stopped", "resized", "error", "deleted"
VM_STATES = (BUILDING, ACTIVE, PAUSED, STOPPED, RESIZED, ERROR, DELETED)

NO_TASK = ""
SCHEDULING, NETWORKING, MAPPING, SPAWNING = "scheduling", "networking", "block_device_mapping", "spawning"
POWERING_OFF, POWERING_ON, REBOOTING, REBOOTING_HARD = "powering-off", "powering-on", "rebooting", "rebooting_hard"
PAUSING, UNPAUSING = "pausing", "unpausing"
REBUILDING, REBUILD_DISKS, REBUILD_SPAWNING = "rebuilding", "rebuild_block_device_mapping", "rebuild_spawning"
RESIZE_PREP, RESIZE_MIGRATING, RESIZE_FINISH, RESIZE_REVERTING = "resize_prep", "resize_migrating", "resize_finish", "resize_reverting"
RESIZE_CONFIRMING = "resize_confirming"
SNAPSHOT, SNAPSHOT_PENDING, SNAPSHOT_UPLOADING = "image_snapshot", "image_snapshot_pending", "image_uploading"
MIGRATING, DELETING = "migrating", "deleting"

POWER_NONE, POWER_RUNNING, POWER_PAUSED, POWER_OFF, POWER_CRASHED = 0, 1, 3, 4, 6
POWER_OF_REPORT = {"running": POWER_RUNNING, "paused": POWER_PAUSED, "off": POWER_OFF, "crashed": POWER_CRASHED}

_REBUILDS = {REBUILDING: "REBUILD", REBUILD_DISKS: "REBUILD", REBUILD_SPAWNING: "REBUILD"}
_RESIZES = {RESIZE_PREP: "RESIZE", RESIZE_MIGRATING: "RESIZE", RESIZE_FINISH: "RESIZE"}
_STATUS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    BUILDING: ("BUILD", {}),
    ACTIVE: ("ACTIVE", {REBOOTING: "REBOOT", REBOOTING_HARD: "HARD_REBOOT", MIGRATING: "MIGRATING", **_REBUILDS, **_RESIZES}),
    PAUSED: ("PAUSED", {MIGRATING: "MIGRATING", REBOOTING_HARD: "HARD_REBOOT", **_REBUILDS}),
    STOPPED: ("SHUTOFF", {REBOOTING_HARD: "HARD_REBOOT", **_REBUILDS, **_RESIZES}),
    RESIZED: ("VERIFY_RESIZE", {RESIZE_REVERTING: "REVERT_RESIZE"}),
    ERROR: ("ERROR", {**_REBUILDS, REBOOTING_HARD: "HARD_REBOOT"}),
    DELETED: ("DELETED", {}),
}
# Statuses that clients may name although no server of this cloud ever has them.
OTHER_STATUSES = ("SUSPENDED", "RESCUE", "SOFT_DELETED", "SHELVED", "SHELVED_OFFLOADED", "PASSWORD", "UNKNOWN")


def status_of(vm_state: str, task_state: str) -> str:
    """The status that clients see."""
    usual, by_task = _STATUS.get(vm_state, ("UNKNOWN", {}))
    return by_task.get(task_state, usual)


def states_of(status: str) -> list[tuple[str, str | None]] | None:
    """(vm_state, task_state; None for any) of a status; None for a word that is no status."""
    wanted = status.upper()
    found: list[tuple[str, str | None]] = []
    for vm_state, (usual, by_task) in _STATUS.items():
        if usual == wanted:
            found.append((vm_state, None))
        found += [(vm_state, task) for task, name in by_task.items() if name == wanted]
    return found if found or wanted in OTHER_STATUSES else None


def other_tasks(vm_state: str) -> list[str]:
    """The task states that give a vm_state another status than the usual one."""
    return list(_STATUS[vm_state][1])


@dataclass(frozen=True)
class Allowed:
    """When an action may begin, and what it makes of the server then.  `tasks` None: whatever is being done."""

    vm_states: tuple[str, ...]
    task_state: str | None = None  # set at once; None leaves it
    tasks: tuple[str, ...] | None = (NO_TASK,)
    must_have_launched: bool = False
    locked: bool = False  # also while it is locked
    event: str = ""  # its name among the events of instance actions
    record: str = ""  # its name among the instance actions; "" the action's own


_ALL = (BUILDING, ACTIVE, PAUSED, STOPPED, RESIZED, ERROR)
ACTIONS: Mapping[str, Allowed] = {
    "delete": Allowed(_ALL, DELETING, None, event="compute_terminate_instance"),
    "stop": Allowed((ACTIVE, ERROR), POWERING_OFF, must_have_launched=True, event="compute_stop_instance"),
    "start": Allowed((STOPPED,), POWERING_ON, event="compute_start_instance"),
    "reboot": Allowed((ACTIVE,), REBOOTING, event="compute_reboot_instance"),
    "reboot_hard": Allowed(
        (ACTIVE, STOPPED, PAUSED, ERROR), REBOOTING_HARD, (NO_TASK, REBOOTING, REBOOTING_HARD), must_have_launched=True, event="compute_reboot_instance",
        record="reboot",
    ),
    "pause": Allowed((ACTIVE,), PAUSING, event="compute_pause_instance"),
    "unpause": Allowed((PAUSED,), UNPAUSING, event="compute_unpause_instance"),
    "rebuild": Allowed((ACTIVE, STOPPED, ERROR), REBUILDING, event="compute_rebuild_instance"),
    "resize": Allowed((ACTIVE, STOPPED), RESIZE_PREP, must_have_launched=True, event="compute_resize_instance"),
    "migrate": Allowed((ACTIVE, STOPPED), RESIZE_PREP, must_have_launched=True, event="compute_resize_instance"),
    "confirmResize": Allowed((RESIZED,), RESIZE_CONFIRMING, event="compute_confirm_resize"),
    "revertResize": Allowed((RESIZED,), RESIZE_REVERTING, event="compute_revert_resize"),
    "live-migration": Allowed((ACTIVE, PAUSED), MIGRATING, event="compute_live_migration"),
    "evacuate": Allowed((ACTIVE, STOPPED, ERROR), REBUILDING, None, event="compute_rebuild_instance"),
    "createImage": Allowed((ACTIVE, STOPPED, PAUSED), SNAPSHOT, locked=True, event="compute_snapshot_instance"),
    "attach_volume": Allowed((ACTIVE, PAUSED, STOPPED, RESIZED), event="compute_attach_volume"),
    "detach_volume": Allowed((ACTIVE, PAUSED, STOPPED, RESIZED), event="compute_detach_volume"),
    "attach_interface": Allowed((ACTIVE, PAUSED, STOPPED), event="compute_attach_interface"),
    "detach_interface": Allowed((ACTIVE, PAUSED, STOPPED), event="compute_detach_interface"),
    "changePassword": Allowed((ACTIVE,)),
    "get_console_output": Allowed((ACTIVE, PAUSED, STOPPED, RESIZED, ERROR), tasks=None, locked=True),
    "suspend": Allowed((ACTIVE,)),
    "resume": Allowed(()),
    "metadata": Allowed((ACTIVE, PAUSED, STOPPED), tasks=None),
    "tags": Allowed((ACTIVE, PAUSED, STOPPED), tasks=None),
}  # fmt: skip


def why_not(action: str, id_: str, *, vm_state: str, task_state: str, launched: bool = True) -> str:
    """Why an action cannot begin now, in Nova's words; "" when it can."""
    allowed = ACTIONS[action]
    name = {"reboot_hard": "reboot", "live-migration": "os-migrateLive"}.get(action, action)
    if vm_state not in allowed.vm_states:
        return f"Cannot '{name}' instance {id_} while it is in vm_state {vm_state}"
    if allowed.tasks is not None and task_state not in allowed.tasks:
        return f"Cannot '{name}' instance {id_} while it is in task_state {task_state}"
    if allowed.must_have_launched and not launched:
        return f"Cannot '{name}' instance {id_} while it is in not launched"
    return ""


def settled(vm_state: str, task_state: str, reported: str, why: str) -> tuple[str, int] | None:
    """(vm_state, power_state) that a report of a server's guest leads to; None where nothing follows from it.

    While something is being done with the server, reports tell nothing: they may be older than that.
    """
    if task_state != NO_TASK or vm_state not in (ACTIVE, PAUSED, STOPPED):
        return None
    power = POWER_OF_REPORT.get(reported, POWER_NONE)
    if reported in ("off", "crashed") and vm_state != STOPPED:
        return STOPPED, power
    if reported == "running" and vm_state == PAUSED:
        return ACTIVE, power
    if reported == "paused" and vm_state == ACTIVE:
        return PAUSED, power
    return vm_state, power
