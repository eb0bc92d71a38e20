"""Attributes of ports that are lists of objects: address pairs and DHCP options.  What goes into a host's configuration is narrow on purpose."""

import re
from typing import Any

from objstore.services.network import checks
from objstore.services.network.checks import Check, fields, wrong
from objstore.services.network.problems import NetworkRefused, invalid

_OPTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:.-]{0,63}")
# One line, and nothing that a configuration file would take for its own.
_OPTION_VALUE = re.compile(r"[\x20-\x7e]{1,255}")
Pair = dict[str, str]


def address_pairs(most: int) -> Check:
    """[{"mac_address", "ip_address"}], at most `most`; a pair without a MAC address has the port's."""

    def check(name: str, value: Any) -> list[Pair]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise wrong(name, "allowed address pairs are a list")
        if len(value) > most:
            raise NetworkRefused(400, "AllowedAddressPairExhausted", f"The number of allowed address pair exceeds the maximum {most}.")
        found: list[Pair] = []
        for item in value:
            given = fields(item, name, ("mac_address", "ip_address"))
            if given.get("ip_address") is None:
                raise NetworkRefused(400, "AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address")
            pair = {"ip_address": _address_or_range(given["ip_address"])}
            if given.get("mac_address") is not None:
                pair["mac_address"] = checks.mac("mac_address", given["mac_address"])
            if pair in found:
                raise NetworkRefused(
                    400, "DuplicateAddressPairInRequest",
                    f"Request contains duplicate address pair: mac_address {pair.get('mac_address')} ip_address {pair['ip_address']}.",
                )  # fmt: skip
            found.append(pair)
        return found

    return check


def _address_or_range(value: Any) -> str:
    if isinstance(value, str) and "/" in value:
        return checks.cidr("ip_address", value)
    return checks.address("ip_address", value)


def dhcp_options(most: int) -> Check:
    """[{"opt_name", "opt_value", "ip_version"}]; a value of null takes an option away."""

    def check(name: str, value: Any) -> list[dict[str, Any]]:
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > most:
            raise wrong(name, f"DHCP options are a list of at most {most}")
        found: list[dict[str, Any]] = []
        for item in value:
            given = fields(item, name, ("opt_name", "opt_value", "ip_version"))
            option, text = given.get("opt_name"), given.get("opt_value")
            if not isinstance(option, str) or _OPTION_NAME.fullmatch(option) is None:
                raise invalid("opt_name of a DHCP option has 1 to 64 letters, digits and - _ : .")
            if "opt_value" not in given or (text is not None and (not isinstance(text, str) or _OPTION_VALUE.fullmatch(text) is None)):
                raise invalid("opt_value of a DHCP option has 1 to 255 printable characters of ASCII, or is null")
            version = checks.ip_version("ip_version", given.get("ip_version", 4))
            if any(other["opt_name"] == option and other["ip_version"] == version for other in found):
                raise invalid(f"Duplicate DHCP option {option}")
            found.append({"opt_name": option, "opt_value": text, "ip_version": version})
        return found

    return check


def merged_options(before: list[dict[str, Any]], given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Options after a change: those named replace or take away, the others stay."""
    named = {(option["opt_name"], option["ip_version"]): option for option in [*before, *given]}
    return [option for option in named.values() if option["opt_value"] is not None]
