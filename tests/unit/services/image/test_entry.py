"""Documents of new images and json-patches."""

from typing import Any

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.image.entry import MAX_OPERATIONS, PATCH_TYPES, apply, check_image, is_uuid, parse_new, parse_patch
from objstore.services.image.records import ACTIVE, QUEUED, SHARED, Image
from objstore.services.image.settings import ImageSettings

IMAGE = Image("i", "p", QUEUED, SHARED, 1, 1, name="n", properties={"a": "1"}, disk_format="raw", container_format="bare")


def refused(call: Any, *given: Any, **named: Any) -> int:
    with pytest.raises(CallRefused) as caught:
        call(*given, **named)
    return caught.value.status


def test_a_new_image_is_split_into_attributes_and_properties() -> None:
    id_, attributes, properties = parse_new(
        {"id": "0F0F0F0F-1111-4222-8333-444444444444", "name": None, "min_ram": 5, "hw": "x", "gone": None}
    )
    assert id_ == "0f0f0f0f-1111-4222-8333-444444444444"
    assert attributes == {"name": None, "min_ram": 5}
    assert properties == {"hw": "x", "gone": None}


def steps(*operations: Any, newer: bool = True) -> Any:
    return parse_patch(list(operations), PATCH_TYPES[0 if newer else 1])


def test_both_kinds_of_patch_say_the_same() -> None:
    new = steps({"op": "add", "path": "/b~1c~0d", "value": "v"}, {"op": "remove", "path": "/a"})
    old = steps({"add": "/b~1c~0d", "value": "v"}, {"remove": "/a"}, newer=False)
    assert new == old
    assert new[0].name == "b/c~d"


@pytest.mark.parametrize(
    "operation",
    [
        {}, [], "x", {"op": "move", "path": "/a"}, {"op": "add", "path": "a", "value": "1"}, {"op": "add", "path": "/", "value": "1"},
        {"op": "add", "path": "/a/b", "value": "1"}, {"op": "add", "path": "/a~2", "value": "1"}, {"op": "add", "path": "/a"}, {"op": "add", "path": 5, "value": "1"},
        {"op": "add", "path": "//a", "value": "1"}, {"op": ["add"], "path": "/a", "value": 1},
    ],
)  # fmt: skip
def test_operations_that_are_none_are_refused(operation: Any) -> None:
    assert refused(steps, operation) == 400


def test_a_patch_is_a_list_of_few_and_of_a_known_kind() -> None:
    assert refused(parse_patch, {}, PATCH_TYPES[0]) == 400
    assert refused(parse_patch, [{}] * (MAX_OPERATIONS + 1), PATCH_TYPES[0]) == 400
    assert refused(parse_patch, [], "application/json-patch+json") == 415
    assert refused(steps, {"add": "/a", "remove": "/a", "value": 1}, newer=False) == 400


@pytest.mark.parametrize(
    "name", ["id", "status", "size", "checksum", "os_hash_value", "created_at", "locations", "os_glance_failed_import", "deleted"]
)
def test_what_the_service_says_no_client_sets(name: str) -> None:
    assert refused(steps, {"op": "replace", "path": f"/{name}", "value": "x"}) == 403


def test_patches_add_replace_and_remove() -> None:
    after = apply(
        IMAGE, steps({"op": "add", "path": "/b", "value": "2"}, {"op": "replace", "path": "/a", "value": "3"}, {"op": "add", "path": "/min_ram", "value": 9}),
        is_admin=False,
    )  # fmt: skip
    assert (after.properties, after.min_ram) == ({"a": "3", "b": "2"}, 9)
    assert apply(IMAGE, steps({"op": "remove", "path": "/a"}), is_admin=False).properties == {}
    for operation, status in (
        ({"op": "remove", "path": "/name"}, 403), ({"op": "remove", "path": "/zz"}, 409), ({"op": "replace", "path": "/zz", "value": "1"}, 409),
        ({"op": "replace", "path": "/owner", "value": "q"}, 403), ({"op": "replace", "path": "/min_disk", "value": 2**40}, 400),
        ({"op": "add", "path": "/zz", "value": {"deep": 1}}, 400),
    ):  # fmt: skip
        assert refused(apply, IMAGE, steps(operation), is_admin=False) == status


def test_formats_are_settled_once_there_are_bytes() -> None:
    import dataclasses

    active = dataclasses.replace(IMAGE, status=ACTIVE)
    change = steps({"op": "replace", "path": "/disk_format", "value": "qcow2"})
    assert apply(IMAGE, change, is_admin=False).disk_format == "qcow2"
    assert refused(apply, active, change, is_admin=True) == 403
    same = steps({"op": "replace", "path": "/disk_format", "value": "raw"})
    assert apply(active, same, is_admin=False) == active


def test_a_whole_image_is_checked() -> None:
    import dataclasses

    settings = ImageSettings(quota_tags=1, quota_properties=1)
    check_image(IMAGE, settings)
    assert refused(check_image, dataclasses.replace(IMAGE, disk_format="aki"), settings) == 400
    assert refused(check_image, dataclasses.replace(IMAGE, tags=["a", "b"]), settings) == 413
    assert refused(check_image, dataclasses.replace(IMAGE, properties={"a": "1", "b": "2"}), settings) == 413


def test_a_uuid_is_a_uuid() -> None:
    assert is_uuid("36d4b546-64a2-4bb9-bdd0-ba676aa48f2c")
    for text in ("", "36d4b54664a24bb9bdd0ba676aa48f2c", "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c\n", None, 5):
        assert not is_uuid(text)
