"""Secrets do not show."""

from objstore.identity.model import Keyholder, SwiftUser, User
from objstore.objects.api import Principal


def test_secrets_are_not_in_what_is_printed() -> None:
    assert "hush" not in repr(User("a", "n", "k", "hush"))
    assert "hush" not in repr(SwiftUser("a", "u", "hush"))
    assert "hush" not in repr(Keyholder("hush", Principal(account="a")))
