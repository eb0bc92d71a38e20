import pytest

from objstore.fronts.s3.facts import S3Facts, TrustedProxies
from objstore.runtime.clock import SystemClock


def test_facts_are_those_of_the_connection_and_the_request() -> None:
    scope = {"type": "http", "client": ("10.1.2.3", 99), "scheme": "https"}
    headers = {"x-forwarded-for": "1.2.3.4", "user-agent": "cli", "x-amz-acl": "private"}
    facts = S3Facts(scope, headers, {"prefix": "p"}, SystemClock())
    assert (facts.source_ip, facts.secure, facts.header("user-agent"), facts.parameter("prefix")) == ("10.1.2.3", True, "cli", "p")
    assert facts.now_us > 0
    form = facts.of_form({"x-amz-tagging": "a=b"}, "AWS")
    assert (form.header("user-agent"), form.header("x-amz-tagging"), form.header("x-amz-acl")) == ("cli", "a=b", None)
    assert form.source_ip == "10.1.2.3"
    assert (facts.form_signature, form.form_signature) == ("", "AWS")


def test_a_connection_without_an_address_has_none() -> None:
    facts = S3Facts({"type": "http", "client": None}, {}, {}, SystemClock())
    assert (facts.source_ip, facts.secure) == ("", False)


PROXIES = TrustedProxies(["10.0.0.0/8", "::1/128"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("1.2.3.4", "5.6.7.8", "1.2.3.4"),  # a stranger's word
        ("10.0.0.1", "5.6.7.8", "5.6.7.8"),
        ("10.0.0.1", "9.9.9.9, 5.6.7.8, 10.0.0.2", "5.6.7.8"),  # the first was the client's own word
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "", ""),
        ("10.0.0.1", "garbage", "garbage"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("", "5.6.7.8", ""),
    ],
)
def test_only_trusted_proxies_say_where_a_request_comes_from(peer: str, forwarded: str, source: str) -> None:
    scope = {"type": "http", "client": (peer, 1), "scheme": "http"}
    facts = S3Facts(scope, {"x-forwarded-for": forwarded, "x-forwarded-proto": "https"}, {}, SystemClock(), PROXIES)
    assert facts.source_ip == source
    assert facts.secure is PROXIES.trusts(peer)
    assert facts.of_form({}, "").source_ip == source


def test_a_range_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        TrustedProxies(["nowhere"])
