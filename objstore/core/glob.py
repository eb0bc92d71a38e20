"""Patterns with `*` (any run of characters) and `?` (any one), as policies use them, with variables such as `${aws:username}`.

A pattern is cut at its stars into segments of fixed length, each sought leftmost: so matching takes time proportional to
pattern times text at worst, in C, and there is nothing to backtrack; `effort` tells which patterns may take that long.  What a
variable stands for is taken literally: a user named `*` gains nothing by it.
"""

import re
from collections.abc import Callable, Sequence
from enum import Enum

MAX_VARIABLE = 512  # characters between `${` and `}`
VARIABLE_EFFORT = 128  # what a variable counts for where a segment has to be tried at each place

Lookup = Callable[[str], Sequence[str] | None]  # values of a condition key by its lower-case name


class _Wild(Enum):
    STAR = "*"
    ANY = "?"


class Variable:
    """`${key}` or `${key, 'default'}`."""

    __slots__ = ("default", "key")

    def __init__(self, key: str, default: str | None) -> None:
        self.key = key
        self.default = default

    def value(self, lookup: Lookup) -> str | None:
        """What it stands for; None when the request does not have it, nor it a default."""
        found = lookup(self.key)
        return found[0] if found else self.default


Token = str | _Wild | Variable
_STAR, _ANY = _Wild.STAR, _Wild.ANY
_SPLIT = re.compile(r"(\$\{[^{}]*\}|\*|\?)")
_DEFAULT = re.compile(r"\$\{\s*([^,\s]+)\s*(?:,\s*'([^']*)'\s*)?\}")
_ESCAPES = {"${*}": "*", "${?}": "?", "${$}": "$"}


def tokens_of(text: str, *, variables: bool, wild: bool) -> tuple[Token, ...]:
    """A pattern's tokens; without `variables` `${` means itself, without `wild` stars do.  Raises ValueError for a bad variable."""
    if "*" not in text and "?" not in text and "${" not in text:
        return (text,) if text else ()
    tokens: list[Token] = []
    for piece in _SPLIT.split(text):
        if not piece:
            continue
        if piece in ("*", "?"):
            token: Token = piece if not wild else _STAR if piece == "*" else _ANY
        elif piece.startswith("${") and variables:
            escaped = _ESCAPES.get(piece)
            token = escaped if escaped is not None else _variable(piece)
        elif variables and "${" in piece:
            raise ValueError(f"a variable is not closed: {piece[:80]}")
        else:
            token = piece
        tokens.append(token)
    return tuple(tokens)


def _variable(piece: str) -> Variable:
    match = _DEFAULT.fullmatch(piece)
    if match is None or len(piece) > MAX_VARIABLE + 3:
        raise ValueError(f"not a variable: {piece[:80]}")
    return Variable(match.group(1).lower(), match.group(2))


def expand(tokens: Sequence[Token], lookup: Lookup) -> tuple[str | _Wild, ...] | None:
    """Tokens with their variables filled in; None when one has no value."""
    filled: list[str | _Wild] = []
    for token in tokens:
        if isinstance(token, Variable):
            value = token.value(lookup)
            if value is None:
                return None
            filled.append(value)
        else:
            filled.append(token)
    return tuple(filled)


class _Matcher:
    """A pattern without variables."""

    __slots__ = ("_exact", "_first", "_last", "_least", "_middle", "_prefix")

    def __init__(self, tokens: Sequence[str | _Wild]) -> None:
        segments: list[list[str | _Wild]] = [[]]
        for token in tokens:
            if token is _STAR:
                segments.append([])
            else:
                segments[-1].append(token)
        made = [_Segment(segment) for segment in segments]
        self._least = sum(segment.length for segment in made)
        self._exact = made[0] if len(made) == 1 else None
        self._first, self._last = made[0], made[-1]
        self._middle = tuple(segment for segment in made[1:-1] if segment.length)
        # Most patterns end with their only star.
        self._prefix = self._first.text if len(made) == 2 and not self._last.length else None

    def matches(self, text: str) -> bool:
        if self._prefix is not None:
            return text.startswith(self._prefix)
        length = len(text)
        if length < self._least:
            return False
        if self._exact is not None:
            return length == self._least and self._exact.stands_at(text, 0)
        end = length - self._last.length
        if not (self._first.stands_at(text, 0) and self._last.stands_at(text, end)):
            return False
        position = self._first.length
        for segment in self._middle:
            found = segment.find(text, position, end)
            if found < 0:
                return False
            position = found + segment.length
        return True


class _Segment:
    """Characters and question marks between two stars: of fixed length.  Question marks at its ends only say how far to look."""

    __slots__ = ("_after", "_before", "_pattern", "_text", "length")

    def __init__(self, tokens: Sequence[str | _Wild]) -> None:
        self.length = sum(len(token) if isinstance(token, str) else 1 for token in tokens)
        before, core, self._after = _trimmed(tokens)
        self._before = before
        self._text = "".join([token for token in core if isinstance(token, str)])
        self._pattern: re.Pattern[str] | None = None
        if _ANY in core:
            self._pattern = re.compile("".join([re.escape(t) if isinstance(t, str) else "." for t in core]), re.DOTALL)

    @property
    def text(self) -> str | None:
        """What stands there, where no question marks do."""
        return self._text if self._pattern is None and not self._before and not self._after else None

    def stands_at(self, text: str, position: int) -> bool:
        if self._pattern is not None:
            return self._pattern.match(text, position + self._before) is not None
        return text.startswith(self._text, position + self._before)

    def find(self, text: str, position: int, end: int) -> int:
        position, end = position + self._before, end - self._after
        if position > end:
            return -1
        if self._pattern is None:
            found = text.find(self._text, position, end)
        else:
            match = self._pattern.search(text, position, end)
            found = -1 if match is None else match.start()
        return found - self._before if found >= 0 else -1


def _trimmed(tokens: Sequence[Token]) -> tuple[int, Sequence[Token], int]:
    """Question marks before, what is between, question marks behind."""
    first, last = 0, len(tokens)
    while first < last and tokens[first] is _ANY:
        first += 1
    while last > first and tokens[last - 1] is _ANY:
        last -= 1
    return first, tokens[first:last], len(tokens) - last


def effort(text: str, *, variables: bool = False) -> int:
    """What a pattern may cost for each character that it is held against: the characters of segments with a question mark between
    others, which are sought by trying each place, or made anew for each request where they have a variable.  Raises ValueError."""
    if "?" not in text:
        return 0
    total = 0
    segments: list[list[Token]] = [[]]
    for token in tokens_of(text, variables=variables, wild=True):
        if token is _STAR:
            segments.append([])
        else:
            segments[-1].append(token)
    for number, segment in enumerate(segments):
        core = _trimmed(segment)[1]
        of_variables = VARIABLE_EFFORT * sum(isinstance(token, Variable) for token in core)
        if _ANY in core and (of_variables or 0 < number < len(segments) - 1):
            total += of_variables + sum(len(token) if isinstance(token, str) else 1 for token in core if not isinstance(token, Variable))
    return total


class Glob:
    """A compiled pattern.  With `fold` upper and lower case are one."""

    __slots__ = ("_fold", "_matcher", "_tokens", "text")

    def __init__(self, text: str, *, variables: bool = False, wild: bool = True, fold: bool = False) -> None:
        self.text = text
        self._fold = fold
        self._tokens = tokens_of(text, variables=variables, wild=wild)
        plain = [token for token in self._tokens if not isinstance(token, Variable)]
        # Variables keep their case until they are filled in; their names are folded already.
        self._matcher = _Matcher(self._folded(plain)) if len(plain) == len(self._tokens) else None

    def _folded(self, tokens: Sequence[str | _Wild]) -> Sequence[str | _Wild]:
        return [token.lower() if isinstance(token, str) else token for token in tokens] if self._fold else tokens

    @property
    def fixed(self) -> bool:
        """Whether it stands for one text alone."""
        return all(isinstance(token, str) for token in self._tokens)

    def matches(self, text: str, lookup: Lookup | None = None) -> bool:
        """Whether the whole text fits.  A variable without a value fits nothing."""
        matcher = self._matcher
        if matcher is None:
            filled = expand(self._tokens, lookup or _nothing)
            if filled is None:
                return False
            matcher = _Matcher(self._folded(filled))
        return matcher.matches(text.lower() if self._fold else text)


def _nothing(_key: str) -> None:
    return None
