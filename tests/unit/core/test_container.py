"""What is kept of a container comes back as it was."""

from objstore.core.container import NOTHING, Container, decode_container, encode_container


def test_a_container_comes_back_as_it_was_kept() -> None:
    container = Container(read=".r:*", write="a:b", metadata={"colour": "blau", "temp-url-key": "k"})
    assert decode_container(encode_container(container)) == container


def test_nothing_kept_is_a_container_without_lists_or_metadata() -> None:
    assert decode_container(b"") is NOTHING
    assert not NOTHING.metadata
