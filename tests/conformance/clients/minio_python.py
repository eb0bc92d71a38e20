"""The MinIO client for Python."""

import io
from datetime import timedelta

import urllib3
from minio import Minio
from minio.commonconfig import CopySource, Tags
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from scenario import BUCKET, CA, FILES, HOST, KEY, REGION, SCHEME, SCRATCH, SECRET, STYLE, names, noise, raises, run, same_files, scenario

pool = urllib3.PoolManager(ca_certs=CA or None, retries=urllib3.Retry(total=1))
client = Minio(endpoint=HOST, access_key=KEY, secret_key=SECRET, secure=SCHEME == "https", region=REGION, http_client=pool)
if STYLE == "virtual":
    client.enable_virtual_style_endpoint()


def read(key: str, **more: object) -> bytes:
    answer = client.get_object(bucket_name=BUCKET, object_name=key, **more)
    try:
        return answer.read()
    finally:
        answer.close()


@scenario
def files() -> None:
    client.make_bucket(bucket_name=BUCKET)
    assert client.bucket_exists(bucket_name=BUCKET)
    for name in names():
        client.fput_object(bucket_name=BUCKET, object_name=name, file_path=str(FILES / name), part_size=5 << 20)
        client.fget_object(bucket_name=BUCKET, object_name=name, file_path=str(SCRATCH / "down" / name))
    same_files(FILES, SCRATCH / "down")
    assert [entry.object_name for entry in client.list_objects(bucket_name=BUCKET, recursive=True)] == sorted(names(), key=str.encode)


@scenario
def unknown_length() -> None:
    data = noise("minio", 12 << 20)
    client.put_object(bucket_name=BUCKET, object_name="stream", data=io.BytesIO(data), length=-1, part_size=5 << 20)
    assert read("stream") == data
    assert read("stream", offset=100, length=50) == data[100:150]


@scenario
def copy() -> None:
    client.copy_object(bucket_name=BUCKET, object_name="copy", source=CopySource(bucket_name=BUCKET, object_name="a+b&c=d.txt"))
    assert read("copy") == b"hello"


@scenario
def tags() -> None:
    tags = Tags.new_object_tags()
    tags["a"] = "1"
    client.set_object_tags(bucket_name=BUCKET, object_name="copy", tags=tags)
    assert client.get_object_tags(bucket_name=BUCKET, object_name="copy") == tags


@scenario
def presigned() -> None:
    url = client.presigned_get_object(bucket_name=BUCKET, object_name="copy", expires=timedelta(minutes=1))
    assert pool.request("GET", url).data == b"hello"
    url = client.presigned_put_object(bucket_name=BUCKET, object_name="put", expires=timedelta(minutes=1))
    assert pool.request("PUT", url, body=b"signed").status == 200
    assert read("put") == b"signed"


@scenario
def errors() -> None:
    assert raises(S3Error, lambda: read("missing")).code == "NoSuchKey"
    assert raises(S3Error, lambda: client.remove_bucket(bucket_name=BUCKET)).code == "BucketNotEmpty"


@scenario
def clean_up() -> None:
    every = [DeleteObject(entry.object_name) for entry in client.list_objects(bucket_name=BUCKET, recursive=True)]
    assert list(client.remove_objects(bucket_name=BUCKET, delete_object_list=every)) == []
    client.remove_bucket(bucket_name=BUCKET)


run()
