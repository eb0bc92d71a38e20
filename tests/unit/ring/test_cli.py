import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ring.cli import main
from ring.files import load

NOW = ("--now-s", "1700000000")


def device(number: int, **fields: Any) -> str:
    values = {"node": f"n{number}", "address": f"tcp:127.0.0.1:{21100 + number}", "zone": f"z{number % 3}", "incarnation": f"{number:016x}"}
    return ",".join(f"{name}={value}" for name, value in {**values, **fields}.items())


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments: object) -> Any:
    """The JSON that a command printed."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.ring"
    done("create", path, "--part-power", 6, *[part for i in range(6) for part in ("--device", device(i))], *NOW)
    return path


def test_create_writes_the_first_epoch(tmp_path: Path) -> None:
    path = tmp_path / "a.ring"
    said = done(
        "create", path, "--part-power", 4, "--replicas", 2, "--hash-seed", "ff", "--device", device(0), "--device", device(1, weight=2)
    )
    assert (said["epoch"], said["written"], said["added"]) == (1, True, [0, 1])
    ring = load(path)
    assert (ring.spec.hash_seed, ring.spec.replica_count, ring.spec.part_power, ring.devices[1].weight) == (255, 2, 4, 2.0)
    assert ring.devices[0].region == "default"


def test_create_takes_a_random_seed_and_never_shows_it(tmp_path: Path) -> None:
    seeds = set()
    for name in ("a", "b"):
        done("create", tmp_path / name, "--replicas", 1, "--device", device(0))
        seeds.add(load(tmp_path / name).spec.hash_seed)
        assert str(load(tmp_path / name).spec.hash_seed) not in run("show", tmp_path / name, "--json").output
    assert len(seeds) == 2


def test_create_does_not_overwrite(file: Path) -> None:
    result = run("create", file, "--device", device(0), "--replicas", 1)
    assert result.exit_code == 1
    assert "exists already" in result.stderr


def test_a_failure_says_what_why_and_what_to_try(tmp_path: Path) -> None:
    result = run("create", tmp_path / "a.ring", "--device", device(0))
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0] == "error: 1 devices cannot hold 3 replicas"
    assert lines[1].startswith("why: ")
    assert lines[2].startswith("try: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["create", "FILE"],
        ["create", "FILE", "--device", "node=n"],
        ["create", "FILE", "--device", "colour=red"],
        ["create", "FILE", "--device", device(0, weight="much")],
        ["create", "FILE", "--device", device(0, weight=-1)],
        ["create", "FILE", "--device", device(0, address="http://h")],
        ["create", "NEW", "--device", device(0), "--hash-seed", "xyz"],
        ["add", "FILE"],
        ["remove", "FILE", "one"],
        ["weigh", "FILE", "1"],
        ["weigh", "FILE", "1=x"],
        ["replace", "FILE", "1"],
        ["replace", "FILE", "1", "--incarnation", "xyz"],
        ["finish", "FILE"],
        ["show"],
        ["diff", "FILE"],
    ],
)
def test_wrong_usage_is_exit_code_two(file: Path, arguments: list[str]) -> None:
    names = {"FILE": str(file), "NEW": str(file) + ".new"}
    assert run(*[names.get(argument, argument) for argument in arguments]).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [["remove", "FILE", "9"], ["weigh", "FILE", "9=1"], ["replace", "FILE", "9", "--incarnation", "00" * 8], ["finish", "FILE", "--in-sync"],
     ["abandon", "FILE"], ["add", "FILE", device(1)], ["show", "MISSING"], ["validate", "MISSING"], ["diff", "FILE", "MISSING"]],
)  # fmt: skip
def test_failures_are_exit_code_one(file: Path, arguments: list[str]) -> None:
    names = {"FILE": str(file), "MISSING": str(file) + ".missing"}
    result = run(*[names.get(argument, argument) for argument in arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")


def test_a_device_is_added_and_the_handover_finished(file: Path) -> None:
    said = done("add", file, device(6), *NOW)
    assert (said["epoch"], said["added"], said["written"]) == (2, [6], True)
    assert said["moving"] == len(load(file).moving()) > 0
    assert done("finish", file, "--in-sync")["epoch"] == 3
    assert not load(file).moving()


def test_devices_are_removed_and_the_removal_given_up(file: Path) -> None:
    assert done("remove", file, 0, 1, *NOW)["removed"] == [0, 1]
    assert load(file).retired == {0, 1}
    assert done("abandon", file)["epoch"] == 3
    assert load(file).retired == frozenset()


def test_devices_are_weighed(file: Path) -> None:
    done("weigh", file, "0=2", "1=0", *NOW)
    assert (load(file).devices[0].weight, load(file).devices[1].weight) == (2.0, 0.0)


def test_a_device_is_replaced_also_during_a_handover(file: Path) -> None:
    done("add", file, device(6), *NOW)
    said = done("replace", file, 2, "--incarnation", "ff" * 8, "--path", "/new", *NOW)
    assert (said["epoch"], said["added"], said["removed"]) == (3, [7], [2])
    assert load(file).devices[7].path == "/new"
    assert load(file).devices[7].address == load(file).devices[2].address


def test_a_device_moves_to_another_address(file: Path) -> None:
    done("readdress", file, 3, "unix:/run/n3", "--path", "/x")
    assert (load(file).devices[3].address, load(file).devices[3].path) == ("unix:/run/n3", "/x")


def test_a_rebalance_with_nothing_to_do_writes_nothing(file: Path) -> None:
    before = file.read_bytes()
    assert done("rebalance", file)["written"] is False
    assert "nothing is to move" in run("rebalance", file).stdout
    assert file.read_bytes() == before


def test_a_rebalance_moves_what_was_held_back(file: Path) -> None:
    done("add", file, device(6), "--now-s", 1_000_000)
    done("finish", file, "--in-sync")
    held = len(load(file).partitions_of(6))
    assert done("weigh", file, "6=0.1", "--now-s", 1_000_001)["moving"] == 0  # all that it holds moved a second ago
    assert len(load(file).partitions_of(6)) == held
    assert done("rebalance", file, "--now-s", 1_010_000)["written"] is True


@pytest.mark.parametrize("command", [["add", device(6)], ["remove", "0"], ["weigh", "0=3"], ["replace", "0", "--incarnation", "ab" * 8]])
def test_a_dry_run_says_what_would_move_and_writes_nothing(file: Path, command: list[str]) -> None:
    before = file.read_bytes()
    said = done(command[0], file, *command[1:], "--dry-run", *NOW)
    assert (said["dry_run"], said["written"]) == (True, False)
    assert said["replicas_moved"] > 0
    assert "(dry run)" in run(command[0], file, *command[1:], "--dry-run", *NOW).stdout
    assert file.read_bytes() == before


def test_show_prints_each_device_with_its_balance_and_the_dispersion(file: Path) -> None:
    facts = done("show", file)
    assert [row["id"] for row in facts["devices"]] == [0, 1, 2, 3, 4, 5]
    assert facts["devices"][0]["replicas"] == 32
    assert facts["devices"][0]["incarnation"] == "0" * 16
    assert [row["level"] for row in facts["dispersion"]] == ["region", "zone", "node"]
    assert facts["worst_percent"] == 0.0
    text = run("show", file).stdout
    assert "default/z1/n1" in text
    assert "handover: none" in text
    assert "worst device 0.00 %" in text
    done("remove", file, 0, *NOW)
    assert "(leaving)" in run("show", file).stdout


def test_diff_prints_what_moves(file: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.ring"
    old.write_bytes(file.read_bytes())
    done("add", file, device(6), *NOW)
    found = done("diff", old, file)
    assert (found["old_epoch"], found["new_epoch"], found["added"]) == (1, 2, [6])
    assert found["moved"] == list(load(file).moving())
    assert 0 < found["moved_share"] < 0.2
    assert "epoch 1 -> 2" in run("diff", old, file).stdout


def test_validate_tells_a_sound_file_from_a_damaged_one(file: Path) -> None:
    assert done("validate", file) == {"valid": True, "epoch": 1, "policy": "replicated", "moving": 0}
    assert "valid" in run("validate", file).stdout
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(bytes(data))
    result = run("validate", file)
    assert result.exit_code == 1
    assert "it is damaged" in result.stderr
