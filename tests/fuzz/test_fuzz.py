"""A small share of `make fuzz` that runs with the unit tests: the same seed always, so that a failure is the change's."""

import asyncio
import logging

from tests.fuzz import memory
from tests.fuzz.judge import Tally


def test_three_thousand_hostile_requests_are_answered_as_they_must_be() -> None:
    tally = Tally()
    logging.disable(logging.ERROR)
    try:
        asyncio.run(memory.play(20261122, 0, 2750, tally))
    finally:
        logging.disable(logging.NOTSET)
    assert not tally.findings, "\n".join(tally.findings)
    assert tally.requests > 2750
    assert len(tally.codes) > 40  # they reach far into the store and do not all end at the door
    assert tally.statuses[200] > 300
