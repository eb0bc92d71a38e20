"""The built-in policies."""

from objstore.core.policy import Kind, parse_policy
from objstore.identity.managed import BUILT_IN, EVERYTHING, NOTHING


def test_every_built_in_policy_is_a_policy_under_amazons_name() -> None:
    for policy in BUILT_IN.values():
        assert parse_policy(policy.document.encode(), Kind.IDENTITY).statements
        assert policy.arn == f"arn:aws:iam::aws:policy/{policy.name}"
    for text in (EVERYTHING, NOTHING):
        assert len(parse_policy(text.encode(), Kind.IDENTITY).statements) == 1
