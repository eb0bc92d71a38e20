"""Documents written and read; the reader is hard to hurt."""

from xml.etree import ElementTree

import pytest

from objstore.errors import MalformedXml
from objstore.fronts.s3 import xml
from objstore.fronts.s3.xml import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_ELEMENTS_OF_STRANGERS,
    Element,
    document,
    element,
    encoded_names,
    escape,
    flag,
    name_encoder,
    parse,
    url_encode,
)


def test_text_is_escaped() -> None:
    assert escape("plain/ü日") == "plain/ü日"
    assert escape("<&>\"'") == "&lt;&amp;&gt;&quot;&apos;"
    assert escape("a\x01\r\n\x7f\ufffe") == "a&#x1;&#xd;&#xa;&#x7f;&#xfffe;"
    text = "<a> & \"b\" 'c'\r\n\t ü"
    assert ElementTree.fromstring(document("R", element("E", text)))[0].text == text
    assert element("N", 5) == "<N>5</N>"
    assert (flag(True), flag(0)) == ("true", "false")


def test_names_can_be_percent_encoded() -> None:
    assert url_encode("a b+c/ü~*%") == "a%20b%2Bc/%C3%BC~*%25"
    assert name_encoder("url") is url_encode
    assert name_encoder(None) is escape


def test_many_names_are_encoded_as_each_one_is() -> None:
    for names in (["a", "b/c"], ["a", "<"], ["a b"], ["\x01", "x"], []):
        for encode in (escape, url_encode):
            assert list(encoded_names(names, encode)) == [encode(name) for name in names]


def test_documents_are_read_with_or_without_namespace() -> None:
    for text in (
        "<A><B> x </B><B>y</B><C/></A>",
        '<?xml version="1.0" encoding="UTF-8"?>\n<A xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><B> x </B><B>y</B><C/></A>',
        '<n:A xmlns:n="urn:other"><n:B> x </n:B><n:B>y</n:B><n:C a="1"/></n:A>',
    ):
        root = parse(text.encode(), "A")
        assert [child.text for child in root.all("B")] == [" x ", "y"]
        assert (root.value("B"), root.value("C"), root.value("D"), root.find("D")) == ("x", "", "", None)
        assert isinstance(root.find("C"), Element)
    assert parse("<A>ü</A>".encode("utf-16"), "A").text == "ü"


LAUGHS = (
    '<!DOCTYPE A [<!ENTITY a "ha">' + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12)) + "]><A>&m;</A>"
)


class Work:
    """Counts what a document made the reader do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.elements = 0
        self.characters = 0
        work = self

        class Counted(Element):
            def __init__(self, name: str) -> None:
                work.elements += 1
                self.kept = ""
                super().__init__(name)

            @property  # type: ignore[override] # a slot in the class under test
            def text(self) -> str:
                return self.kept

            @text.setter
            def text(self, text: str) -> None:
                work.characters += len(text)
                self.kept = text

        monkeypatch.setattr(xml, "Element", Counted)


DEEP = b"<A>" * 100_000
WIDE = b"<A>" + b"<B/>" * (MAX_ELEMENTS + 1000) + b"</A>"


@pytest.mark.parametrize(
    ("data", "elements"),
    [
        (b"", 0), (b"<A>", 1), (b"A", 0), (b"<A></B>", 1), (b"<B/>", 1), (b"<A/><A/>", 1), (b"\xff\xfe", 0), (b"<A>\x00</A>", 1),
        (b"<A>\xff</A>", 1), (b"<A>&unknown;</A>", 1),
        (b"<A>" * (MAX_DEPTH + 1) + b"</A>" * (MAX_DEPTH + 1), MAX_DEPTH),
        (DEEP, MAX_DEPTH),
        (WIDE, MAX_ELEMENTS_OF_STRANGERS),
        (b"<!DOCTYPE A><A/>", 0),
        (b'<!DOCTYPE A SYSTEM "file:///etc/passwd"><A/>', 0),
        (b'<!DOCTYPE A [<!ENTITY x SYSTEM "file:///etc/passwd">]><A>&x;</A>', 0),
        (LAUGHS.encode(), 0),
        (LAUGHS.encode("utf-16"), 0),
        (b'<?xml version="1.0" encoding="nonsense"?><A/>', 0),
        (b'<?xml version="1.0" encoding="utf-7"?><A/>', 0),
    ],
    ids=range(20),
)  # fmt: skip
def test_everything_else_is_malformed_and_is_read_no_further(data: bytes, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    with pytest.raises(MalformedXml):
        parse(data, "A")
    assert work.elements <= elements, "the reader goes on behind what it must refuse"
    assert work.characters == 0, "no entity is expanded, no text collected"


def test_depth_is_allowed_up_to_its_bound() -> None:
    parse(b"<A>" * MAX_DEPTH + b"</A>" * MAX_DEPTH, "A")


def test_a_text_that_children_cut_into_pieces_is_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch)
    root = parse(b"<A>" + b"y" * 10_000 + b"x<B/>" * 1000 + b"</A>", "A")
    assert root.text == "y" * 10_000 + "x" * 1000
    assert (work.elements, work.characters) == (1001, 11_000)


def test_who_may_send_long_documents_is_known_before() -> None:
    document = b"<A>" + b"<B/>" * MAX_ELEMENTS_OF_STRANGERS + b"</A>"
    with pytest.raises(MalformedXml):
        parse(document, "A")
    assert len(parse(document, "A", most=MAX_ELEMENTS).children) == MAX_ELEMENTS_OF_STRANGERS
