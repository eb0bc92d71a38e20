"""Fields of documents."""

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.compute import fields


@pytest.mark.parametrize(
    ("check", "value", "found"),
    [
        (fields.uuid, "0F0F0F0F-1111-4222-8333-444444444444", "0f0f0f0f-1111-4222-8333-444444444444"), (fields.server_name, " n ", "n"),
        (fields.flag, "True", True), (fields.flag, 0, False), (fields.flag, "off", False), (fields.integer(1, 9), "7", 7), (fields.address(4), None, ""),
        (fields.address(6), "FE80::1", "fe80::1"), (fields.metadata, {"a b": ""}, {"a b": ""}), (fields.tags, ["b", "a", "b"], ["b", "a"]),
        (fields.user_data, "aGVs\nbG8=", "aGVs\nbG8="), (fields.device, "/dev/vdc", "vdc"), (fields.device, None, ""), (fields.host_name, "a-b.c", "a-b.c"),
        (fields.nullable(fields.flag), None, None),
    ],
)  # fmt: skip
def test_what_is_right_is_taken_in_one_form(check: fields.Check, value: object, found: object) -> None:
    assert check("x", value) == found


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (fields.uuid, "x"), (fields.uuid, 5), (fields.server_name, ""), (fields.server_name, "  "), (fields.server_name, "a\nb"),
        (fields.server_name, "x" * 256), (fields.server_name, None), (fields.flag, "maybe"), (fields.flag, None), (fields.integer(1, 9), 10),
        (fields.integer(1), True), (fields.integer(1), "1.5"), (fields.address(4), "::1"), (fields.address(6), "10.0.0.1"), (fields.address(4), "x"),
        (fields.metadata, {"a": 1}), (fields.metadata, {"": "x"}), (fields.metadata, {"a" * 256: "x"}), (fields.metadata, {"a": "x" * 256}),
        (fields.metadata, []), (fields.tag, ""), (fields.tag, "a,b"), (fields.tag, "a/b"), (fields.tag, "x" * 61), (fields.tags, ["a"] * 51),
        (fields.user_data, "%%%"), (fields.user_data, "A" * 65_536), (fields.device, "/etc/passwd"), (fields.device, 5), (fields.host_name, "-a"),
        (fields.host_name, "a" * 64), (fields.any_address, "1.2.3"), (fields.any_address, "fd00::5%x"), (fields.address(6), "fe80::1%a\nb"), (fields.one_of("a"), "b"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_400(check: fields.Check, value: object) -> None:
    with pytest.raises(CallRefused) as refused:
        check("field", value)
    assert refused.value.status == 400


def test_fields_of_later_versions_are_unknown() -> None:
    checks = {"a": ((2, 1), fields.flag), "b": ((2, 19), fields.flag)}
    assert fields.parsed({"a": 1, "b": 0}, checks, (2, 19), "x") == {"a": True, "b": False}
    with pytest.raises(CallRefused, match="Additional properties are not allowed"):
        fields.parsed({"b": 0}, checks, (2, 18), "x")
    with pytest.raises(CallRefused, match="'object'"):
        fields.only([], ("a",))
    with pytest.raises(CallRefused, match="required"):
        fields.member({}, "server")


@pytest.mark.parametrize(
    ("name", "made"),
    [("My Server_1", "my-server-1"), ("a.b", "a-b"), ("--x--", "x"), ("\u00fc", "server-id"), ("y" * 80, "y" * 63)],
)
def test_a_host_name_follows_from_the_name(name: str, made: str) -> None:
    assert fields.made_host_name(name, "id") == made
