"""Opening a cluster's store for volumes."""

import asyncio
from pathlib import Path

import pytest

from objstore.cli.volume_store import open_volumes
from objstore.runtime.config import ConfigError


def test_there_must_be_a_cluster(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_volumes(tmp_path):
            raise AssertionError("there is no cluster")

    with pytest.raises(ConfigError, match="there is no cluster"):
        asyncio.run(main())
