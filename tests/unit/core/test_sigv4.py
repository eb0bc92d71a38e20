"""SigV4 against Amazon's published examples, and against every way of being wrong."""

from hashlib import sha256
from typing import Any

import pytest

from objstore.core.sigv4 import (
    CHUNKED_MODES,
    EMPTY_SHA256,
    MAX_EXPIRES_S,
    MAX_SKEW_S,
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    UNSIGNED_PAYLOAD,
    ChunkChain,
    PayloadMode,
    Problem,
    Received,
    SignatureRefused,
    SigningKeys,
    canonical_headers,
    canonical_paths,
    canonical_queries,
    check_signed_headers,
    check_time,
    parse_authorization,
    parse_presigned,
    parse_timestamp,
    payload_mode,
    signing_key,
    split_query,
    verify,
)

# "Signature Calculations for the Authorization Header", "Authenticating Requests: Using Query Parameters" and
# "Transferring Payload in Multiple Chunks", Amazon S3 API Reference: all with these keys and this day.
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY = signing_key(SECRET, "20130524", "us-east-1")
CREDENTIAL = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
STAMP = "20130524T000000Z"
HOST = "examplebucket.s3.amazonaws.com"


def authorization(signed: str, signature: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential={CREDENTIAL},SignedHeaders={signed},Signature={signature}"


def problem_of(call: Any, *arguments: Any) -> Problem:
    with pytest.raises(SignatureRefused) as caught:
        call(*arguments)
    return caught.value.problem


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload", "signature"),
    [
        (
            "GET", "/test.txt", "", {"range": "bytes=0-9"}, EMPTY_SHA256,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT", "/test%24file.text", "", {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        ("GET", "/", "lifecycle", {}, EMPTY_SHA256, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("GET", "/", "max-keys=2&prefix=J", {}, EMPTY_SHA256, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)  # fmt: skip
def test_amazons_header_examples_verify(method: str, path: str, query: str, headers: dict[str, str], payload: str, signature: str) -> None:
    every = {**headers, "host": HOST, "x-amz-content-sha256": payload, "x-amz-date": STAMP}
    claim = parse_authorization(authorization(";".join(sorted(every)), signature), STAMP)
    verify(Received(method, path, query, every), claim, payload, KEY)
    assert problem_of(verify, Received(method, path + "x", query, every), claim, payload, KEY) is Problem.MISMATCH


PRESIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)


def presigned(query: str = PRESIGNED) -> Any:
    return parse_presigned([(name, value.replace("%2F", "/")) for name, value in split_query(query)])


def test_amazons_presigned_example_verifies() -> None:
    claim = presigned()
    assert claim.expires_s == 86400
    verify(Received("GET", "/test.txt", PRESIGNED, {"host": HOST}), claim, UNSIGNED_PAYLOAD, KEY)
    assert problem_of(verify, Received("PUT", "/test.txt", PRESIGNED, {"host": HOST}), claim, UNSIGNED_PAYLOAD, KEY) is Problem.MISMATCH


# "Example: PUT Object" in chunks: 65 KiB of "a", chunks of 64 KiB.
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
CHUNKS = [
    (b"a" * 65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (b"a" * 1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (b"", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
]
CHUNKED_HEADERS = {
    "content-encoding": "aws-chunked",
    "content-length": "66824",
    "host": "s3.amazonaws.com",
    "x-amz-content-sha256": STREAMING_SIGNED,
    "x-amz-date": STAMP,
    "x-amz-decoded-content-length": "66560",
    "x-amz-storage-class": "REDUCED_REDUNDANCY",
}


def test_amazons_chunk_chain_verifies_and_no_other_order_does() -> None:
    claim = parse_authorization(authorization(";".join(sorted(CHUNKED_HEADERS)), SEED), STAMP)
    verify(Received("PUT", "/examplebucket/chunkObject.txt", "", CHUNKED_HEADERS), claim, STREAMING_SIGNED, KEY)
    chain = ChunkChain(KEY, claim)
    for data, signature in CHUNKS:
        chain.update(data[:100])
        chain.update(data[100:])
        chain.end_chunk(signature)
    swapped = ChunkChain(KEY, claim)
    swapped.update(CHUNKS[1][0])
    assert problem_of(swapped.end_chunk, CHUNKS[1][1]) is Problem.CHUNK_MISMATCH
    changed = ChunkChain(KEY, claim)
    changed.update(b"b" * 65536)
    assert problem_of(changed.end_chunk, CHUNKS[0][1]) is Problem.CHUNK_MISMATCH


def test_amazons_trailer_example_verifies() -> None:
    seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    claim = parse_authorization(authorization("host", seed), STAMP)
    chain = ChunkChain(KEY, claim)
    for data, signature in [
        (b"a" * 65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
        (b"a" * 1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
        (b"", "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
    ]:
        chain.update(data)
        chain.end_chunk(signature)
    good = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
    other = ChunkChain(
        KEY, parse_authorization(authorization("host", "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"), STAMP)
    )
    chain.end_trailer(b"x-amz-checksum-crc32c:sOO8/Q==\n", good)
    assert problem_of(other.end_trailer, b"x-amz-checksum-crc32c:AAAA/Q==\n", good) is Problem.TRAILER_MISMATCH


@pytest.mark.parametrize(
    "value",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential",
        "AWS4-HMAC-SHA256 Credential=a",
        f"AWS4-HMAC-SHA512 Credential={CREDENTIAL}, SignedHeaders=host, Signature={SEED}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host, Signature={SEED}, Signature={SEED}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host, Signature={SEED}, Extra=1",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=, Signature={SEED}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host, Signature={SEED[:-1]}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders=host, Signature={SEED.upper()}",
        f"AWS4-HMAC-SHA256 Credential=/20130524/us-east-1/s3/aws4_request, SignedHeaders=host, Signature={SEED}",
        f"AWS4-HMAC-SHA256 Credential=A/2013/us-east-1/s3/aws4_request, SignedHeaders=host, Signature={SEED}",
        f"AWS4-HMAC-SHA256 Credential=A/20130525/us-east-1/s3/aws4_request, SignedHeaders=host, Signature={SEED}",
        f"AWS4-HMAC-SHA256 Credential=A/20130524/us-east-1/s3/aws5_request, SignedHeaders=host, Signature={SEED}",
        f"AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders={'a;' * 300}host, Signature={SEED}",
        f"AWS4-HMAC-SHA256 Credential={'A' * 500}{CREDENTIAL}, SignedHeaders=host, Signature={SEED}",
    ],
)
def test_malformed_authorization_headers_are_refused(value: str) -> None:
    assert problem_of(parse_authorization, value, STAMP) is Problem.HEADER_MALFORMED


def test_unusual_but_sound_authorization_headers_are_understood() -> None:
    value = f"AWS4-HMAC-SHA256   Signature={SEED} ,SignedHeaders=host,   Credential=with/slash/20130524/eu/s3/aws4_request"
    claim = parse_authorization(value, STAMP)
    assert (claim.credential.access_key, claim.credential.region, claim.signature) == ("with/slash", "eu", SEED)


def test_another_service_and_a_missing_date_have_their_own_problems() -> None:
    other = CREDENTIAL.replace("/s3/", "/sts/")
    value = f"AWS4-HMAC-SHA256 Credential={other}, SignedHeaders=host, Signature={SEED}"
    assert problem_of(parse_authorization, value, STAMP) is Problem.WRONG_SERVICE
    for stamp in (
        "",
        "20130524",
        "20130524T000000",
        "20131324T000000Z",
        "20130231T000000Z",
        "20130524T240000Z",
        "٢0130524T000000Z",
        "2" * 50_000,
    ):
        assert problem_of(parse_authorization, authorization("host", SEED), stamp) is Problem.DATE_MISSING


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("86400", str(MAX_EXPIRES_S + 1)),
        ("86400", "-1"),
        ("86400", "--1"),
        ("86400", "1e3"),
        ("86400", "9" * 5000),
        ("86400", ""),
        ("86400", "٣"),
        ("X-Amz-Expires=86400&", ""),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=20130523T000000Z"),
        ("X-Amz-Date=20130524T000000Z", "X-Amz-Date=now"),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=host&X-Amz-SignedHeaders=host"),
        ("aws4_request", "aws4"),
    ],
)
def test_malformed_presigned_queries_are_refused(old: str, new: str) -> None:
    assert problem_of(presigned, PRESIGNED.replace(old, new)) is Problem.QUERY_MALFORMED


def test_presigned_requests_are_valid_from_their_date_until_they_expire() -> None:
    claim = presigned()
    check_time(claim, claim.time_s + 86400)
    check_time(claim, claim.time_s - MAX_SKEW_S)
    assert problem_of(check_time, claim, claim.time_s + 86401) is Problem.EXPIRED
    assert problem_of(check_time, claim, claim.time_s - MAX_SKEW_S - 1) is Problem.NOT_YET_VALID


def test_a_request_presigned_for_no_time_at_all_has_expired() -> None:
    claim = presigned(PRESIGNED.replace("86400", "0"))
    assert problem_of(check_time, claim, claim.time_s) is Problem.EXPIRED


def test_signed_headers_requests_may_be_a_quarter_of_an_hour_off() -> None:
    claim = parse_authorization(authorization("host", SEED), STAMP)
    for offset in (-MAX_SKEW_S, MAX_SKEW_S):
        check_time(claim, claim.time_s + offset)
        assert problem_of(check_time, claim, claim.time_s + offset * 2) is Problem.SKEWED


def test_every_amz_header_must_be_signed_and_host_too() -> None:
    claim = parse_authorization(authorization("host;x-amz-date", SEED), STAMP)
    check_signed_headers(claim, ["x-amz-date"])
    with pytest.raises(SignatureRefused) as caught:
        check_signed_headers(claim, ["x-amz-date", "x-amz-copy-source", "content-md5"])
    assert caught.value.facts["headers"] == "x-amz-copy-source, content-md5"
    assert problem_of(check_signed_headers, parse_authorization(authorization("x-amz-date", SEED), STAMP), []) is Problem.HEADERS_NOT_SIGNED


def test_queries_are_sorted_by_name_then_value_and_without_the_signature() -> None:
    assert canonical_queries("b=2&a-b=1&a=1&a&X-Amz-Signature=zz&a=0") == ["a=&a=0&a=1&a-b=1&b=2"]
    assert canonical_queries("") == [""]


def test_queries_and_paths_are_signed_as_received_or_as_encoded_anew() -> None:
    assert canonical_queries("prefix=env:/") == ["prefix=env:/", "prefix=env%3A%2F"]
    assert canonical_queries("prefix=a+b%7e") == ["prefix=a+b%7e", "prefix=a%20b~"]
    assert canonical_queries("prefix=%2F") == ["prefix=%2F"]
    assert canonical_paths("/b//.//../k") == ["/b//.//../k"]
    assert canonical_paths("/b/a%20b") == ["/b/a%20b"]
    assert canonical_paths("/b/a:b") == ["/b/a:b", "/b/a%3Ab"]
    assert canonical_paths("/b/%7euser") == ["/b/%7euser", "/b/~user"]


def test_runs_of_spaces_in_signed_values_count_as_one_and_bytes_above_ascii_as_themselves() -> None:
    headers = {"host": "h", "x-amz-meta-a": "one  two   three", "x-amz-meta-b": "\x85\xa0é"}
    assert canonical_headers(headers, "host;x-amz-meta-a;x-amz-meta-b;gone") == (
        "host:h\nx-amz-meta-a:one two three\nx-amz-meta-b:\x85\xa0é\ngone:\n"
    )


def test_the_list_of_payload_modes_is_closed() -> None:
    assert payload_mode(UNSIGNED_PAYLOAD) is PayloadMode.UNSIGNED
    assert payload_mode(sha256(b"x").hexdigest()) is PayloadMode.SIGNED
    assert payload_mode(STREAMING_SIGNED_TRAILER) in CHUNKED_MODES
    for value in ("", "unsigned-payload", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", sha256(b"x").hexdigest().upper(), "a" * 63):
        assert problem_of(payload_mode, value) is Problem.PAYLOAD_MODE


def test_signing_keys_are_remembered_for_a_bounded_number_of_scopes() -> None:
    keys = SigningKeys(held=2)
    claims = [parse_authorization(authorization("host", SEED).replace("us-east-1", region), STAMP) for region in ("a", "b", "c")]
    made = [keys.get(SECRET, claim.credential) for claim in claims]
    assert len(keys) == 2
    assert len(set(made)) == 3
    assert keys.get(SECRET, claims[2].credential) is made[2]
    assert keys.get("other", claims[2].credential) != made[2]


def test_timestamps_are_seconds_since_1970() -> None:
    assert parse_timestamp("19700101T000001Z") == 1
    assert parse_timestamp("20240229T235960Z") is not None
    assert parse_timestamp("19691231T235959Z") is None


def test_an_authorization_header_is_read_alike_whether_its_beginning_is_remembered_or_not() -> None:
    beginning = "AWS4-HMAC-SHA256 Credential=AK/20260101/r/s3/aws4_request, SignedHeaders=host, Signature="
    for _ in range(2):
        claims = [parse_authorization(beginning + sign * 64, "20260101T000000Z") for sign in "ab"]
        assert [(claim.credential.access_key, claim.signed_headers, claim.signature[0]) for claim in claims] == [
            ("AK", "host", "a"),
            ("AK", "host", "b"),
        ]
        junk = (f"{beginning}{'a' * 9}Signature=", f"{beginning} Signature=")
        for wrong in (
            beginning.replace(" Sig", " X-Sig"),
            beginning.replace("host,", "host"),
            f"{beginning}{beginning}",
            beginning[5:],
            *junk,
        ):
            with pytest.raises(SignatureRefused):
                parse_authorization(wrong + "a" * 64, "20260101T000000Z")
    last_first = f"AWS4-HMAC-SHA256 Signature={'c' * 64},SignedHeaders=host,Credential=AK/20260101/r/s3/aws4_request"
    assert parse_authorization(last_first, "20260101T000000Z").signature == "c" * 64
