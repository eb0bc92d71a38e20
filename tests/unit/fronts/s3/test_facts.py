from objstore.fronts.s3.facts import S3Facts
from objstore.runtime.clock import SystemClock


def test_facts_are_those_of_the_connection_and_the_request() -> None:
    scope = {"type": "http", "client": ("10.1.2.3", 99), "scheme": "https"}
    headers = {"x-forwarded-for": "1.2.3.4", "user-agent": "cli", "x-amz-acl": "private"}
    facts = S3Facts(scope, headers, {"prefix": "p"}, SystemClock())
    assert (facts.source_ip, facts.secure, facts.header("user-agent"), facts.parameter("prefix")) == ("10.1.2.3", True, "cli", "p")
    assert facts.now_us > 0
    form = facts.of_form({"x-amz-tagging": "a=b"})
    assert (form.header("user-agent"), form.header("x-amz-tagging"), form.header("x-amz-acl")) == ("cli", "a=b", None)
    assert form.source_ip == "10.1.2.3"


def test_a_connection_without_an_address_has_none() -> None:
    facts = S3Facts({"type": "http", "client": None}, {}, {}, SystemClock())
    assert (facts.source_ip, facts.secure) == ("", False)
