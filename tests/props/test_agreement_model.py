"""The register's rules under random schedules: every history is linearizable, and each broken variant is caught.

`HISTORIES=30000 pytest tests/props/test_agreement_model.py` runs more; a failure names the seed.
"""

import os

import pytest

from objstore.core.machine import Verdict
from objstore.core.quorum import Quorum
from objstore.core.reads import ReadDecision
from objstore.core.rows import Kind, Row, encode_row
from objstore.core.timestamp import ZERO, ballot_at, hybrid_of
from tests.support.broken_rules import BROKEN
from tests.support.register_model import LAYOUTS, Replica, holds, take_over

HISTORIES = int(os.environ.get("HISTORIES", "300"))
SEARCH = 6000  # histories within which a broken variant must show; most show within a few dozen


def test_every_history_is_linearizable() -> None:
    failed = [seed for seed in range(HISTORIES) if not holds(seed)]
    assert not failed, f"seeds {failed}"


@pytest.mark.parametrize("rings", sorted(LAYOUTS))
def test_histories_are_linearizable_on_each_layout_of_the_ring(rings: str) -> None:
    failed = [seed for seed in range(HISTORIES // 6) if not holds(seed, rings=rings)]
    assert not failed, f"{rings}: seeds {failed}"


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_rules_are_caught(name: str) -> None:
    rings, first_seed, rules = BROKEN[name]
    assert any(not holds(seed, rules, rings=rings) for seed in range(first_seed, first_seed + SEARCH)), name


def row(value: str) -> bytes:
    return encode_row(Row(Kind.OBJECT, b"", ZERO, ZERO, 0, etag=value))


def read(*replicas: Replica) -> bytes:
    decision = ReadDecision(Quorum([[r.device for r in replicas]]), lambda above: ballot_at(hybrid_of(above) + 1, 9))
    for replica in replicas:
        decision.registered(replica.device, replica.register)
    assert decision.verdict is Verdict.DONE
    return decision.row


def two_rivals() -> dict[int, Replica]:
    """Two creations that never met: one reached device 1 alone; the other was prepared on 2 and 3 and reached 3."""
    replicas = {device: Replica(device) for device in range(1, 7)}
    replicas[1].accept(ballot_at(1, 1), row("first"))
    for device in (2, 3):
        replicas[device].prepare(ballot_at(2, 2))
    replicas[3].accept(ballot_at(2, 2), row("second"))
    return replicas


def test_a_new_device_that_takes_rows_without_promises_lets_two_creations_win() -> None:
    replicas = two_rivals()
    for new, sources in ((4, (1, 2)), (5, (1, 2)), (6, (1, 3))):
        assert take_over(replicas[new], [replicas[d].register for d in sources], promises=False)
    assert read(replicas[4], replicas[5]) == row("first"), "a majority of the new devices agrees on what was never chosen"
    assert max(replicas[5].register.accepted, replicas[6].register.accepted) == replicas[6].register.accepted
    assert replicas[6].register.row == row("second"), "and the next round would choose the other"


def test_promises_of_the_previous_set_keep_a_row_that_was_not_chosen_out_of_new_devices() -> None:
    replicas = two_rivals()
    assert not take_over(replicas[4], [replicas[d].register for d in (1, 2)])
    assert replicas[4].register.accepted == ZERO
