"""Refusals in OpenStack's form."""

import msgspec

from objstore.fronts.identity.errors import document, duplicate, forbidden, invalid, not_found, unauthorized


def test_every_refusal_has_code_message_and_title() -> None:
    for problem, title in (
        (unauthorized(), "Unauthorized"),
        (forbidden("identity:get_user"), "Forbidden"),
        (not_found("user", "x" * 1000), "Not Found"),
        (duplicate("user", "joe"), "Conflict"),
        (invalid("name", "it is bad"), "Bad Request"),
    ):
        error = msgspec.json.decode(document(problem.status, problem.message))["error"]
        assert error == {"code": problem.status, "message": problem.message, "title": title}
        assert len(problem.message) < 500
