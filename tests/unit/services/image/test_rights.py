"""Who sees and who changes an image."""

from dataclasses import dataclass

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.image.records import COMMUNITY, PRIVATE, PUBLIC, QUEUED, SHARED, Image
from objstore.services.image.rights import check_change, check_visibility, may_see, owns


@dataclass
class Caller:
    """As much of a call as rights look at."""

    project: str
    is_admin: bool = False
    writes: bool = True

    def check_write(self) -> None:
        if not self.writes:
            raise CallRefused(403, "reads only")


def image(visibility: str) -> Image:
    return Image("i", "mine", QUEUED, visibility, 1, 1)


@pytest.mark.parametrize(
    ("visibility", "member", "seen"),
    [
        (PRIVATE, None, False),
        (PRIVATE, "accepted", False),
        (SHARED, None, False),
        (SHARED, "rejected", True),
        (COMMUNITY, None, True),
        (PUBLIC, None, True),
    ],
)
def test_strangers_see_what_is_shown_to_them(visibility: str, member: str | None, seen: bool) -> None:
    assert may_see(Caller("other"), image(visibility), member) is seen  # type: ignore[arg-type]  # a caller is enough
    assert may_see(Caller("mine"), image(visibility), None)  # type: ignore[arg-type]
    assert may_see(Caller("", is_admin=True), image(visibility), None)  # type: ignore[arg-type]


def test_owners_change_and_strangers_do_not() -> None:
    assert owns(Caller("mine"), image(PRIVATE))  # type: ignore[arg-type]
    assert not owns(Caller(""), image(PRIVATE))  # type: ignore[arg-type]
    check_change(Caller("mine"), image(PRIVATE))  # type: ignore[arg-type]
    for caller in (Caller("mine", writes=False), Caller("other")):
        with pytest.raises(CallRefused):
            check_change(caller, image(PUBLIC))  # type: ignore[arg-type]


def test_only_the_administrator_makes_things_public() -> None:
    check_visibility(Caller("mine"), COMMUNITY)  # type: ignore[arg-type]
    check_visibility(Caller("", is_admin=True), PUBLIC)  # type: ignore[arg-type]
    with pytest.raises(CallRefused):
        check_visibility(Caller("mine"), PUBLIC)  # type: ignore[arg-type]
