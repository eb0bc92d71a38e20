"""Encryption headers, through the whole front and object model; boto3 over TLS where a customer's key is sent."""

import base64
import gc
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from objstore.core.encryption import AES256, AWS_KMS, BucketEncryption, encode_bucket_encryption
from objstore.fronts.s3.settings import S3Settings
from tests.support.s3_server import ALICE, Running, make_certificate, s3_serving

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def customer(key: bytes = KEY) -> dict[str, Any]:
    """For calls where botocore does not encode the key itself."""
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b64(key), "SSECustomerKeyMD5": b64(md5(key).digest())}


def customer_bytes(key: bytes = KEY) -> dict[str, Any]:
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory: Path = tmp_path_factory.mktemp("tls")
    with s3_serving(tls=make_certificate(directory)) as running:
        yield running
        gc.collect()  # exceptions that were caught hold on to connections, and over TLS the server waits for their end


@pytest.fixture(scope="module", autouse=True)
def s3(server: Running) -> Any:
    client = server.client()
    client.create_bucket(Bucket="photos")
    return client


def refusal(call: Any, **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"].get("Message", "")


def with_headers(client: Any, operation: str, headers: dict[str, str]) -> Any:
    """Send these headers with each call of one operation, whatever the SDK would say to them."""

    def add(request: Any, **_: Any) -> None:
        for name, value in headers.items():
            request.headers[name] = value

    client.meta.events.register(f"before-sign.s3.{operation}", add)
    return client


def test_a_customers_key_round_trip(s3: Any) -> None:
    data = b"x" * 200_000
    put = s3.put_object(Bucket="photos", Key="c", Body=data, **customer_bytes())
    assert put["SSECustomerAlgorithm"] == "AES256"
    assert put["SSECustomerKeyMD5"] == b64(md5(KEY).digest())
    assert put["ETag"] != f'"{md5(data).hexdigest()}"'
    got = s3.get_object(Bucket="photos", Key="c", Range="bytes=65500-65600", **customer_bytes())
    assert got["Body"].read() == data[65500:65601]
    assert got["ContentRange"] == "bytes 65500-65600/200000"
    assert got["SSECustomerKeyMD5"] == b64(md5(KEY).digest())
    head = s3.head_object(Bucket="photos", Key="c", **customer_bytes())
    assert (head["ContentLength"], head["SSECustomerAlgorithm"]) == (200_000, "AES256")
    assert refusal(s3.head_object, Bucket="photos", Key="c")[0] == 400
    status, code, message = refusal(s3.get_object, Bucket="photos", Key="c")
    assert (status, code) == (400, "InvalidRequest")
    assert message.startswith("The object was stored using a form of Server Side Encryption.")
    assert refusal(s3.get_object, Bucket="photos", Key="c", **customer_bytes(OTHER))[:2] == (403, "AccessDenied")
    attributes = s3.get_object_attributes(Bucket="photos", Key="c", ObjectAttributes=["ObjectSize"], **customer())
    assert attributes["ObjectSize"] == 200_000
    s3.put_object(Bucket="photos", Key="plain", Body=b"x")
    assert refusal(s3.get_object, Bucket="photos", Key="plain", **customer_bytes())[:2] == (400, "InvalidRequest")


@pytest.mark.parametrize(
    ("headers", "code", "message"),
    [
        ({"key": b64(KEY), "key-md5": b64(md5(KEY).digest())}, "InvalidArgument", "valid encryption algorithm"),
        (
            {"algorithm": "AES128", "key": b64(KEY), "key-md5": b64(md5(KEY).digest())},
            "InvalidEncryptionAlgorithmError",
            "The valid value is AES256",
        ),
        ({"algorithm": "AES256"}, "InvalidArgument", "appropriate secret key"),
        ({"algorithm": "AES256", "key": b64(KEY)}, "InvalidArgument", "calculated MD5"),
        ({"algorithm": "AES256", "key": b64(KEY), "key-md5": b64(bytes(16))}, "InvalidArgument", "did not match"),
        ({"algorithm": "AES256", "key": b64(KEY), "key-md5": "?"}, "InvalidArgument", "did not match"),
        (
            {"algorithm": "AES256", "key": b64(KEY[:16]), "key-md5": b64(md5(KEY[:16]).digest())},
            "InvalidArgument",
            "secret key was invalid",
        ),
        ({"algorithm": "AES256", "key": "\u00e9", "key-md5": b64(bytes(16))}, "InvalidArgument", "secret key was invalid"),
    ],
)
def test_customer_headers_that_do_not_fit_are_refused(server: Running, headers: dict[str, str], code: str, message: str) -> None:
    named = {f"x-amz-server-side-encryption-customer-{name}": value for name, value in headers.items()}
    client = with_headers(server.client(), "PutObject", named)
    status, found, said = refusal(client.put_object, Bucket="photos", Key="bad", Body=b"x")
    assert (status, found) == (400, code)
    assert message in said


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"": "AES128"}, 400, "InvalidArgument"),
        ({"": "aws:kms:dsse"}, 501, "NotImplemented"),
        ({"-aws-kms-key-id": "testkey-1"}, 400, "InvalidArgument"),
        ({"": "AES256", "-aws-kms-key-id": "testkey-1"}, 400, "InvalidArgument"),
        ({"": "aws:kms", "-aws-kms-key-id": "nobody"}, 400, "KMS.NotFoundException"),
        ({"": "aws:kms", "-aws-kms-key-id": "objstore-s3"}, 400, "KMS.NotFoundException"),
        ({"": "aws:kms", "-aws-kms-key-id": "x" * 3000}, 400, "InvalidArgument"),
        ({"": "aws:kms", "-context": "not base64"}, 400, "InvalidArgument"),
        ({"": "aws:kms", "-context": b64(b"[1]")}, 400, "InvalidArgument"),
        ({"": "aws:kms", "-context": b64(b'{"a":1}')}, 400, "InvalidArgument"),
        ({"": "aws:kms", "-context": b64(b"[" * 9000)}, 400, "InvalidArgument"),
        ({"": "aws:kms", "-bucket-key-enabled": "maybe"}, 400, "InvalidArgument"),
        (
            {
                "": "AES256", "-customer-algorithm": "AES256", "-customer-key": b64(KEY), "-customer-key-md5": b64(md5(KEY).digest()),
            },
            400,
            "InvalidArgument",
        ),
    ],
)  # fmt: skip
def test_wishes_that_do_not_fit_are_refused(server: Running, headers: dict[str, str], status: int, code: str) -> None:
    named = {f"x-amz-server-side-encryption{name}": value for name, value in headers.items()}
    client = with_headers(server.client(), "PutObject", named)
    assert refusal(client.put_object, Bucket="photos", Key="bad", Body=b"x")[:2] == (status, code)


def test_keys_of_the_store_are_named_in_every_answer(s3: Any) -> None:
    for wish, shown in (
        ({"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "AES256"}),
        (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "testkey-1", "BucketKeyEnabled": True},
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "testkey-1", "BucketKeyEnabled": True},
        ),
        ({"ServerSideEncryption": "aws:kms"}, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "objstore-default"}),
    ):
        put = s3.put_object(Bucket="photos", Key="k", Body=b"data", **wish)
        got = s3.get_object(Bucket="photos", Key="k")
        assert got["Body"].read() == b"data"
        head = s3.head_object(Bucket="photos", Key="k")
        copied = s3.copy_object(Bucket="photos", Key="k2", CopySource="photos/k", **wish)
        upload = s3.create_multipart_upload(Bucket="photos", Key="m", **wish)
        part = s3.upload_part(Bucket="photos", Key="m", UploadId=upload["UploadId"], PartNumber=1, Body=b"part")
        done = s3.complete_multipart_upload(
            Bucket="photos", Key="m", UploadId=upload["UploadId"], MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        )
        for answer in (put, got, head, copied, upload, part, done):
            assert {name: answer.get(name) for name in shown} == shown
        assert s3.get_object(Bucket="photos", Key="m")["Body"].read() == b"part"
    plain = s3.copy_object(Bucket="photos", Key="k3", CopySource="photos/k")
    assert "ServerSideEncryption" not in plain


def test_an_encryption_context_comes_back_to_its_writer(s3: Any) -> None:
    context = b64(b'{"b":"2", "a":"1"}')
    put = s3.put_object(Bucket="photos", Key="ctx", Body=b"data", ServerSideEncryption="aws:kms", SSEKMSEncryptionContext=context)
    assert base64.b64decode(put["SSEKMSEncryptionContext"]) == b'{"a":"1","b":"2"}'
    assert s3.get_object(Bucket="photos", Key="ctx")["Body"].read() == b"data"


def test_reads_may_not_name_what_only_writes_do(server: Running, s3: Any) -> None:
    s3.put_object(Bucket="photos", Key="k", Body=b"data", ServerSideEncryption="aws:kms")
    client = with_headers(server.client(), "HeadObject", {"x-amz-server-side-encryption": "aws:kms"})
    assert refusal(client.head_object, Bucket="photos", Key="k")[0] == 400


def test_copies_and_parts_under_customers_keys(s3: Any) -> None:
    data = bytes(range(256)) * 1000
    s3.put_object(Bucket="photos", Key="from", Body=data, **customer_bytes())
    source = {"CopySource": "photos/from", "CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": KEY}
    copied = s3.copy_object(Bucket="photos", Key="to", **source, **customer_bytes(OTHER))
    assert copied["SSECustomerKeyMD5"] == b64(md5(OTHER).digest())
    assert s3.get_object(Bucket="photos", Key="to", **customer_bytes(OTHER))["Body"].read() == data
    assert refusal(s3.copy_object, Bucket="photos", Key="to", CopySource="photos/from")[:2] == (400, "InvalidRequest")
    upload = s3.create_multipart_upload(Bucket="photos", Key="m", **customer_bytes(OTHER))
    assert upload["SSECustomerAlgorithm"] == "AES256"
    where = {"Bucket": "photos", "Key": "m", "UploadId": upload["UploadId"], "PartNumber": 1}
    assert refusal(s3.upload_part, Body=b"x", **where)[:2] == (400, "InvalidRequest")
    status, code, message = refusal(s3.upload_part, Body=b"x", **where, **customer_bytes())
    assert (status, code, "did not match the ones used originally" in message) == (400, "InvalidRequest", True)
    part = s3.upload_part_copy(**where, **source, **customer_bytes(OTHER))
    assert part["SSECustomerKeyMD5"] == b64(md5(OTHER).digest())
    s3.complete_multipart_upload(
        Bucket="photos", Key="m", UploadId=upload["UploadId"],
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]},
    )  # fmt: skip
    assert s3.get_object(Bucket="photos", Key="m", **customer_bytes(OTHER))["Body"].read() == data


def test_a_buckets_default_is_applied_and_shown(server: Running, s3: Any) -> None:
    import asyncio

    from objstore.objects.api import Principal

    s3.create_bucket(Bucket="secret")
    value = encode_bucket_encryption(BucketEncryption(algorithm=AWS_KMS, kms_key_id="testkey-2"))
    setting = server.store.set_config(Principal(account=ALICE.account), "secret", "encryption", value)
    asyncio.run_coroutine_threadsafe(setting, server.loop).result(5)
    put = s3.put_object(Bucket="secret", Key="k", Body=b"data")
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"]) == (AWS_KMS, "testkey-2")
    assert s3.put_object(Bucket="secret", Key="k", Body=b"data", ServerSideEncryption=AES256)["ServerSideEncryption"] == AES256


def test_customers_keys_need_tls_unless_the_operator_says_otherwise() -> None:
    for allowed in (False, True):
        with s3_serving(settings=S3Settings(allow_sse_c_over_http=allowed)) as running:
            client = running.client()
            client.create_bucket(Bucket="photos")
            # botocore sends no such key without TLS by itself.
            headers = {
                "x-amz-server-side-encryption-customer-algorithm": "AES256",
                "x-amz-server-side-encryption-customer-key": b64(KEY),
                "x-amz-server-side-encryption-customer-key-md5": b64(md5(KEY).digest()),
            }
            with_headers(client, "PutObject", headers)
            if allowed:
                assert client.put_object(Bucket="photos", Key="k", Body=b"x")["SSECustomerAlgorithm"] == "AES256"
            else:
                status, code, message = refusal(client.put_object, Bucket="photos", Key="k", Body=b"x")
                assert (status, code) == (400, "InvalidRequest")
                assert "secure connection" in message


def test_a_browsers_form_may_ask_for_encryption(server: Running, s3: Any) -> None:
    import ssl
    import urllib.request

    fields = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": b64(KEY),
        "x-amz-server-side-encryption-customer-key-MD5": b64(md5(KEY).digest()),
    }
    post = s3.generate_presigned_post("photos", "form", Fields=fields, Conditions=[{name: value} for name, value in fields.items()])
    lines = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in post["fields"].items()]
    lines.append('--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nfrom a form\r\n--b--\r\n')
    request = urllib.request.Request(
        post["url"], "".join(lines).encode(), {"Content-Type": "multipart/form-data; boundary=b"}, method="POST"
    )
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=server.ca)) as answer:
        assert answer.status == 204
        assert answer.headers["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    assert s3.get_object(Bucket="photos", Key="form", **customer_bytes())["Body"].read() == b"from a form"
    assert refusal(s3.get_object, Bucket="photos", Key="form")[0] == 400


def test_tags_and_lists_of_an_object_under_a_customers_key_need_no_key(s3: Any) -> None:
    s3.create_bucket(Bucket="keyless", ObjectOwnership="ObjectWriter")
    s3.put_object(Bucket="keyless", Key="k", Body=b"x", SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32)
    s3.put_object_tagging(Bucket="keyless", Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_object_tagging(Bucket="keyless", Key="k")["TagSet"] == [{"Key": "a", "Value": "b"}]
    s3.put_object_acl(Bucket="keyless", Key="k", ACL="private")
    assert len(s3.get_object_acl(Bucket="keyless", Key="k")["Grants"]) == 1
    with pytest.raises(ClientError):
        s3.head_object(Bucket="keyless", Key="k")
