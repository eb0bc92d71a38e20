"""Refusals have Neutron's form."""

from objstore.services.network import problems


def test_refusals_name_what_is_wrong() -> None:
    assert problems.over_quota("port").document == {
        "NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: ['port'].", "detail": ""}
    }
    assert problems.refusal(404, "gone")["NeutronError"]["type"] == "HTTPNotFound"
    assert problems.refusal(503, "later")["NeutronError"]["type"] == "HTTPInternalServerError"
    assert (problems.invalid("x").kind, problems.bad("x").kind, problems.denied().status) == ("InvalidInput", "HTTPBadRequest", 403)


def test_messages_do_not_repeat_long_values() -> None:
    assert len(problems.shown("a" * 10_000)) < 200
    assert problems.shown([1]) == "[1]"
