"""What stands on a config drive."""

import asyncio
import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from objstore.services.compute.agent.config_drive import documents, make
from tests.unit.services.compute.agent.test_check import spec

FULL = spec(metadata={"uuid": "u", "hostname": "h"}, user_data=base64.b64encode(b"#!/bin/sh\n").decode(), network_data={"links": []})


def test_documents_are_where_guests_look_for_them() -> None:
    found = documents(FULL)
    assert json.loads(found["openstack/latest/meta_data.json"]) == {"uuid": "u", "hostname": "h"}
    assert json.loads(found["openstack/latest/network_data.json"]) == {"links": []}
    assert found["openstack/latest/user_data"] == b"#!/bin/sh\n"
    assert list(documents(spec())) == ["openstack/latest/meta_data.json"]


@pytest.mark.skipif(not (shutil.which("genisoimage") and shutil.which("isoinfo")), reason="genisoimage is not here")
def test_the_drive_has_its_label_and_its_files(tmp_path: Path) -> None:
    (tmp_path / "config-cutoff" / "openstack").mkdir(parents=True)
    asyncio.run(make(FULL, str(tmp_path / "config.iso")))
    listed = subprocess.run(["isoinfo", "-R", "-f", "-i", tmp_path / "config.iso"], capture_output=True, text=True, check=True).stdout
    assert "/openstack/latest/user_data" in listed
    told = subprocess.run(["isoinfo", "-d", "-i", tmp_path / "config.iso"], capture_output=True, text=True, check=True).stdout
    assert "Volume id: config-2" in told
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.iso"]
