"""Migrations over the whole cloud."""

from typing import Any

from sqlalchemy import insert

from objstore.services.compute.tables import MIGRATIONS
from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN


async def add(rig: CloudRig, number: int, **values: Any) -> None:
    row = {
        "id": f"m{number}", "number": number, "server": "s1", "kind": "resize", "status": "confirmed", "source": "h1", "target": "h2",
        "old_flavor": "1", "new_flavor": '{"id": "x"}', "project": "p", "user_id": "u", "created_us": number, "updated_us": number, **values,
    }  # fmt: skip
    await rig.sql.write(lambda connection: connection.execute(insert(MIGRATIONS).values(**row)).rowcount)


def test_migrations_are_listed_the_newest_first() -> None:
    async def test(rig: CloudRig) -> None:
        await add(rig, 1)
        await add(rig, 2, kind="live-migration", status="running", source="h3")
        assert (await rig.ask("GET", "/os-migrations")).status == 403
        first, second = (await rig.ask("GET", "/os-migrations", who=ADMIN)).body["migrations"]
        assert (first["id"], second["id"]) == (2, 1)
        assert (second["old_instance_type_id"], second["new_instance_type_id"]) == (1, None)
        assert not {"migration_type", "uuid", "user_id"} & set(first)
        newest = (await rig.ask("GET", "/os-migrations", who=ADMIN, version="2.80")).body["migrations"][0]
        assert (newest["uuid"], newest["project_id"]) == ("m2", "p")
        assert newest["links"][0]["href"].endswith("/servers/s1/migrations/2")
        for query, count in (("host=h1", 1), ("host=h2", 2), ("status=running", 1), ("migration_type=resize", 1), ("instance_uuid=x", 0)):
            assert len((await rig.ask("GET", f"/os-migrations?{query}", who=ADMIN)).body["migrations"]) == count, query
        page = (await rig.ask("GET", "/os-migrations?limit=1", who=ADMIN, version="2.59")).body
        assert page["migrations_links"][0]["href"].endswith("marker=m2")
        rest = (await rig.ask("GET", "/os-migrations?limit=1&marker=m2", who=ADMIN, version="2.59")).body["migrations"]
        assert [one["uuid"] for one in rest] == ["m1"]
        assert (await rig.ask("GET", "/os-migrations?marker=x", who=ADMIN, version="2.59")).status == 400

    on_cloud_rig(test)
