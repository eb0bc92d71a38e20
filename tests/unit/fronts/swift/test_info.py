"""What the store says it can do."""

from tests.support.swift_server import Swift


def test_info_names_what_works_and_nothing_else(swift: Swift) -> None:
    features = swift.raw("GET", "/info").json
    assert set(features) == {
        "swift",
        "tempauth",
        "tempurl",
        "bulk_delete",
        "bulk_upload",
        "symlink",
        "formpost",
        "dlo",
        "slo",
        "container_quotas",
        "account_quotas",
        "crossdomain",
        "staticweb",
    }
    assert features["swift"]["policies"] == [{"name": "default", "default": True, "aliases": "default"}]
    assert features["tempurl"]["allowed_digests"] == ["sha1", "sha256", "sha512"]


def test_the_cross_domain_policy_lets_nobody_in_by_default(swift: Swift) -> None:
    reply = swift.raw("GET", "/crossdomain.xml")
    assert reply.headers["content-type"].startswith("application/xml")
    assert reply.body.endswith(b"<cross-domain-policy>\n\n</cross-domain-policy>")
