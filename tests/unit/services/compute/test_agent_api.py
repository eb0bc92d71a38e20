import msgspec
import pytest

from objstore.services.compute.agent_api import CALLS, DetachDisk, Disk, Nic, Power, Report, ServerSpec, Spawn


def test_a_spec_travels_as_json() -> None:
    spec = ServerSpec(
        "s", "web", "p", 1, 64, (Disk("0" * 32, "vda", 0),), (Nic("port", "fa:16:3e:00:00:01", "net"),), metadata={"uuid": "s"}
    )
    assert msgspec.json.decode(msgspec.json.encode(Spawn(spec)), type=Spawn) == Spawn(spec)


def test_a_report_needs_the_host_and_its_address() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"host": "host1"}', type=Report)
    assert (
        msgspec.json.decode(msgspec.json.encode(Report("host1", "http://127.0.0.1:1", guests=(Power("s", "off"),))), type=Report)
        .guests[0]
        .state
        == "off"
    )


def test_every_call_has_a_name_of_its_own() -> None:
    assert len(set(CALLS.values())) == len(CALLS)
    assert CALLS["detach_disk"] is DetachDisk
