"""Swift's own authentication: keys, tokens, and what their users may do."""

import dataclasses

import pytest

from objstore.errors import InvalidArgument
from objstore.identity.logic import Credentials
from objstore.identity.model import SwiftUser, User
from objstore.identity.swift_tokens import LIFE_S, PREFIX, SwiftAuth
from objstore.runtime.rng import SystemRng

KEY = bytes(range(32))
TESTER = SwiftUser("test", "tester", "testing", (".admin",))
MEMBER = SwiftUser("test", "tester3", "testing3")
RESELLER = SwiftUser("admin", "admin", "admin", (".reseller_admin",))
S3_USER = User("acc", "sue", "AKSUE", "sues-secret")


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_700_000_000_000_000

    def wall_us(self) -> int:
        return self.now_us

    def monotonic(self) -> float:
        return self.now_us / 1e6


def auth(*users: SwiftUser, key: bytes = KEY, clock: Clock | None = None) -> SwiftAuth:
    return SwiftAuth(users, (S3_USER,), Credentials((S3_USER,)), key, SystemRng(), clock or Clock())  # type: ignore[arg-type]


def test_a_token_stands_for_who_logged_in_on_every_proxy_of_the_cluster() -> None:
    found = auth(TESTER).log_in("test:tester", "testing")
    assert found is not None
    token, who = found
    assert token.startswith(PREFIX)
    assert auth(TESTER).who(token) == who
    assert (who.account, who.user, who.plain, who.admin) == ("test", "tester", True, False)
    assert auth(TESTER, key=bytes(32)).who(token) is None


@pytest.mark.parametrize(
    ("user", "key"), [("test:tester", "wrong"), ("test:nobody", "testing"), ("test", "testing"), ("", ""), ("test:tester", "")]
)
def test_who_does_not_know_the_key_gets_no_token(user: str, key: str) -> None:
    assert auth(TESTER).log_in(user, key) is None


def test_a_token_ends_with_its_time_and_with_its_user() -> None:
    clock = Clock()
    both = auth(TESTER, MEMBER, clock=clock)
    found = both.log_in("test:tester3", "testing3")
    assert found is not None
    assert auth(TESTER).who(found[0]) is None, "the user was taken away"
    assert both.who(found[0]) is not None
    clock.now_us += LIFE_S * 1_000_000
    assert both.who(found[0]) is None


def test_changed_tokens_and_other_text_open_to_nothing() -> None:
    both = auth(TESTER)
    found = both.log_in("test:tester", "testing")
    assert found is not None
    token = found[0]
    for position in range(len(PREFIX), len(token), 7):
        other = "A" if token[position] != "A" else "B"
        assert both.who(token[:position] + other + token[position + 1 :]) is None
    for text in ("", PREFIX, PREFIX + "AAAA", "x" * 5000, PREFIX + "\xff", PREFIX + "=" * 40):
        assert both.who(text) is None


def test_groups_say_what_a_user_may() -> None:
    everybody = auth(TESTER, MEMBER, RESELLER)
    member, reseller = everybody.log_in("test:tester3", "testing3"), everybody.log_in("admin:admin", "admin")
    assert member is not None
    assert reseller is not None
    assert not member[1].plain
    assert reseller[1].admin


def test_users_with_s3_keys_log_in_with_the_secret() -> None:
    found = auth().log_in("acc:sue", "sues-secret")
    assert found is not None
    assert found[1].account == "acc"


def test_one_name_for_two_users_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        auth(TESTER, TESTER)
    with pytest.raises(InvalidArgument):
        auth(SwiftUser("a", "b", ""))


def test_what_iam_denies_a_user_of_s3_is_denied_to_its_tokens_too() -> None:
    """A denial that was put on the user after its log-in, or after the proxy's start, must not be passed by speaking Swift."""
    credentials = Credentials((S3_USER,))
    made = SwiftAuth((), (S3_USER,), credentials, KEY, SystemRng(), Clock())  # type: ignore[arg-type]
    found = made.log_in("acc:sue", "sues-secret")
    assert found is not None
    token, who = found
    assert who.policies is None
    holder = credentials._keyholders["AKSUE"]
    credentials._keyholders["AKSUE"] = dataclasses.replace(holder, principal=dataclasses.replace(holder.principal, policies=()))
    now = made.who(token)
    assert now is not None
    assert now.policies == ()
    del credentials._keyholders["AKSUE"]
    assert made.who(token) is None
    assert made.log_in("acc:sue", "sues-secret") is None
