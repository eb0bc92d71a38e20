"""Settings of the S3 front."""

import msgspec


class S3Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[s3]` section."""

    region: str = "us-east-1"
    strict_region: bool = False  # refuse signatures for another region (any is accepted otherwise)
    sigv2: bool = True  # accept Signature Version 2 (HMAC-SHA1), which old clients still send
    trusted_proxies: tuple[str, ...] = ()  # ranges of addresses whose X-Forwarded-For and -Proto are believed, by policies
    domains: tuple[str, ...] = ()  # bucket.DOMAIN names a bucket (virtual-host style)
    website_domains: tuple[str, ...] = ()  # bucket.DOMAIN is the bucket's website
    log_interval_s: float = 300.0  # access logs of buckets are written so often
    host_id: str = "objstore"  # x-amz-id-2: which proxy answered
    early_answer_s: float = 5.0  # a copy or completion that takes longer is answered 200 first, its outcome in the body
    keep_alive_s: float = 5.0  # between the blanks that keep such an answer's connection alive
    hash_in_thread_bytes: int = 131_072  # signed pieces this large are hashed in a thread; for smaller ones the way there costs more
    max_put_bytes: int = 5 << 30
    # Names besides STANDARD that objects may have: shown, given by lifecycle transitions, and all stored alike.
    storage_classes: tuple[str, ...] = ("STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY")
    allow_sse_c_over_http: bool = False  # customer-provided keys without TLS: for tests, or behind a proxy that ends TLS
