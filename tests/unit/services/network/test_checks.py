"""Values as clients send them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.services.calls.problems import CallRefused
from objstore.services.network import checks

CHECKS: list[checks.Check] = [
    checks.text, checks.text_or_none, checks.boolean, checks.number(0, 9), checks.one_of("a", 6), checks.or_none(checks.uuid), checks.ip_version,
    checks.uuid, checks.project, checks.mac, checks.address, checks.network, checks.cidr, checks.listed(checks.address, 3), checks.dns_name,
    checks.small_object,
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_every_check_gives_a_value_or_refuses_with_400(value: Any) -> None:
    for check in CHECKS:
        refused = None
        try:
            check("x", value)
        except CallRefused as failure:
            refused = failure
        assert refused is None or (refused.status == 400 and len(refused.message) < 1000)


def test_values_get_their_normal_form() -> None:
    assert checks.boolean("x", "True") is True
    assert checks.boolean("x", 0) is False
    assert checks.number(-1, 9)("x", "-1") == -1
    assert checks.mac("x", "FA-16-3E-00-00-0A") == "fa:16:3e:00:00:0a"
    assert checks.address("x", "2001:DB8:0::1") == "2001:db8::1"
    assert checks.cidr("x", "10.0.0.5/24") == "10.0.0.0/24"
    assert checks.ip_version("x", "6") == 6
    assert checks.dns_name("x", "VM-1") == "vm-1"


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (checks.boolean, None), (checks.boolean, 2), (checks.number(0, 9), 10), (checks.number(0, 9), True), (checks.mac, "01:00:00:00:00:00"),
        (checks.address, "fe80::1%eth0"), (checks.network, "10.0.0.0"), (checks.network, "10.0.0.0/255.0.0.0"), (checks.network, "10.0.0.0/33"),
        (checks.text, "a\0"), (checks.text, "a" * 256), (checks.dns_name, "-a"), (checks.dns_name, "a b"), (checks.project, "a/b"),
        (checks.small_object, {"a": "b" * 5000}), (checks.listed(checks.text, 2), ["a", "a"]), (checks.listed(checks.text, 2), ["a", "b", "c"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(check: checks.Check, value: Any) -> None:
    with pytest.raises(CallRefused):
        check("x", value)


def test_objects_have_the_keys_that_are_known() -> None:
    assert checks.fields({"a": 1}, "x", ("a", "b")) == {"a": 1}
    for value in ({"c": 1}, [], None):
        with pytest.raises(CallRefused):
            checks.fields(value, "x", ("a",))
