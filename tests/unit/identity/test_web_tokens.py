"""Web tokens: good ones of every algorithm, and everything that only looks like one."""

import hmac
import json
from typing import Any

import pytest

from objstore.errors import InvalidArgument
from objstore.identity.web_tokens import KeySet, WebTokenRefused, issuer_of
from tests.support.web_tokens import WEAK_KEY, b64, key_set, make_token

NOW = 1_000_000
GOOD = {"iss": "https://issuer/realm", "sub": "me", "aud": "app", "exp": NOW + 60, "iat": NOW, "nbf": NOW}
KEYS = KeySet(key_set())


def check(token: str, keys: KeySet = KEYS, clients: tuple[str, ...] = ("app",)) -> str:
    return keys.verify(token, issuer="issuer/realm", clients=clients, now_s=NOW).sub


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS512", "ES256", "ES384", "ES512"])
def test_tokens_of_every_algorithm_are_good_until_a_bit_changes(algorithm: str) -> None:
    token = make_token(GOOD, algorithm)
    assert check(token) == "me"
    assert issuer_of(token) == "issuer/realm"
    head, body, signature = token.split(".")
    changed = b64(json.dumps({**GOOD, "sub": "you"}).encode())
    for bad in (f"{head}.{changed}.{signature}", f"{head}.{body}.{signature[:-8]}AAAAAAAA", f"{head}.{body}.", f"{head}.{body}"):
        with pytest.raises(WebTokenRefused):
            check(bad)


def test_the_algorithm_is_not_the_tokens_to_choose() -> None:
    body = b64(json.dumps(GOOD).encode())
    for algorithm in ("none", "None", "HS256", "", "RS1"):
        head = b64(json.dumps({"alg": algorithm, "kid": "rsa"}).encode())
        public = key_set().encode()
        for signature in ("", b64(hmac.digest(public, f"{head}.{body}".encode(), "sha256"))):
            with pytest.raises(WebTokenRefused):
                check(f"{head}.{body}.{signature}")
    crit = make_token(GOOD, "RS256", crit=["exp"])
    with pytest.raises(WebTokenRefused):
        check(crit)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://other"},
        {"aud": "other"},
        {"aud": []},
        {"aud": ["other", ""]},
        {"sub": ""},
        {"exp": NOW - 61},
        {"exp": "never"},
        {"exp": None},
        {"nbf": NOW + 120},
        {"iat": NOW + 120},
        {"sub": 5},
    ],
)
def test_claims_must_be_right(change: dict[str, Any]) -> None:
    with pytest.raises(WebTokenRefused) as caught:
        check(make_token({**GOOD, **change}))
    assert caught.value.expired == (change == {"exp": NOW - 61})


def test_one_of_several_audiences_or_the_authorised_party_will_do() -> None:
    assert check(make_token({**GOOD, "aud": ["x", "app"]})) == "me"
    assert check(make_token({**GOOD, "aud": "account", "azp": "app"})) == "me"
    for clients in ((), ("",)):
        with pytest.raises(WebTokenRefused):
            check(make_token({**GOOD, "aud": ""}), clients=clients)


def test_keys_that_are_weak_or_of_another_kind_verify_nothing() -> None:
    with pytest.raises(WebTokenRefused):
        check(make_token(GOOD, "RS256", key=WEAK_KEY, kid="weak"))
    only_ec = KeySet(json.dumps({"keys": [key for key in json.loads(key_set())["keys"] if key["kty"] == "EC"]}))
    with pytest.raises(WebTokenRefused):
        check(make_token(GOOD, "RS256", kid="ES256"), only_ec)
    encryption = KeySet(json.dumps({"keys": [{**key, "use": "enc"} for key in json.loads(key_set())["keys"]]}))
    with pytest.raises(WebTokenRefused):
        check(make_token(GOOD), encryption)
    assert check(make_token(GOOD, kid="")) == "me"  # any key will do


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c", "..", "ä.ä.ä", "A" * 30_000, "[" * 5000 + ".a.b", b64(b"[" * 9000) + "." + b64(b"{") + ".AAAA"]
)
def test_anything_else_is_no_token(token: str) -> None:
    with pytest.raises(WebTokenRefused):
        check(token)
    assert issuer_of(token) == ""


@pytest.mark.parametrize(
    "document", ["", "[]", "{}", '{"keys": 5}', '{"keys": [{"kid": "x"}]}', json.dumps({"keys": [{"kty": "RSA"}] * 51})]
)
def test_anything_else_is_no_key_set(document: str) -> None:
    with pytest.raises(InvalidArgument):
        KeySet(document)
