"""Requests to the supervisor: what the command line writes is what the supervisor reads."""

import json

import msgspec
import pytest

from objstore.cli import requests

DECODER = msgspec.json.Decoder(requests.SupervisorRequest)
KINDS = requests.SupervisorRequest.__args__  # type: ignore[attr-defined]


def test_every_request_has_a_call_of_its_own() -> None:
    tags = [kind.__struct_config__.tag for kind in KINDS]
    assert len(set(tags)) == len(tags) == 17


@pytest.mark.parametrize("line", ['{"call": "up", "nodes": 3}', '{"call": "start"}', '{"call": "stop", "name": 1}', '{"name": "node1"}'])
def test_what_is_missing_or_not_known_is_refused(line: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        DECODER.decode(line)


def test_plain_json_is_enough() -> None:
    assert DECODER.decode(json.dumps({"call": "stop", "name": "node1"})) == requests.StopProcess(name="node1", signal="TERM")
