"""Access logs as they are written to the target bucket."""

import asyncio
import json
import time
from typing import Any

from objstore.fronts.s3 import access_log
from objstore.fronts.s3.settings import S3Settings
from tests.support.s3_raw import call, presign, send
from tests.support.s3_server import BOB, Running, s3_serving


def lines(running: Running, bucket: str) -> list[str]:
    """All lines, once the log has been written."""
    asyncio.run_coroutine_threadsafe(running.app._access_log.flush(), running.loop).result(10)
    found: list[str] = []
    s3 = running.client()
    for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        found += s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode().splitlines()
    return found


def enable(s3: Any, source: str, target: str) -> None:
    for name in (source, target):
        s3.create_bucket(Bucket=name)
    logged = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "p/"}}
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus=logged)


def test_every_request_to_the_bucket_has_its_line(server: Running, s3: Any) -> None:
    enable(s3, "logged", "logs")
    s3.put_object(Bucket="logged", Key="a b", Body=b"data")
    s3.get_object(Bucket="logged", Key="a b")["Body"].read()
    call(server, "GET", "/logged/missing?versionId=null")
    s3.get_bucket_acl(Bucket="logged")
    send(server, "GET", "/logged/a%20b")
    send(server, "GET", presign(server, "GET", "/logged/a%20b"))
    s3.delete_objects(Bucket="logged", Delete={"Objects": [{"Key": "a b"}]})
    found = lines(server, "logs")
    operations = [text.split("] ")[1].split(" ")[3] for text in found]
    expected = [
        "REST.PUT.OBJECT",
        "REST.GET.OBJECT",
        "REST.GET.OBJECT",
        "REST.GET.ACL",
        "REST.GET.OBJECT",
        "REST.GET.OBJECT",
        "REST.POST.MULTI_OBJECT_DELETE",
    ]
    assert operations[-7:] == expected  # the request that turned it on may be there too
    got, missing, anonymous, presigned = found[-6], found[-5], found[-3], found[-2]
    assert " a%20b " in got
    assert " 200 - 4 - " in got
    assert " SigV4 - AuthHeader 127.0.0.1:" in got
    assert " 404 NoSuch" in missing
    assert " 403 AccessDenied " in anonymous
    assert " QueryString " in presigned
    assert "Signature=" not in presigned
    assert all(text.startswith("alice logged [") for text in found)
    assert server.app._access_log.counts["written"] >= 7


def test_large_batches_are_written_at_once_and_too_many_lines_are_dropped(monkeypatch: Any) -> None:
    with s3_serving(settings=S3Settings(log_interval_s=0.05)) as running:
        s3 = running.client()
        enable(s3, "source", "target")
        s3.head_bucket(Bucket="source")
        deadline = time.monotonic() + 10
        while not s3.list_objects_v2(Bucket="target").get("KeyCount") and time.monotonic() < deadline:
            time.sleep(0.02)
        (first, *_) = s3.list_objects_v2(Bucket="target")["Contents"]
        assert first["Key"].startswith("p/20")
        monkeypatch.setattr(access_log, "BATCH_BYTES", 1)
        s3.head_bucket(Bucket="source")
        monkeypatch.setattr(access_log, "LIMIT_BYTES", 1)
        s3.head_bucket(Bucket="source")
        assert running.app._access_log.counts["dropped"] == 1
        s3.delete_bucket_policy(Bucket="source")
        monkeypatch.undo()
        for item in s3.list_objects_v2(Bucket="target")["Contents"]:
            s3.delete_object(Bucket="target", Key=item["Key"])


def test_lines_that_cannot_be_written_for_a_while_are_bounded_and_break_no_connection(monkeypatch: Any) -> None:
    with s3_serving(settings=S3Settings(log_interval_s=1000)) as running:
        s3 = running.client()
        enable(s3, "source", "target")
        log = running.app._access_log
        hung = asyncio.Event()

        async def never(*_: Any, **__: Any) -> None:
            await hung.wait()

        monkeypatch.setattr(log, "_put", never)
        monkeypatch.setattr(access_log, "BATCH_BYTES", 1000)
        monkeypatch.setattr(access_log, "LIMIT_BYTES", 16_000)
        for _ in range(100):
            s3.head_bucket(Bucket="source")
            call(running, "GET", f"/source/{'k' * 900}")
        assert log._bytes <= 16_000
        assert log.counts["dropped"] > 50
        running.loop.call_soon_threadsafe(hung.set)
        asyncio.run_coroutine_threadsafe(log.flush(), running.loop).result(10)
        asyncio.run_coroutine_threadsafe(log._tasks.aclose(), running.loop).result(10)
        assert log._bytes == 0


def test_a_target_that_is_gone_costs_its_lines_and_nothing_else() -> None:
    with s3_serving(settings=S3Settings(log_interval_s=1000)) as running:
        s3 = running.client()
        enable(s3, "source", "target")
        s3.delete_bucket(Bucket="target")
        s3.head_bucket(Bucket="source")
        asyncio.run_coroutine_threadsafe(running.app._access_log.flush(), running.loop).result(10)
        assert running.app._access_log.counts["failed"] >= 1
        s3.head_bucket(Bucket="source")


def test_nobody_writes_lines_of_his_own_or_reads_keys_there(server: Running, s3: Any) -> None:
    enable(s3, "forged", "forged-logs")
    s3.head_bucket(Bucket="forged")
    send(server, "GET", "/forged/k")
    send(server, "GET", "/forged/k?versionId=x%0Aalice+forged+%5B01/Jan/2026")
    query = "x-amz-server-side-encryption-customer-key=c2VjcmV0&X-Amz-Securit%79-Token=hidden"
    call(server, "GET", f"/forged/k?{query}&X-Amz-Copy-Source-Server-Side-Encryption-Customer-Key=c2VjcmV0")
    found = lines(server, "forged-logs")
    assert all(text.startswith("alice forged [") and " REST." in text for text in found)
    assert any("x%0Aalice%20forged" in text for text in found)
    assert not any(secret in text for text in found for secret in ("c2VjcmV0", "hidden"))


def test_a_bucket_that_another_account_took_the_name_of_gets_no_lines() -> None:
    with s3_serving(settings=S3Settings(log_interval_s=1000)) as running:
        s3, bobs = running.client(), running.client(BOB)
        enable(s3, "source", "target")
        s3.delete_bucket(Bucket="target")
        bobs.create_bucket(Bucket="target")
        bobs.delete_public_access_block(Bucket="target")
        everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::target", "arn:aws:s3:::target/*"]}
        bobs.put_bucket_policy(Bucket="target", Policy=json.dumps({"Version": "2012-10-17", "Statement": [everybody]}))
        s3.put_object(Bucket="target", Key="k", Body=b"")  # whoever asks by name gets there
        s3.put_object(Bucket="source", Key="secret", Body=b"")
        assert [text for text in lines(running, "target") if "secret" in text] == []
        assert running.app._access_log.counts["failed"] >= 1
        bobs.delete_object(Bucket="target", Key="k")
        bobs.delete_bucket(Bucket="target")
        s3.create_bucket(Bucket="target")
        s3.put_object(Bucket="source", Key="secret", Body=b"")
        assert [text for text in lines(running, "target") if "secret" in text] != []
