"""Real processes with encryption: nothing plain and no key on any disk or in any log, and what was tampered with is not served."""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
import xxhash
from botocore.exceptions import ClientError

from objstore.core.encryption import SEALED_BLOCK_BYTES
from objstore.node.engine.blob_format import TRAILER_BYTES, Trailer, decode_trailer, encode_footer
from tests.support.cluster import OBJSTORE, Cluster, running_cluster, wait_until
from tests.support.transit import Transit, serving_transit

KEY = os.urandom(32)
MARK = b"plain words that may lie nowhere: " + os.urandom(12).hex().encode()
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
WISHES: dict[str, dict[str, Any]] = {
    "customer": CUSTOMER,
    "store": {"ServerSideEncryption": "AES256"},
    "service": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "testkey-1"},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("sealed")
    identities = directory / "identities.toml"
    identities.write_text('[[kms_key]]\nid = "testkey-1"\n')
    with running_cluster(directory / "c", "--tls", "--proxies", "2", "--identities", str(identities)) as running:
        running.s3().create_bucket(Bucket="sealed")
        yield running


def reading(wish: dict[str, Any]) -> dict[str, Any]:
    return wish if wish is CUSTOMER else {}


def body(size: int) -> bytes:
    return (MARK * (size // len(MARK) + 1))[:size]


@pytest.mark.parametrize("kind", WISHES)
def test_bodies_of_all_kinds_come_back_through_the_other_proxy(cluster: Cluster, kind: str) -> None:
    wish, one, two = WISHES[kind], cluster.s3(0), cluster.s3(1)
    for size in (0, 1, 4096, 131_040, 131_041, 1_000_000):
        name = f"{kind}/{size}"
        one.put_object(Bucket="sealed", Key=name, Body=body(size), **wish)
        assert two.get_object(Bucket="sealed", Key=name, **reading(wish))["Body"].read() == body(size)
        assert two.head_object(Bucket="sealed", Key=name, **reading(wish))["ContentLength"] == size
    listed = two.list_objects_v2(Bucket="sealed", Prefix=f"{kind}/")["Contents"]
    assert sorted(entry["Size"] for entry in listed) == [0, 1, 4096, 131_040, 131_041, 1_000_000]
    parts = [body(5 << 20), body(70_000)]
    upload = one.create_multipart_upload(Bucket="sealed", Key=f"{kind}/parts", **wish)["UploadId"]
    etags = [
        one.upload_part(Bucket="sealed", Key=f"{kind}/parts", UploadId=upload, PartNumber=number, Body=part, **reading(wish))["ETag"]
        for number, part in enumerate(parts, 1)
    ]
    one.complete_multipart_upload(
        Bucket="sealed", Key=f"{kind}/parts", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]},
    )  # fmt: skip
    whole = b"".join(parts)
    assert two.get_object(Bucket="sealed", Key=f"{kind}/parts", **reading(wish))["Body"].read() == whole
    for first, last in ((0, 0), (65_519, 65_520), ((5 << 20) - 2, (5 << 20) + 1), (len(whole) - 1, len(whole) - 1)):
        got = two.get_object(Bucket="sealed", Key=f"{kind}/parts", Range=f"bytes={first}-{last}", **reading(wish))["Body"].read()
        assert got == whole[first : last + 1]


def test_neither_bytes_nor_keys_are_on_disks_or_in_logs(cluster: Cluster) -> None:
    client = cluster.s3()
    for kind, wish in WISHES.items():
        for size in (200, 300_000):
            client.put_object(Bucket="sealed", Key=f"grep/{kind}/{size}", Body=body(size), **wish)
    with pytest.raises(ClientError):  # refusals are what gets logged, if anything
        client.get_object(Bucket="sealed", Key="grep/store/200", **CUSTOMER)
    with pytest.raises(ClientError):
        client.get_object(Bucket="sealed", Key="grep/customer/200", SSECustomerAlgorithm="AES256", SSECustomerKey=KEY[::-1])
    masters = [line.split('"')[1] for line in (cluster.directory / "secrets" / "kms.toml").read_text().splitlines() if "secret" in line]
    assert len(masters) == 3
    secrets = [MARK[:40], KEY, KEY[::-1], base64.b64encode(KEY), KEY.hex().encode()]
    secrets += [text for master in masters for text in (master.encode(), bytes.fromhex(master), base64.b64encode(bytes.fromhex(master)))]
    assert oct((cluster.directory / "secrets" / "kms.toml").stat().st_mode & 0o777) == "0o600"
    searched = 0
    for path in cluster.directory.rglob("*"):
        if path.is_file() and path.parent != cluster.directory / "secrets":
            data = path.read_bytes()
            searched += len(data)
            assert not [secret for secret in secrets if secret in data], path
    assert searched > 2_000_000  # the sealed bodies were among it


def test_tampering_that_fits_the_checksums_is_answered_from_another_replica_or_not_at_all(cluster: Cluster) -> None:
    client = cluster.s3()
    data = os.urandom(400_000)
    client.put_object(Bucket="sealed", Key="tampered", Body=data, ServerSideEncryption="AES256")
    found = cluster.ctl("where", "sealed/tampered")["primaries"]
    files = [Path(replica["file"]) for replica in found]
    assert len(files) == 3
    for file in files[:2]:
        tamper(file, at=3 * SEALED_BLOCK_BYTES + 77)
    assert client.get_object(Bucket="sealed", Key="tampered")["Body"].read() == data
    tamper(files[2], at=3 * SEALED_BLOCK_BYTES + 77)
    in_front = client.get_object(Bucket="sealed", Key="tampered", Range="bytes=0-99999")["Body"].read()
    assert in_front == data[:100_000]
    with pytest.raises(ClientError) as refusal:
        cluster.s3(attempts=1).get_object(Bucket="sealed", Key="tampered", Range="bytes=200000-210000")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def tamper(path: Path, *, at: int) -> None:
    """Change one byte of a blob and make every checksum in its file fit again, as one would who can write the disk."""
    raw = path.read_bytes()
    blob = decode_blob_id(raw)
    trailer = decode_trailer(raw[-TRAILER_BYTES:], blob, len(raw))
    payload = bytearray(raw[: trailer.size])
    payload[at] ^= 1
    step = trailer.block_size_bytes
    table = b"".join(
        xxhash.xxh3_64_intdigest(bytes(payload[begin : begin + step])).to_bytes(8, "little") for begin in range(0, len(payload), step)
    )
    changed = Trailer(step, trailer.size, blob, xxhash.xxh3_128_digest(bytes(payload)), trailer.staged_us)
    path.write_bytes(bytes(payload) + encode_footer(changed, table))


def decode_blob_id(raw: bytes) -> bytes:
    return raw[-TRAILER_BYTES + 24 : -TRAILER_BYTES + 40]


def test_an_audit_finds_sealed_files_in_order(cluster: Cluster) -> None:
    client = cluster.s3()
    client.put_object(Bucket="sealed", Key="audited", Body=body(300_000), **CUSTOMER)
    client.put_object(Bucket="sealed", Key="audited-small", Body=body(3000), **CUSTOMER)
    audit = cluster.ctl("audit", "--wait")
    assert audit["quarantined"] == 0
    assert cluster.status()["quarantined"] == 0


def test_a_node_that_was_away_is_given_sealed_bodies(cluster: Cluster) -> None:
    client = cluster.s3()
    cluster.ctl("stop", "node3", "--signal", "KILL")
    for size in (3000, 300_000):
        client.put_object(Bucket="sealed", Key=f"away/{size}", Body=body(size), **CUSTOMER)
    cluster.ctl("start", "node3")
    assert cluster.ctl("repair", "--wait", "--timeout", "60")["finished"]
    for name in ("node1", "node2"):
        cluster.ctl("stop", name, "--signal", "KILL")
        for size in (3000, 300_000):
            got = client.get_object(Bucket="sealed", Key=f"away/{size}", **CUSTOMER)["Body"].read()
            assert got == body(size)
        cluster.ctl("start", name)


def test_customers_keys_are_refused_without_tls(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--nodes", "1", "--proxies", "1") as plain:
        client = plain.s3(attempts=1)
        client.create_bucket(Bucket="plain")

        def add(request: Any, **_: Any) -> None:
            request.headers["x-amz-server-side-encryption-customer-algorithm"] = "AES256"
            request.headers["x-amz-server-side-encryption-customer-key"] = base64.b64encode(KEY).decode()
            request.headers["x-amz-server-side-encryption-customer-key-MD5"] = base64.b64encode(md5(KEY).digest()).decode()

        client.meta.events.register("before-sign.s3.PutObject", add)
        with pytest.raises(ClientError, match="secure connection"):
            client.put_object(Bucket="plain", Key="k", Body=b"x")


def test_master_keys_may_be_in_a_service_that_comes_and_goes(tmp_path: Path) -> None:
    transit = Transit()
    token = tmp_path / "token"
    token.write_text("tok\n")
    with serving_transit(transit) as url:
        settings = [
            "kms.kind=vault",
            f"kms.vault_url={url}",
            f"kms.vault_token_file={token}",
            "kms.store_key=k1",
            "kms.default_key=k2",
            "kms.cache_s=1",
        ]
        arguments = [word for setting in settings for word in ("--set", setting)]
        with running_cluster(tmp_path / "c", "--nodes", "1", "--proxies", "2", *arguments) as cluster:
            one, two = cluster.s3(0, attempts=1), cluster.s3(1, attempts=1)
            one.create_bucket(Bucket="vault")
            for name, wish in (("s3", {"ServerSideEncryption": "AES256"}), ("kms", {"ServerSideEncryption": "aws:kms"})):
                one.put_object(Bucket="vault", Key=name, Body=body(200_000), **wish)
                assert two.get_object(Bucket="vault", Key=name)["Body"].read() == body(200_000)
            assert {path.rpartition("/")[2] for path in transit.paths} == {"k1", "k2"}
            with pytest.raises(ClientError, match=r"KMS\.NotFoundException"):
                one.put_object(Bucket="vault", Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="nobody")
            transit.broken = (503, b'{"errors":["Vault is sealed"]}')
            time.sleep(1.1)
            with pytest.raises(ClientError) as refusal:
                two.get_object(Bucket="vault", Key="s3")
            assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
            one.put_object(Bucket="vault", Key="plain", Body=b"not concerned")
            transit.broken = None
            assert two.get_object(Bucket="vault", Key="s3")["Body"].read() == body(200_000)
            assert not (cluster.directory / "secrets" / "kms.toml").exists()


def test_a_rotated_key_opens_what_it_encrypted_before(cluster: Cluster) -> None:
    client = cluster.s3(1)
    client.put_object(Bucket="sealed", Key="rotated", Body=b"before", ServerSideEncryption="aws:kms", SSEKMSKeyId="testkey-1")
    done = subprocess.run(
        [OBJSTORE, "keys", "rotate", "testkey-1", "--dir", str(cluster.directory)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["version"] == 2
    cluster.ctl("stop", "proxy1")
    cluster.ctl("start", "proxy1")
    fresh = cluster.s3(0)
    wait_until(lambda: fresh.list_buckets()["Buckets"], 10, "the proxy to be back")
    assert fresh.get_object(Bucket="sealed", Key="rotated")["Body"].read() == b"before"
    fresh.put_object(Bucket="sealed", Key="rotated", Body=b"after", ServerSideEncryption="aws:kms", SSEKMSKeyId="testkey-1")
    assert client.get_object(Bucket="sealed", Key="rotated")["Body"].read() == b"after"  # the other proxy looks the version up
