from objstore.core.rows import BodyKind, Kind, PartRef, Row, Space
from objstore.core.timestamp import ZERO, ballot_at
from objstore.objects.info import object_info


def test_a_row_is_shown_with_all_that_clients_see() -> None:
    part = PartRef(space=Space.PARTS, name=b"p", size=7, etag="x", origin=ZERO, number=1)
    row = Row(
        kind=Kind.OBJECT, operation=b"o", origin=ballot_at(123 << 12, 9), base=ZERO, modified_us=0, size=7, etag="e-1", body=BodyKind.MANIFEST,
        content_type="t/u", headers={"h": "1"}, metadata={"m": "2"}, checksums={"sha1": b"d"}, checksum_type="COMPOSITE", parts=(part,),
        owner="me", version="", tags={"t": "3"},
    )  # fmt: skip
    info = object_info("k", row)
    assert (info.key, info.size, info.etag, info.modified_us, info.version_id) == ("k", 7, "e-1", 123, "")
    assert (info.content_type, info.headers, info.metadata, info.tags, info.owner) == ("t/u", {"h": "1"}, {"m": "2"}, {"t": "3"}, "me")
    assert (info.checksums, info.checksum_type, info.part_count) == ({"sha1": b"d"}, "COMPOSITE", 1)
    assert (info.is_latest, info.is_delete_marker) == (True, False)


def test_a_body_that_is_shared_is_no_part_to_clients() -> None:
    part = PartRef(space=Space.PARTS, name=b"p", size=7, etag="x", origin=ZERO)
    row = Row(kind=Kind.OBJECT, operation=b"o", origin=ZERO, base=ZERO, modified_us=0, size=7, body=BodyKind.MANIFEST, parts=(part,))
    assert object_info("k", row).part_count == 0
