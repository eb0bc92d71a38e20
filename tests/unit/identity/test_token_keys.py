"""Which keys seal tokens, as they change."""

from objstore.identity.token_keys import BUILT_IN, KEEP_US, MAX_KEYS, KeySet, rotated

DAY_US = 86_400_000_000


def _fresh(number: int) -> tuple[bytes, bytes]:
    return b"a%d" % number, b"b%d" % number


def _states(keys: KeySet) -> dict[int, str]:
    return {key.number: keys.state(key) for key in keys.keys}


def test_the_staged_key_seals_next_and_the_one_before_still_opens() -> None:
    first = rotated(BUILT_IN, DAY_US, _fresh(1))
    assert _states(first) == {0: "secondary", 1: "primary", 2: "staged"}
    second = rotated(first, 2 * DAY_US, _fresh(2))
    assert _states(second) == {0: "secondary", 1: "secondary", 2: "primary", 3: "staged"}
    secrets = {key.number: key.secret for key in second.keys}
    assert secrets == {0: b"", 1: b"a1", 2: b"b1", 3: b"b2"}
    assert [second.age_us(3 * DAY_US), BUILT_IN.age_us(DAY_US)] == [DAY_US, DAY_US]


def test_a_key_goes_when_no_token_of_it_can_live() -> None:
    keys = rotated(rotated(BUILT_IN, DAY_US, _fresh(1)), 2 * DAY_US, _fresh(2))
    assert 0 in _states(rotated(keys, DAY_US + KEEP_US - 1, _fresh(3)))
    assert 0 not in _states(rotated(keys, DAY_US + KEEP_US, _fresh(3)))


def test_revoking_leaves_none_of_the_keys_there_were() -> None:
    keys = rotated(BUILT_IN, DAY_US, _fresh(1))
    after = rotated(keys, 2 * DAY_US, _fresh(2), revoke=True)
    assert not {key.secret for key in after.keys} & {key.secret for key in keys.keys}
    assert not set(_states(after)) & set(_states(keys))
    assert sorted(_states(after).values()) == ["primary", "staged"]


def test_keys_stay_few_and_their_secrets_unshown() -> None:
    keys = BUILT_IN
    for turn in range(3 * MAX_KEYS):
        keys = rotated(keys, turn, _fresh(turn))
        assert len(keys.keys) <= MAX_KEYS
        assert list(_states(keys).values()).count("primary") == 1
    assert "a1" not in repr(keys)
