"""objstore/core/encryption.py."""

from objstore.core.encryption import AWS_KMS, BucketEncryption, decode_bucket_encryption, encode_bucket_encryption


def test_a_buckets_default_survives_its_record() -> None:
    config = BucketEncryption(algorithm=AWS_KMS, kms_key_id="testkey-1", bucket_key=True, blocked=("SSE-C",))
    assert decode_bucket_encryption(encode_bucket_encryption(config)) == config
