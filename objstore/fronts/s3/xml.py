"""S3's XML: written with escaped templates, read with expat that refuses document types, entities and depth.

Writing a listing of a thousand keys through a tree of elements costs ten times what the rest of the request does, so
answers are strings.  Reading happens before anybody's word is worth anything but a signature: a document type is refused
before its first entity, and size and depth are bounded.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote
from xml.parsers import expat

from objstore.errors import MalformedXml

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
MAX_DOCUMENT_BYTES = 1 << 20
MAX_COMPLETE_BYTES = 4 << 20  # 10,000 parts with a checksum each
MAX_DEPTH = 20
MAX_ELEMENTS = 60_000  # 10,000 parts with number, etag and a checksum each make 40,001; a tenth of a second
MAX_ELEMENTS_OF_STRANGERS = (
    8000  # where rights are known only after reading: 1,000 keys to delete, with all that may stand with them, make 6,002
)

_SPECIAL = re.compile("[&<>\"'\x00-\x1f\x7f\x80-\x9f\ufffe\uffff]")
_URL_PLAIN = re.compile(r"[A-Za-z0-9/\-_.~*]*")
_NAMES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


def _reference(match: re.Match[str]) -> str:
    found = match.group()
    return _NAMES.get(found) or f"&#x{ord(found):x};"


def escape(text: str) -> str:
    """Text as element content; control characters become numeric references, as Amazon writes them."""
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) is not None else text


def url_encode(text: str) -> str:
    """A name under encoding-type=url."""
    return quote(text, safe="/-_.~*")


def name_encoder(encoding_type: str | None) -> Callable[[str], str]:
    """How names are written: percent-encoded under encoding-type=url, else escaped."""
    return url_encode if encoding_type == "url" else escape


def encoded_names(names: Sequence[str], encode: Callable[[str], str]) -> Iterable[str]:
    """All names as `encode` writes them; one look at all of them often shows that they stay as they are."""
    joined = "".join(names)
    plain = _URL_PLAIN.fullmatch(joined) is not None if encode is url_encode else _SPECIAL.search(joined) is None
    return names if plain else map(encode, names)


def document(root: str, content: str | Iterable[str]) -> bytes:
    """A whole answer; of a long one the pieces, which are joined once."""
    pieces = (content,) if isinstance(content, str) else content
    return "".join((f'{DECLARATION}<{root} xmlns="{NAMESPACE}">', *pieces, f"</{root}>")).encode()


def element(name: str, text: str | int) -> str:
    """One element with escaped text."""
    return f"<{name}>{escape(text) if isinstance(text, str) else text}</{name}>"


def flag(value: object) -> str:
    """A boolean as S3 writes it."""
    return "true" if value else "false"


class Element:
    """A read element: its name without namespace, its children, its text."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.children: list[Element] = []
        self.text = ""

    def find(self, name: str) -> "Element | None":
        """The first child of that name."""
        for child in self.children:
            if child.name == name:
                return child
        return None

    def all(self, name: str) -> "list[Element]":
        """All children of that name."""
        return [child for child in self.children if child.name == name]

    def value(self, name: str) -> str:
        """The stripped text of the first child of that name; empty when there is none."""
        child = self.find(name)
        return "" if child is None else child.text.strip()


class _Reader:
    def __init__(self, most: int) -> None:
        self._most = most
        self.root: Element | None = None
        self._open: list[tuple[Element, list[str]]] = []  # from the root down, each with the pieces of its text
        self._count = 0

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= MAX_DEPTH or self._count > self._most:
            raise MalformedXml
        found = Element(name.rpartition(" ")[2])
        if self._open:
            self._open[-1][0].children.append(found)
        else:
            self.root = found
        self._open.append((found, []))

    def end(self, _name: str) -> None:
        found, pieces = self._open.pop()
        # Joined once: a long text cut up by many children, put together piece by piece, is copied as often as there are children.
        found.text = "".join(pieces)

    def text(self, data: str) -> None:
        self._open[-1][1].append(data)


def _refuse(*_: object) -> int:
    raise MalformedXml


def parse(data: bytes, root: str, *, most: int = MAX_ELEMENTS_OF_STRANGERS) -> Element:
    """Read a document whose root element is `root`, of at most so many elements.  Raises MalformedXml on anything else."""
    reader = _Reader(most)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)  # noqa: FBT003 expat takes no keywords
    except (expat.ExpatError, ValueError, LookupError) as failure:
        raise MalformedXml from failure
    if reader.root is None or reader.root.name != root:
        raise MalformedXml
    return reader.root
