"""Pages of `objstore du` over the control socket."""

import json
from typing import Any

import pytest

from objstore.cli.holdings import handlers
from objstore.cli.requests import ListHoldings, ScanHoldings
from objstore.errors import InvalidArgument
from tests.support.store_rig import Rig, with_rig


def test_pages_are_plain_json_and_lead_to_the_end() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("a/b", b"data")
        table = handlers(rig.cluster)
        listed: Any = await table[ListHoldings](ListHoldings())
        identity = listed["buckets"][0]["id"]
        cursor, pages = "", 0
        objects = 0
        while pages == 0 or cursor:
            page: Any = await table[ScanHoldings](ScanHoldings(identity, depth=1, cursor=cursor))
            json.dumps(page)
            objects += page["groups"].get("a/", {"objects": 0})["objects"]
            cursor, pages = page["cursor"], pages + 1
        assert (objects, pages) == (1, 3)
        with pytest.raises(InvalidArgument):
            await table[ScanHoldings](ScanHoldings("no id"))

    with_rig(test)
