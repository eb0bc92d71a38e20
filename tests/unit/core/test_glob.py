import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.core.glob import Glob, effort
from tests.support.sought import Sought


def twin(pattern: str, text: str) -> bool:
    """The same by a regular expression."""
    made = "".join([".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern])
    return re.fullmatch(made, text, re.DOTALL) is not None


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_a_pattern_matches_what_its_regular_expression_matches(pattern: str, text: str) -> None:
    assert Glob(pattern).matches(text) == twin(pattern, text)


def test_stars_span_slashes_and_lines_and_dots_are_dots() -> None:
    assert Glob("arn:aws:s3:::b/*").matches("arn:aws:s3:::b/a/b\nc")
    assert not Glob("a.c").matches("abc")
    assert Glob("S3:Get*", fold=True).matches("s3:getobject")
    assert not Glob("S3:Get*").matches("s3:getobject")


def test_without_wild_a_star_is_a_star() -> None:
    assert Glob("a*", wild=False).matches("a*")
    assert not Glob("a*", wild=False).matches("ab")
    assert Glob("a*", wild=False).fixed
    assert not Glob("a*").fixed


def test_variables_stand_for_their_value_literally() -> None:
    values = {"aws:username": ["*"], "aws:userid": ["Al"]}
    home = Glob("home/${aws:username}/*", variables=True)
    assert home.matches("home/*/x", values.get)
    assert not home.matches("home/bob/x", values.get)
    assert not home.matches("home/bob/x")
    assert Glob("${AWS:UserId}", variables=True, fold=True).matches("AL", values.get)
    assert Glob("${aws:none, 'x'}y", variables=True).matches("xy", values.get)
    assert not Glob("${aws:none}y", variables=True).matches("y", values.get)
    assert Glob("${*}${?}${$}", variables=True).matches("*?$")
    assert Glob("${aws:username}").matches("${aws:username}")


@pytest.mark.parametrize("text", ["${", "a${b", "${}", "${a, b}", "${" + "a" * 600 + "}"])
def test_a_bad_variable_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="variable"):
        Glob(text, variables=True)


@pytest.mark.parametrize("pattern", ["*a" * 1000 + "b", "a*" * 1000 + "?b", "*?a" * 300 + "b*", "*" * 20_000 + "b", "?*" * 10_000])
def test_each_segment_of_a_pattern_is_sought_once(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sought = Sought(monkeypatch)
    assert not Glob(pattern).matches("a" * 1100)
    assert sought.times <= pattern.count("*"), "nothing is tried again from another place"


@given(st.lists(st.sampled_from(["*", "?", "??", "a", "ab", "b"]), max_size=7).map("".join), st.text("ab", max_size=12))
def test_question_marks_beside_stars_are_characters_all_the_same(pattern: str, text: str) -> None:
    assert Glob(pattern).matches(text) == twin(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "cost"),
    [
        ("arn:aws:s3:::b/*", 0),
        ("logs/20??-??-??/*", 0),  # looked at in one place
        ("*" + "?" * 1000 + "b*", 0),  # so many characters on, no more
        ("*b" + "?" * 1000 + "*", 0),
        ("*.???", 0),
        ("*a?b*", 3),
        ("*??a?b???*" * 2, 6),
        ("*a??b" * 3, 8),  # the last stands at the end
        ("${aws:username}/?x*", 128 + 3),
        ("x*${aws:username}?${aws:userid}", 257),
        ("*${?}?x*", 3),
    ],
)
def test_what_a_pattern_may_cost_is_known(pattern: str, cost: int) -> None:
    assert effort(pattern, variables=True) == cost


def test_runs_of_question_marks_take_no_time() -> None:
    text = "a" * 2048
    began = time.process_time()
    for number in range(40):
        assert not Glob("*" + "?" * 1000 + f"b{number}*").matches(text)
    assert time.process_time() - began < 0.05


def test_what_is_too_short_for_a_pattern_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    sought = Sought(monkeypatch)
    assert not Glob("*a" * 2000 + "*").matches("a" * 1999)
    assert sought.times == 0
    assert Glob("*a" * 2000 + "*").matches("a" * 2000)
    assert sought.times == 2000
