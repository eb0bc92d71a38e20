"""Who calls: whose rights nothing narrows, and what a request adds to a caller."""

import pytest

from objstore.objects.caller import NO_FACTS, Principal, RequestFacts


class Facts(RequestFacts):
    """A request over TLS."""

    __slots__ = ()

    @property
    def secure(self) -> bool:
        return True


def test_a_request_that_says_nothing_says_nothing() -> None:
    assert (NO_FACTS.source_ip, NO_FACTS.secure, NO_FACTS.now_us) == ("", False, 0)
    assert (NO_FACTS.header("range"), NO_FACTS.parameter("versionId")) == (None, None)


@pytest.mark.parametrize(
    "narrowed",
    [{"policies": ()}, {"session_policies": ()}, {"boundary": ()}, {"anonymous": True}, {"account": ""}],
    ids=lambda more: next(iter(more)),
)
def test_a_caller_is_plain_until_anything_narrows_its_rights(narrowed: dict[str, object]) -> None:
    assert Principal(account="a").plain
    assert not Principal(**{"account": "a", **narrowed}).plain  # type: ignore[arg-type] # the cases are of many types


def test_the_caller_of_a_request_is_the_same_caller() -> None:
    facts = Facts()
    who = Principal(account="a", user="u", policies=(), admin=True)
    asking = who.of_request(facts)
    assert asking.request is facts
    assert who.request is NO_FACTS, "a cached caller serves many requests"
    assert asking == who
    assert (asking.plain, asking.admin, asking.policies) == (False, True, ())


def test_a_request_is_not_shown_where_callers_are_logged() -> None:
    assert "request" not in repr(Principal(account="a").of_request(Facts()))
