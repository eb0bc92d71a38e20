"""Settings of the block storage service."""

import msgspec
import pytest

from objstore.services.volume.api.settings import BlockStorageSettings


def test_unknown_settings_are_refused_and_known_ones_kept() -> None:
    assert msgspec.convert({"quota_volumes": 3}, BlockStorageSettings).quota_volumes == 3
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"quota_volume": 3}, BlockStorageSettings)
