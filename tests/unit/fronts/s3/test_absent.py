"""Configuration that is never there."""

from typing import Any

import pytest

from tests.support.s3_raw import call
from tests.support.s3_server import BOB, Running


@pytest.mark.parametrize("name", ["analytics", "intelligent-tiering", "inventory", "metrics"])
def test_lists_are_empty_and_nothing_is_taken(server: Running, bucket: str, name: str) -> None:
    listed = call(server, "GET", f"/{bucket}?{name}")
    assert (listed.status, listed.value("IsTruncated")) == (200, "false")
    one = call(server, "GET", f"/{bucket}?{name}&id=x")
    assert (one.status, one.code) == (404, "NoSuchConfiguration")
    assert call(server, "DELETE", f"/{bucket}?{name}&id=x").code == "NoSuchConfiguration"
    assert call(server, "PUT", f"/{bucket}?{name}&id=x", b"<x/>").code == "NotImplemented"
    assert call(server, "GET", f"/{bucket}?{name}", user=BOB).code == "AccessDenied"
    assert call(server, "GET", f"/no-such-bucket?{name}").code == "NoSuchBucket"


def test_the_sdk_reads_the_empty_lists(s3: Any, bucket: str) -> None:
    for operation in (
        s3.list_bucket_analytics_configurations,
        s3.list_bucket_intelligent_tiering_configurations,
        s3.list_bucket_inventory_configurations,
        s3.list_bucket_metrics_configurations,
    ):
        assert operation(Bucket=bucket)["IsTruncated"] is False


def test_the_owner_pays(server: Running, s3: Any, bucket: str) -> None:
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "BucketOwner"})

    def put(payer: str) -> str:
        document = f"<RequestPaymentConfiguration><Payer>{payer}</Payer></RequestPaymentConfiguration>"
        return call(server, "PUT", f"/{bucket}?requestPayment", document.encode()).code

    assert put("Requester") == "NotImplemented"
    assert put("Nobody") == "MalformedXML"
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
