"""Notifications through boto3: the document, and what is told of each call."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from objstore.fronts.s3.notifier import NotificationSettings, Notifier, Target
from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.outgoing import Message
from objstore.runtime.tasks import ThreadPool
from tests.support.s3_raw import call
from tests.support.s3_server import Running, s3_serving

ARN = "arn:aws:sqs:us-east-1:1:hook"
CONFIG: dict[str, Any] = {
    "TopicConfigurations": [
        {"Id": "t", "TopicArn": "arn:aws:sns:us-east-1:1:hook", "Events": ["s3:ObjectTagging:*"], "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "a/"}]}}}
    ],
    "QueueConfigurations": [{"Id": "q", "QueueArn": ARN, "Events": ["s3:ObjectCreated:*"]}],
    "LambdaFunctionConfigurations": [{"Id": "f", "LambdaFunctionArn": "arn:aws:lambda:us-east-1:1:hook", "Events": ["s3:ObjectRemoved:*"]}],
}  # fmt: skip


class Taken:
    """A target that takes everything."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def send(self, message: Message, *, timeout_s: float) -> None:
        self.bodies.append(message.body)

    async def aclose(self) -> None:
        pass

    def wait(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 10
        while len(self.bodies) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        records = [json.loads(body)["Records"][0] for body in self.bodies]
        self.bodies.clear()
        assert len(records) == count
        return records


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Taken]]:
    taken = Taken()
    threads = ThreadPool("events", 1)
    path: Path = tmp_path_factory.mktemp("events")

    def build() -> Notifier:
        settings = NotificationSettings(targets={"hook": Target("http://127.0.0.1/")})
        return Notifier(RealDisk(str(path)), threads, SystemClock(), taken, settings)

    notifier = build()
    with s3_serving(notifier=notifier) as running:
        import asyncio

        asyncio.run_coroutine_threadsafe(notifier.start(), running.loop).result(10)
        running.client().create_bucket(Bucket="told")
        running.client().put_bucket_notification_configuration(Bucket="told", NotificationConfiguration=CONFIG)
        yield running, taken
        asyncio.run_coroutine_threadsafe(notifier.aclose(), running.loop).result(10)
    threads.close()


def test_documents_come_back_as_they_were_set(told: tuple[Running, Taken]) -> None:
    s3 = told[0].client()
    s3.create_bucket(Bucket="kept")
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket="kept")
    s3.put_bucket_notification_configuration(Bucket="kept", NotificationConfiguration=CONFIG)
    found = s3.get_bucket_notification_configuration(Bucket="kept")
    del found["ResponseMetadata"]
    assert found == CONFIG
    s3.put_bucket_notification_configuration(Bucket="kept", NotificationConfiguration={})
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket="kept")
    nameless = {"QueueConfigurations": [{"QueueArn": ARN, "Events": ["s3:ObjectCreated:Put"]}]}
    s3.put_bucket_notification_configuration(Bucket="kept", NotificationConfiguration=nameless)
    assert s3.get_bucket_notification_configuration(Bucket="kept")["QueueConfigurations"][0]["Id"]


def test_each_call_is_told_of(told: tuple[Running, Taken]) -> None:
    running, taken = told
    s3 = running.client()
    s3.put_bucket_notification_configuration(Bucket="told", NotificationConfiguration=CONFIG)
    s3.put_object(Bucket="told", Key="a/ k", Body=b"data")
    s3.copy_object(Bucket="told", Key="copy", CopySource="told/a/ k")
    upload = s3.create_multipart_upload(Bucket="told", Key="up")["UploadId"]
    part = s3.upload_part(Bucket="told", Key="up", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(Bucket="told", Key="up", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    s3.put_object_tagging(Bucket="told", Key="a/ k", Tagging={"TagSet": []})
    s3.put_object_tagging(Bucket="told", Key="copy", Tagging={"TagSet": []})
    s3.delete_object_tagging(Bucket="told", Key="a/ k")
    s3.delete_object(Bucket="told", Key="copy")
    s3.delete_objects(Bucket="told", Delete={"Objects": [{"Key": "up"}]})
    found = taken.wait(7)
    assert [(record["eventName"], record["s3"]["object"]["key"]) for record in found] == [
        ("ObjectCreated:Put", "a/+k"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:CompleteMultipartUpload", "up"),
        ("ObjectTagging:Put", "a/+k"),
        ("ObjectTagging:Delete", "a/+k"),
        ("ObjectRemoved:Delete", "copy"),
        ("ObjectRemoved:Delete", "up"),
    ]
    assert [record["s3"]["configurationId"] for record in found] == ["q", "q", "q", "t", "t", "f", "f"]
    assert found[0]["s3"]["object"]["size"] == 4
    assert found[0]["requestParameters"]["sourceIPAddress"] == "127.0.0.1"
    sequencers = [record["s3"]["object"]["sequencer"] for record in found if record["s3"]["object"]["key"] == "copy"]
    assert sequencers == sorted(sequencers)


def test_failed_calls_and_other_buckets_are_not_told_of(told: tuple[Running, Taken]) -> None:
    running, taken = told
    s3 = running.client()
    s3.create_bucket(Bucket="quiet")
    s3.put_object(Bucket="quiet", Key="k", Body=b"")
    assert call(running, "PUT", "/told/k", b"x", {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}).status == 400
    time.sleep(0.05)
    taken.wait(0)


def rule(inner: str, kind: str = "Queue") -> bytes:
    return f"<NotificationConfiguration><{kind}Configuration>{inner}</{kind}Configuration></NotificationConfiguration>".encode()


GOOD = f"<Queue>{ARN}</Queue><Event>s3:ObjectCreated:*</Event>"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (rule(""), "MalformedXML"),
        (rule(f"<Queue>{ARN}</Queue>"), "MalformedXML"),
        (rule(GOOD + "<Other/>"), "MalformedXML"),
        (rule(GOOD + "<Id>" + "i" * 256 + "</Id>"), "MalformedXML"),
        (rule(GOOD.replace("*", "Unknown")), "InvalidArgument"),
        (rule(GOOD.replace("arn:", "")), "InvalidArgument"),
        (rule(GOOD.replace("hook", "nobody")), "InvalidArgument"),
        (rule(GOOD, "Topic"), "MalformedXML"),
        (rule(GOOD + "</QueueConfiguration><QueueConfiguration>" + GOOD), "InvalidArgument"),
        (rule(GOOD + "<Filter><S3Key><FilterRule><Name>middle</Name><Value>x</Value></FilterRule></S3Key></Filter>"), "InvalidArgument"),
        (rule(GOOD + "<Filter><S3Key>" + "<FilterRule><Name>prefix</Name><Value>x</Value></FilterRule>" * 2 + "</S3Key></Filter>"), "InvalidArgument"),
        (rule(GOOD + f"<Filter><S3Key><FilterRule><Name>prefix</Name><Value>{'x' * 1025}</Value></FilterRule></S3Key></Filter>"), "InvalidArgument"),
        (b"<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>", "NotImplemented"),
        (b"<NotificationConfiguration>" + b"<QueueConfiguration/>" * 101 + b"</NotificationConfiguration>", "InvalidArgument"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused(told: tuple[Running, Taken], document: bytes, code: str) -> None:
    running = told[0]
    running.client().create_bucket(Bucket="refusing")
    assert call(running, "PUT", "/refusing?notification", document).code == code


def test_without_targets_nothing_can_be_asked_for(server: Running, bucket: str) -> None:
    assert call(server, "PUT", f"/{bucket}?notification", rule(GOOD)).code == "InvalidArgument"
    assert call(server, "PUT", f"/{bucket}?notification", b"<NotificationConfiguration/>").status == 200
