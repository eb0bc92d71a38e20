"""Address pairs and DHCP options."""

from typing import Any

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.network.port_checks import address_pairs, dhcp_options, merged_options


def test_pairs_and_options_get_their_normal_form() -> None:
    assert address_pairs(3)("p", [{"ip_address": "10.0.0.1/24", "mac_address": "FA:16:3E:00:00:01"}, {"ip_address": "10.0.0.9"}]) == [
        {"ip_address": "10.0.0.0/24", "mac_address": "fa:16:3e:00:00:01"},
        {"ip_address": "10.0.0.9"},
    ]
    options = dhcp_options(3)(
        "o", [{"opt_name": "bootfile-name", "opt_value": "pxelinux.0"}, {"opt_name": "x", "opt_value": None, "ip_version": "6"}]
    )
    assert options[1] == {"opt_name": "x", "opt_value": None, "ip_version": 6}
    assert merged_options([{"opt_name": "x", "opt_value": "1", "ip_version": 6}], options) == options[:1]


@pytest.mark.parametrize(
    "value", [1, [{}], [{"ip_address": "a"}], [{"ip_address": "1.1.1.1"}] * 2, [{"ip_address": "1.1.1.1", "x": 1}], ["a"], [{}] * 9]
)
def test_pairs_that_cannot_be_are_refused(value: Any) -> None:
    with pytest.raises(CallRefused):
        address_pairs(3)("p", value)


@pytest.mark.parametrize(
    "option",
    [
        {"opt_name": "a", "opt_value": "b\nlog-facility=/etc/passwd"}, {"opt_name": "a\n", "opt_value": "b"}, {"opt_name": "a"}, {"opt_value": "b"},
        {"opt_name": "a,b", "opt_value": "c"}, {"opt_name": "a", "opt_value": ""}, {"opt_name": "a", "opt_value": "b", "ip_version": 5},
        {"opt_name": "a", "opt_value": "x" * 256},
    ],
)  # fmt: skip
def test_options_cannot_say_more_than_an_option(option: Any) -> None:
    with pytest.raises(CallRefused):
        dhcp_options(3)("o", [option])
    with pytest.raises(CallRefused):
        dhcp_options(1)("o", [{"opt_name": "a", "opt_value": "b"}] * 2)
