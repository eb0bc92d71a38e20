"""The default encryption of a bucket, as a document."""

from typing import Any

import pytest

from objstore.core.encryption import BucketEncryption, decode_bucket_encryption
from tests.support.s3_raw import call
from tests.support.s3_server import Running


def put(s3: Any, bucket: str, rule: dict[str, Any]) -> Any:
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]


def test_rules_come_back_as_they_were_set(server: Running, s3: Any, bucket: str) -> None:
    plain = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    assert put(s3, bucket, plain) == [plain]
    named = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key-1"}, "BucketKeyEnabled": True}
    assert put(s3, bucket, named) == [named]
    s3.delete_bucket_encryption(Bucket=bucket)
    assert call(server, "GET", f"/{bucket}?encryption").code == "ServerSideEncryptionConfigurationNotFoundError"


def test_what_is_stored_is_what_encryption_reads(server: Running, s3: Any, bucket: str) -> None:
    put(s3, bucket, {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"}})
    (found,) = [b.info.config["encryption"] for key, b in server.store.directory._cache.items() if key[2] == bucket]
    assert decode_bucket_encryption(found) == BucketEncryption(1, "aws:kms", "k")


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("", "MalformedXML"),
        ("<ApplyServerSideEncryptionByDefault/>", "MalformedXML"),
        ("<ApplyServerSideEncryptionByDefault><SSEAlgorithm>ROT13</SSEAlgorithm></ApplyServerSideEncryptionByDefault>", "MalformedXML"),
        (
            "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID>"
            "</ApplyServerSideEncryptionByDefault>",
            "InvalidArgument",
        ),
        (
            "<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID></KMSMasterKeyID>"
            "</ApplyServerSideEncryptionByDefault>",
            "InvalidArgument",
        ),
        ("<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms:dsse</SSEAlgorithm></ApplyServerSideEncryptionByDefault>", "NotImplemented"),
        ("<BlockedEncryptionTypes><EncryptionType>SSE-X</EncryptionType></BlockedEncryptionTypes>", "MalformedXML"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused(server: Running, bucket: str, rule: str, code: str) -> None:
    document = f"<ServerSideEncryptionConfiguration><Rule>{rule}</Rule></ServerSideEncryptionConfiguration>"
    assert call(server, "PUT", f"/{bucket}?encryption", document.encode()).code == code


def test_customer_keys_can_be_blocked(server: Running, bucket: str) -> None:
    blocked = "<Rule><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule>"
    document = f"<ServerSideEncryptionConfiguration>{blocked}</ServerSideEncryptionConfiguration>"
    assert call(server, "PUT", f"/{bucket}?encryption", document.encode()).status == 200
    assert call(server, "GET", f"/{bucket}?encryption").value("EncryptionType") == "SSE-C"
