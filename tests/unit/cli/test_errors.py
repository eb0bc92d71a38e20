"""How commands say what went wrong."""

import json

import pytest

from objstore.cli.errors import complain, report


def test_programs_get_one_json_object_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert report("it broke", kind="X") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": "it broke", "kind": "X"}
    assert captured.err == ""


def test_people_get_what_why_and_what_next_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert complain("no room", why="the disk is full", hint="add a device", code=3) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: no room\nwhy:   the disk is full\ntry:   add a device\n"
