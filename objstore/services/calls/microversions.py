"""Microversions: which of a range of versions of an API a request asks for, as volume, compute and placement do it."""

import re
from dataclasses import dataclass

from objstore.services.calls.call import Call
from objstore.services.calls.problems import CallRefused, bad_request

HEADER = "openstack-api-version"
_VERSION = re.compile(r"([1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")
Version = tuple[int, int]


@dataclass(frozen=True)
class Range:
    """What a service answers to: `service` is its type in the header, `legacy` a header of its own (Nova's, Ironic's) or ""."""

    service: str
    lowest: Version
    highest: Version
    legacy: str = ""

    def of(self, call: Call) -> Version:
        """The version of a call; the answer is given the headers that say so.  Raises 400, 406."""
        text = self._asked(call)
        found = self.lowest if text is None else self.highest if text == "latest" else _parse(text)
        if not self.lowest <= found <= self.highest:
            raise CallRefused(
                406,
                f"Version {shown(found)} is not supported by the API. Minimum is {shown(self.lowest)} and maximum is {shown(self.highest)}.",
            )
        call.answered.append((HEADER.encode(), f"{self.service} {shown(found)}".encode()))
        call.answered.append((b"vary", HEADER.encode()))
        if self.legacy:
            call.answered.append((self.legacy.lower().encode(), shown(found).encode()))
        return found

    def _asked(self, call: Call) -> str | None:
        for part in call.headers.get(HEADER, "").split(","):
            service, _, version = part.strip().partition(" ")
            if service.lower() == self.service:
                return version.strip()
        return call.headers.get(self.legacy.lower()) if self.legacy else None


def shown(version: Version) -> str:
    """2.17."""
    return f"{version[0]}.{version[1]}"


def _parse(text: str) -> Version:
    found = _VERSION.fullmatch(text)
    if found is None:
        raise bad_request(f"API Version String '{text[:64]}' is of invalid format. It must be of format Major Minor.")
    return int(found.group(1)), int(found.group(2))
