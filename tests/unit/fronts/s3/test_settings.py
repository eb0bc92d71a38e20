"""Settings."""

import msgspec
import pytest

from objstore.fronts.s3.settings import S3Settings


def test_unknown_settings_are_refused() -> None:
    assert msgspec.convert({"region": "eu", "domains": ["a"]}, S3Settings).domains == ("a",)
    with pytest.raises(msgspec.ValidationError, match="domain"):
        msgspec.convert({"domain": "x"}, S3Settings)
