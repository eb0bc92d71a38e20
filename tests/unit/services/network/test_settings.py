"""The section of settings."""

import msgspec
import pytest

from objstore.services.network.quotas import COUNTED
from objstore.services.network.settings import NetworkSettings


def test_every_counted_resource_has_a_quota_and_unknown_names_are_refused() -> None:
    assert all(isinstance(getattr(NetworkSettings(), f"quota_{resource}"), int) for resource in COUNTED)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"quota_prot": 1}, NetworkSettings)
    for prefix in ("", "01:00:00", "fa:16:3e:00", "FA:16:3E"):
        with pytest.raises(ValueError):
            NetworkSettings(mac_prefix=prefix)
