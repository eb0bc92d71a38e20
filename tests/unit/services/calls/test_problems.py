"""Refusals have their statuses."""

from objstore.services.calls.problems import bad_request, conflict, forbidden, not_found, title, too_large, unauthorized


def test_each_refusal_has_its_status_and_words() -> None:
    found = [problem.status for problem in (bad_request("a"), unauthorized(), forbidden(), not_found(), conflict("b"), too_large("c"))]
    assert found == [400, 401, 403, 404, 409, 413]
    assert title(404) == "Not Found"
    assert bad_request("why").message == "why"
