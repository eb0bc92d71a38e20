"""Filters of lists that are regular expressions: only such whose work can be told beforehand, and only so much of it.

Python's matcher goes back over every choice that an expression leaves it, holding the interpreter meanwhile: `a?a?a?aaa` over three letters is
eight ways, over sixty more than anybody lives to see.  So the choices are counted: each repetition is one for every character, groups multiply
their alternatives.  What is left of a request's share is counted down from text to text.  Pure.
"""

import re
from dataclasses import dataclass

from objstore.services.calls.problems import bad_request

MAX_PATTERN_CHARS = 255
MAX_REPETITIONS = 2
MAX_GROUPS = 2
MAX_STEPS = 100_000_000  # of one filter of one request: about a second
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_LAZY = re.compile(r"([*+?}])[?+]")  # how a repetition goes about it, which is not another one
_REPETITION = re.compile(r"[*+?{]")
_UNBOUNDED = re.compile(r"\)[*+{]|\(\?")  # a group that is repeated; what is no group at all
_BACK = re.compile(r"\\[1-9]")


@dataclass(frozen=True)
class Pattern:
    """An expression, and how its work grows with a text: (characters + 1) ** `exponent` * `factor`."""

    expression: re.Pattern[str]
    exponent: int
    factor: int

    def steps(self, text: str) -> int:
        """How many it takes at most to see that a text does not fit."""
        return int((len(text) + 1) ** self.exponent) * self.factor


def parse(name: str, value: str) -> Pattern:
    """The filter `name` as it was asked for.  Raises 400."""
    if len(value) > MAX_PATTERN_CHARS:
        raise bad_request(f"The filter {name} has {MAX_PATTERN_CHARS} characters at most.")
    bare = _LAZY.sub(r"\1", _ESCAPED.sub("a", value))
    repetitions, groups, bars = len(_REPETITION.findall(bare)), bare.count("("), bare.count("|")
    if repetitions > MAX_REPETITIONS or groups > MAX_GROUPS or _UNBOUNDED.search(bare) or _BACK.search(value):
        raise bad_request(
            f"The filter {name} is a regular expression with {MAX_REPETITIONS} repetitions and {MAX_GROUPS} groups at most; no group is repeated."
        )
    try:
        expression = re.compile(value, re.IGNORECASE)
    except (re.error, RecursionError, OverflowError):
        raise bad_request(f"Invalid input for query parameters {name}. It is not a 'regex'") from None
    anchored = bare.startswith("^") and not bars
    return Pattern(expression, max(1, repetitions + (0 if anchored else 1)), (bars + 1) ** (groups + 1))


class Search:
    """One filter of one request."""

    def __init__(self, name: str, pattern: Pattern) -> None:
        self._name = name
        self._pattern = pattern
        self._left = MAX_STEPS

    def finds(self, text: str) -> bool:
        """Whether a text fits.  Raises 400 when the request's share of work is used up."""
        self._left -= self._pattern.steps(text)
        if self._left < 0:
            raise bad_request(f"The filter {self._name} is too much work over so many servers: use fewer repetitions, or begin it with ^.")
        return self._pattern.expression.search(text) is not None
