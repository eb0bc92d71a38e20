"""Statuses, and which action may begin when."""

import pytest

from objstore.services.compute import states


@pytest.mark.parametrize(
    ("vm_state", "task_state", "status"),
    [
        ("building", "spawning", "BUILD"), ("active", "", "ACTIVE"), ("active", "rebooting", "REBOOT"), ("active", "rebooting_hard", "HARD_REBOOT"),
        ("active", "powering-off", "ACTIVE"), ("stopped", "", "SHUTOFF"), ("stopped", "rebuild_spawning", "REBUILD"), ("paused", "", "PAUSED"),
        ("active", "resize_finish", "RESIZE"), ("resized", "", "VERIFY_RESIZE"), ("resized", "resize_reverting", "REVERT_RESIZE"),
        ("active", "migrating", "MIGRATING"), ("error", "", "ERROR"), ("deleted", "", "DELETED"), ("active", "image_snapshot", "ACTIVE"),
    ],
)  # fmt: skip
def test_a_status_follows_from_the_two_states(vm_state: str, task_state: str, status: str) -> None:
    assert states.status_of(vm_state, task_state) == status
    found = states.states_of(status.lower())
    assert found is not None
    assert (vm_state, None) in found or (vm_state, task_state) in found


def test_a_status_nobody_has_is_empty_and_an_unknown_one_is_none() -> None:
    assert states.states_of("SHELVED") == []
    assert states.states_of("nonsense") is None


def test_every_action_is_refused_while_something_else_is_done_unless_it_says_so() -> None:
    for name, allowed in states.ACTIONS.items():
        for vm_state in states.VM_STATES:
            for task in ("", "spawning", "deleting", "rebooting"):
                why = states.why_not(name, "x", vm_state=vm_state, task_state=task)
                may = vm_state in allowed.vm_states and (allowed.tasks is None or task in allowed.tasks)
                assert (why == "") == may, (name, vm_state, task)
                assert not may or vm_state != states.DELETED


def test_refusals_have_the_words_of_nova() -> None:
    assert states.why_not("stop", "x", vm_state="stopped", task_state="") == "Cannot 'stop' instance x while it is in vm_state stopped"
    assert states.why_not("start", "x", vm_state="stopped", task_state="deleting") == (
        "Cannot 'start' instance x while it is in task_state deleting"
    )
    assert states.why_not("stop", "x", vm_state="error", task_state="", launched=False) == (
        "Cannot 'stop' instance x while it is in not launched"
    )


@pytest.mark.parametrize(
    ("before", "task", "report", "after"),
    [
        ("active", "", "off", ("stopped", 4)), ("active", "", "crashed", ("stopped", 6)), ("active", "", "running", ("active", 1)),
        ("paused", "", "running", ("active", 1)), ("active", "", "paused", ("paused", 3)), ("stopped", "", "off", ("stopped", 4)),
        ("active", "rebooting", "off", None), ("error", "", "off", None), ("building", "", "running", None), ("paused", "", "off", ("stopped", 4)),
    ],
)  # fmt: skip
def test_reports_settle_what_nobody_is_working_on(before: str, task: str, report: str, after: object) -> None:
    assert states.settled(before, task, report, "guest") == after
