"""Public keys and their fingerprints."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization

from objstore.services.calls.problems import CallRefused
from objstore.services.compute.ssh_keys import SSH, X509, fingerprint, new_certificate, new_pair

# ssh-keygen -l -E md5 says: 256 MD5:65:96:2d:fc:e8:d5:a9:11:64:0c:0f:ea:00:6e:5b:bd (the key of RFC 8709's example form)
KNOWN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl github"


def test_the_fingerprint_is_the_one_that_everybody_knows() -> None:
    assert fingerprint(SSH, KNOWN) == "65:96:2d:fc:e8:d5:a9:11:64:0c:0f:ea:00:6e:5b:bd"


def test_a_new_pair_belongs_together() -> None:
    private, public = new_pair(bytes(range(32)), "comment")
    loaded = serialization.load_ssh_private_key(private.encode(), None)
    text = loaded.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert public == f"{text.decode()} comment"
    assert len(fingerprint(SSH, public)) == 47


def test_keys_on_tokens_are_keys() -> None:
    kind = b"sk-ssh-ed25519@openssh.com"
    blob = base64.b64encode(len(kind).to_bytes(4, "big") + kind + b"x" * 40).decode()
    assert fingerprint(SSH, f"{kind.decode()} {blob}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ssh-rsa",
        "ssh-rsa JUNK",
        "ssh-rsa AAAA",
        "ssh-ed25519 " + "A" * 20_000,
        "sk-ssh-x AAAA",
        "sk-ssh-x !",
        KNOWN[:40],
        "a\0b c",
        "é é",
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    for kind in (SSH, X509):
        with pytest.raises(CallRefused, match="Keypair data is invalid"):
            fingerprint(kind, text)


def test_a_certificate_of_a_version_that_there_is_not_is_refused() -> None:
    _, text = new_certificate(bytes(range(48)), "alice", datetime(2026, 1, 1, tzinfo=UTC))
    assert len(fingerprint(X509, text)) == 59
    der = base64.b64decode("".join(text.splitlines()[1:-1]))
    other = base64.b64encode(der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020107"), 1)).decode()
    lines = [other[at : at + 64] for at in range(0, len(other), 64)]
    with pytest.raises(CallRefused) as refused:
        fingerprint(X509, "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""]))
    assert refused.value.status == 400


def test_a_certificate_is_made_whatever_a_user_is_called() -> None:
    for user in ("\N{SNOWMAN}" * 100, "x" * 255, "a b"):
        _, text = new_certificate(bytes(range(48)), user, datetime(2026, 1, 1, tzinfo=UTC))
        assert len(fingerprint(X509, text)) == 59
