"""Lines and names of access logs."""

from objstore.core.bucket_logging import BY_DELIVERY, BY_EVENT, Access, LoggingConfig, decode, encode, line, log_key

ACCESS = Access(
    "owner", "b", 1_700_000_000_000_000, "127.0.0.1", "me", "ID", "REST.GET.OBJECT", "a b/ü", "GET /b/a%20b HTTP/1.1", 404, "NoSuchKey", 0, 7,
    "", 'evil" agent\r\nx', "v1", "host", "SigV4", "AuthHeader", "127.0.0.1:9000", True,
)  # fmt: skip


def test_a_line_has_amazons_fields_and_nothing_of_a_client_ends_it() -> None:
    assert line(ACCESS) == (
        'owner b [14/Nov/2023:22:13:20 +0000] 127.0.0.1 me ID REST.GET.OBJECT a%20b/%C3%BC "GET /b/a%20b HTTP/1.1" 404 NoSuchKey - - 7 - - '
        '"evil\\x22 agent\\x0d\\x0ax" v1 host SigV4 - AuthHeader 127.0.0.1:9000 TLSv1.3 - -\n'
    )
    assert len(line(ACCESS._replace(user_agent="x" * 100_000))) < 3000


def test_keys_are_simple_or_partitioned() -> None:
    def key(config: LoggingConfig) -> str:
        return log_key(config, "acc", "us-east-1", "src", first_us=1_700_000_000_000_000, now_us=1_700_010_000_000_000, unique="AB")

    config = LoggingConfig(1, "t", "p/")
    assert decode(encode(config)) == config
    assert key(config) == "p/2023-11-15-01-00-00-AB"
    assert key(LoggingConfig(1, "t", "p/", BY_EVENT)) == "p/acc/us-east-1/src/2023/11/14/2023-11-15-01-00-00-AB"
    assert key(LoggingConfig(1, "t", "", BY_DELIVERY)) == "acc/us-east-1/src/2023/11/15/2023-11-15-01-00-00-AB"
