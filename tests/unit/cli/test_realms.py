from pathlib import Path

import pytest

from objstore.cli.realms import read_realms
from objstore.core.container_sync import SyncSettings
from objstore.runtime.config import ConfigError
from objstore.runtime.log import redact


def test_keys_of_realms_are_kept_out_of_logs(tmp_path: Path) -> None:
    assert read_realms(SyncSettings()) == {}
    file = tmp_path / "realms.conf"
    file.write_text("[r]\nkey = a-key-that-nobody-sees\nkey2 = nor-this-one\ncluster_a = http://h/v1\n")
    assert list(read_realms(SyncSettings(realms_file=str(file)))) == ["R"]
    assert "nobody" not in redact("a-key-that-nobody-sees and nor-this-one")


def test_a_file_that_cannot_be_read_is_said_without_its_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such"):
        read_realms(SyncSettings(realms_file=str(tmp_path / "no-such")))
    file = tmp_path / "realms.conf"
    file.write_text("[r]\nkey = hidden-key\ncluster_a = nonsense\n")
    with pytest.raises(ConfigError) as failure:
        read_realms(SyncSettings(realms_file=str(file)))
    assert "hidden-key" not in str(failure.value)
