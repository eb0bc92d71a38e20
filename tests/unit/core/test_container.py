"""What is kept of a container comes back as it was."""

from objstore.core.container import NOTHING, Container, ContainerChange, class_quotas_of, decode_container, encode_container
from objstore.core.quota import QuotaConfig


def test_a_container_comes_back_as_it_was_kept() -> None:
    container = Container(read=".r:*", write="a:b", metadata={"colour": "blau", "temp-url-key": "k"})
    assert decode_container(encode_container(container)) == container


def test_nothing_kept_is_a_container_without_lists_or_metadata() -> None:
    assert decode_container(b"") is NOTHING
    assert not NOTHING.metadata


def test_quotas_of_policies_are_read_by_class() -> None:
    hidden = {"quota-bytes-class:": "5", "quota-count-class:COLD": "2", "quota-bytes-class:COLD": "odd", "rfc-compliant-etags": "true"}
    assert class_quotas_of(hidden) == {"": QuotaConfig(1, 5, None), "COLD": QuotaConfig(1, None, 2)}


def test_a_peer_is_the_owners_to_name_and_its_key_is_not_shown() -> None:
    change = ContainerChange(metadata={"a": "b"}, sync_to="//r/c/a/c", sync_key="hidden-key")
    assert (change.is_owners, change.is_sync, "hidden-key" in repr(change)) == (True, True, False)
    rest = change.without_owners()
    assert (rest.is_owners, rest.is_sync, dict(rest.metadata), bool(rest)) == (False, False, {"a": "b"}, True)
