"""How long does a copy take when it shares the body, and when the bytes move?

    python -m benchmarks.copying --mib 1024 --port-base 23000

Starts a cluster in a directory of its own, writes one object, copies it COPIES times by reference and once by moving the bytes (another
checksum is asked for), and says after each what the disks hold.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.__main__ import ctl, disk_bytes

COPIES = 20


def client_of(info: dict[str, Any]) -> Any:
    return boto3.client(
        "s3", endpoint_url=info["s3"][0], aws_access_key_id=info["access_key"], aws_secret_access_key=info["secret_key"],
        region_name=info["region"], config=Config(read_timeout=300, s3={"addressing_style": "path"}),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--port-base", type=int, default=23_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory, body = Path(scratch) / "cluster", Path(scratch) / "body"
        with body.open("wb") as out:
            for _ in range(arguments.mib):
                out.write(os.urandom(1 << 20))
        try:
            measure(client_of(ctl(directory, "up", "--port-base", str(arguments.port_base))), body, directory)
        finally:
            ctl(directory, "down")


def measure(s3: Any, body: Path, directory: Path) -> None:
    s3.create_bucket(Bucket="copies")

    def told(what: str, seconds: float) -> None:
        print(f"{what:32} {seconds * 1000:10.1f} ms   {disk_bytes(directory) / (1 << 20):10.0f} MiB on disk")

    began = time.monotonic()
    with body.open("rb") as data:
        s3.put_object(Bucket="copies", Key="from", Body=data)
    told("PUT", time.monotonic() - began)
    took = []
    for number in range(COPIES):
        began = time.monotonic()
        s3.copy_object(Bucket="copies", Key=f"to{number}", CopySource="copies/from")
        took.append(time.monotonic() - began)
    told("copy by reference, median", statistics.median(took))
    told("copy by reference, slowest", max(took))
    began = time.monotonic()
    s3.copy_object(Bucket="copies", Key="moved", CopySource="copies/from", ChecksumAlgorithm="SHA1")
    told("copy that moves the bytes", time.monotonic() - began)


if __name__ == "__main__":
    main()
