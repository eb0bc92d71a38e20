"""Cross-origin rules."""

import pytest

from objstore.core.cors import CorsConfig, CorsRule, allowed, decode, encode, matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("*", "http://a", True),
        ("http://*.a.com", "http://x.a.com", True),
        ("http://*.a.com", "http://a.com", False),
        ("start*end", "startend", True),
        ("aba*aba", "aba", False),
        ("http://a", "http://a", True),
        ("http://a", "http://A", False),
    ],
)
def test_a_pattern_has_one_star(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


def test_the_first_rule_that_allows_all_of_it_decides() -> None:
    config = CorsConfig(
        1,
        (
            CorsRule(("http://a",), ("GET",), ("X-One",), id="first"),
            CorsRule(("http://a", "http://b*"), ("GET", "PUT"), ("x-*",), id="second"),
            CorsRule(("*",), ("GET",), id="third"),
        ),
    )
    assert decode(encode(config)) == config

    def rule(origin: str, method: str, *headers: str) -> str | None:
        found = allowed(config, origin, method, headers)
        return None if found is None else found.rule.id

    assert rule("http://a", "GET", "x-one") == "first"
    assert rule("http://a", "GET", "X-Two") == "second"
    assert rule("http://bb", "PUT") == "second"
    assert rule("http://c", "GET") == "third"
    assert rule("http://c", "GET", "x-one") is None
    assert rule("http://c", "PUT") is None
    everybody = allowed(config, "http://c", "GET")
    assert everybody is not None
    assert everybody.origin == "*"
    one = allowed(config, "http://bx", "GET")
    assert one is not None
    assert one.origin == "http://bx"
