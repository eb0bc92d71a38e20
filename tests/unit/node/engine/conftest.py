"""Every simulated host that a test started is let go of at its end."""

from collections.abc import Iterator

import pytest

from tests.support.engine_rig import SimRig


@pytest.fixture(autouse=True)
def _finish() -> Iterator[None]:
    yield
    SimRig.finish_all()
