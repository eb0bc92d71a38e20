"""Which accelerator is taken."""

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from objstore.services.compute.agent import probe


def test_what_was_chosen_is_not_looked_at(tmp_path: Path) -> None:
    assert asyncio.run(probe.accelerator("kvm", str(tmp_path), "b")) == "kvm"
    assert list(tmp_path.iterdir()) == []


def test_without_kvm_it_is_tcg_and_the_answer_holds_until_the_machine_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "KVM", str(tmp_path / "kvm"))
    assert asyncio.run(probe.accelerator("auto", str(tmp_path), "boot one")) == "tcg"
    known = tmp_path / probe.ANSWER
    known.write_bytes(msgspec.json.encode({"boot_id": "boot one", "accelerator": "kvm"}))
    assert asyncio.run(probe.accelerator("auto", str(tmp_path), "boot one")) == "kvm"
    assert asyncio.run(probe.accelerator("auto", str(tmp_path), "boot two")) == "tcg"
    known.write_bytes(b"nonsense")
    assert asyncio.run(probe.accelerator("auto", str(tmp_path), "boot two")) == "tcg"


@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="QEMU is not here")
def test_the_small_guest_boots_and_one_that_takes_too_long_does_not_count(tmp_path: Path) -> None:
    assert asyncio.run(probe.boots("tcg", str(tmp_path), timeout_s=60.0))
    assert not asyncio.run(probe.boots("tcg", str(tmp_path), timeout_s=0.001))
    assert not asyncio.run(probe.boots("nonsense", str(tmp_path), timeout_s=60.0))
    assert list(tmp_path.iterdir()) == []
