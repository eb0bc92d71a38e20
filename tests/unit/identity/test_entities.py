"""Names, paths, ids and records of identities."""

import msgspec
import pytest

from objstore.identity.entities import (
    AccessKey,
    Holder,
    HolderKey,
    IdentityRefused,
    ManagedPolicy,
    PolicyVersion,
    WebProvider,
    check_name,
    check_path,
    check_tags,
    key_of,
    new_id,
    new_secret,
)
from objstore.runtime.rng import SystemRng


def test_names_and_paths_are_as_amazon_has_them() -> None:
    assert check_name("a.b_c+=,@-9", "user", "userName") == "a.b_c+=,@-9"
    for bad in ("", "a b", "a/b", "ü", "x" * 65, "a\n"):
        with pytest.raises(IdentityRefused):
            check_name(bad, "user", "userName")
    assert check_name("x" * 128, "group", "groupName")
    assert [check_path(path) for path in ("", "/", "/a/", "/a/b c/".replace(" ", "-"))] == ["/", "/", "/a/", "/a/b-c/"]
    for bad in ("a", "/a", "a/", "/a b/", "/" + "x" * 511 + "/", "/ü/"):
        with pytest.raises(IdentityRefused):
            check_path(bad)


def test_tags_are_limited() -> None:
    assert check_tags({"a": "", "b": "x" * 256}) == {"a": "", "b": "x" * 256}
    for bad in ({"": "x"}, {"x" * 129: ""}, {"a": "x" * 257}, {str(number): "" for number in range(51)}):
        with pytest.raises(IdentityRefused):
            check_tags(bad)


def test_holders_are_named_without_regard_to_case_and_keep_their_own() -> None:
    holder = Holder(1, "user", "acc", "Joe", "AIDA1", 5, "/p/")
    assert holder.arn == "arn:aws:iam::acc:user/p/Joe"
    assert key_of(holder).record == HolderKey("user", "acc", "joE").record == "user/acc/joe"


def test_ids_have_their_prefix_and_length_and_secrets_show_nowhere() -> None:
    rng = SystemRng()
    assert len(new_id(rng, "AIDA")) == 21
    key = new_id(rng, "AKIA", 20)
    assert len(key) == 20
    assert key.isalnum()
    assert new_secret(rng).isalnum()
    assert len(new_secret(rng)) == 40
    assert "hush" not in repr(Holder(1, "user", "a", "n", "i", 0, keys=(AccessKey("k", "hush", 0),)))


def test_records_of_fewer_fields_still_read() -> None:
    old = msgspec.msgpack.encode([1, "user", "acc", "joe", "AIDA1", 5])
    assert msgspec.msgpack.decode(old, type=Holder) == Holder(1, "user", "acc", "joe", "AIDA1", 5)


def test_the_default_version_of_a_policy_holds() -> None:
    versions = (PolicyVersion("v1", "one", 0), PolicyVersion("v2", "two", 0))
    policy = ManagedPolicy(1, "acc", "p", "ANPA1", 0, 0, "/x/", versions, "v2")
    assert (policy.document, policy.arn) == ("two", "arn:aws:iam::acc:policy/x/p")
    assert WebProvider(1, "acc", "host/path", 0).arn == "arn:aws:iam::acc:oidc-provider/host/path"
