"""Filters that are regular expressions."""

import time

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.compute.patterns import MAX_STEPS, Search, parse


def finds(value: str, *texts: str) -> list[bool]:
    search = Search("name", parse("name", value))
    return [search.finds(text) for text in texts]


def test_plain_expressions_of_clients_are_understood() -> None:
    assert finds("^web-[0-9]+$", "web-12", "WEB-1", "web-", "a web-1") == [True, True, False, False]
    assert finds("^(red|green)$", "red", "green", "blue") == [True, True, False]
    assert finds("a.*?b.*c", "a-b-c", "a-c-b") == [True, False]
    assert finds("10\\.0\\.0\\.1(\\?)?", "10.0.0.1", "10.0.0x1") == [True, False]
    assert finds("x{2}y?", "axxb", "axb") == [True, False]


@pytest.mark.parametrize(
    "value",
    [
        "a?" * 30 + "a" * 30, "(a|a)" * 20 + "b", "(a*)*b", "(a+)+", "a*a*a*b", "(a|b)(c|d)(e|f)", "(a)\\1", "(?=a)", "(?:a*)*", "(((", "[a", "a**", "a" * 256,
        "a{99999999999999999999}",
    ],
)  # fmt: skip
def test_what_could_run_for_ever_is_no_filter(value: str) -> None:
    with pytest.raises(CallRefused) as refused:
        parse("name", value)
    assert refused.value.status == 400


def test_a_request_has_a_share_of_work_and_no_more() -> None:
    text = "a" * 255
    began = time.process_time()
    with pytest.raises(CallRefused, match="too much work"):
        finds(".*.*b", *([text] * 10_000))
    assert time.process_time() - began < 10
    plain = Search("name", parse("name", "b"))
    assert not any(plain.finds(text) for _ in range(10_000))


def test_an_expression_that_is_bound_to_the_beginning_is_counted_once() -> None:
    assert parse("name", "^a*").steps("a" * 9) == 10
    assert parse("name", "a*").steps("a" * 9) == 100
    assert parse("name", "a|b").steps("a" * 9) == 20
    assert parse("name", "^(a|b)").steps("a" * 9) == 40
    assert parse("name", "^.*a.*b").steps("a" * 255) * 1000 < MAX_STEPS
