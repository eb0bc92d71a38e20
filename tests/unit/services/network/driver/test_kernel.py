"""What programs complain about is told with the line that it is about.  The rest of this module is exercised in namespaces (tests/conformance)."""

from objstore.services.network.driver.kernel import failures

LINES = ["link add name a type bridge", "addr add 10.0.0.1/24 dev b", "route replace 10.0.0.0/8 via 1.1.1.1"]


def test_complaints_are_told_with_their_lines() -> None:
    said = 'Cannot find device "b"\nCommand failed -:2\nError: Nexthop has invalid gateway.\nCommand failed -:3\n'
    assert failures(LINES, said) == [
        'addr add 10.0.0.1/24 dev b: Cannot find device "b"',
        "route replace 10.0.0.0/8 via 1.1.1.1: Error: Nexthop has invalid gateway.",
    ]


def test_complaint_without_a_line_and_silence_are_failures_too() -> None:
    assert failures(LINES, "RTNETLINK answers: Operation not permitted\n") == ["RTNETLINK answers: Operation not permitted"]
    assert failures(LINES, "") == ["failed"]
    assert failures(LINES, "Command failed -:9\n") == ["?: failed"]
