"""What guests share."""

from pathlib import Path

import pytest

from objstore.services.compute.agent.host import GuestSettings
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_check import ID


def test_each_guest_has_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        assert rig.agent.host.path(ID) == f"{rig.directory}/servers/{ID}"

    with_rig(tmp_path, monkeypatch, test)
    assert GuestSettings().user == -1
