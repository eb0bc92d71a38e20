"""Huge counts: buckets of one account and tiny parts of uploads by the hundred thousand, while memory stays flat.

What is checked: every page of every listing is bounded and together they show each name once and in order; and no process keeps
memory for what it only passed on, so that the second half costs no more of it than caches are allowed.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.torture.harness import Cluster, Violation, retried

GROWTH_BYTES = 64 << 20  # of one process over the second half: caches that fill, the heap's unevenness
MOST_PARTS = 10_000  # S3's limit of one upload
AT_ONCE = 8
PAGE = 1000


def huge_counts(directory: Path, *, rounds: int, port_base: int, parts: int = 0) -> str:
    """`rounds` buckets, then `parts` parts of one byte; ten times as many where nobody says."""
    parts = parts or rounds * 10
    cluster = Cluster(directory, port_base=port_base, up_arguments=("--nodes", "3", "--proxies", "1"))
    cluster.up()
    try:
        clients = [cluster.s3(attempts=3, timeout_s=60) for _ in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            of_buckets = many_buckets(cluster, clients, pool, rounds)
            of_parts = many_parts(cluster, clients, pool, parts)
    finally:
        cluster.down()
    return f"{rounds} buckets ({of_buckets}), {parts} parts ({of_parts})"


def anonymous_bytes(cluster: Cluster) -> dict[str, int]:
    """Memory of each process that is its own, by name: not the pages of files that it maps."""
    found = {}
    for name, pid in cluster.pids().items():
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        (kib,) = (line.split()[1] for line in lines if line.startswith("RssAnon:"))
        found[name] = int(kib) << 10
    return found


def _in_halves(cluster: Cluster, pool: ThreadPoolExecutor, calls: Sequence[Callable[[int], Any]], numbers: range) -> str:
    """Make a call for each number; the most that a process grew by over the second half."""
    before: dict[str, int] = {}
    middle = len(numbers) // 2
    for half in (numbers[:middle], numbers[middle:]):
        before = anonymous_bytes(cluster)
        for _ in pool.map(lambda number: calls[number % len(calls)](number), half, chunksize=16):
            pass
    return _grown(before, anonymous_bytes(cluster))


def _grown(before: dict[str, int], after: dict[str, int]) -> str:
    grown = {name: after[name] - before.get(name, 0) for name in after}
    worst = max(grown, key=lambda name: grown[name])
    if grown[worst] > GROWTH_BYTES:
        raise Violation(f"{worst} grew by {grown[worst] >> 20} MiB over the second half: {before} -> {after}")
    return f"{worst} grew by {grown[worst] >> 20} MiB"


def many_buckets(cluster: Cluster, clients: Sequence[Any], pool: ThreadPoolExecutor, count: int) -> str:
    """Make them, list them by pages and by prefix, ask for one behind all; returns what memory did."""
    said = _in_halves(
        cluster,
        pool,
        [lambda n, c=client: c.create_bucket(Bucket=f"many-{n:07d}") for client in clients],
        range(count),  # type: ignore[misc] # bound now
    )
    s3 = clients[0]
    before = anonymous_bytes(cluster)
    names: list[str] = []
    for page in _bucket_pages(s3, MaxBuckets=PAGE):
        if len(page) > PAGE:
            raise Violation(f"a page of {len(page)} buckets where at most {PAGE} were asked for")
        names += page
    wanted = [f"many-{n:07d}" for n in range(count)]
    if names != wanted:
        raise Violation(f"{len(names)} buckets are listed of {len(wanted)}, the first difference at {_first_difference(names, wanted)}")
    some = list(itertools.chain.from_iterable(_bucket_pages(s3, MaxBuckets=7, Prefix="many-00000")))
    if some != [name for name in wanted if name.startswith("many-00000")]:
        raise Violation(f"by prefix {len(some)} buckets are listed")
    whole = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    if whole != wanted[:10_000]:
        raise Violation(f"a listing without a limit shows {len(whole)} buckets")
    _grown(before, anonymous_bytes(cluster))
    return said


def _bucket_pages(s3: Any, **asked: Any) -> Iterator[list[str]]:
    token: dict[str, str] = {}
    while True:
        answer = s3.list_buckets(**asked, **token)
        yield [bucket["Name"] for bucket in answer["Buckets"]]
        if "ContinuationToken" not in answer:
            return
        token = {"ContinuationToken": answer["ContinuationToken"]}


def _first_difference(found: Sequence[str], wanted: Sequence[str]) -> str:
    return next((f"{a} / {b}" for a, b in itertools.zip_longest(found, wanted, fillvalue="the end") if a != b), "nowhere")


def many_parts(cluster: Cluster, clients: Sequence[Any], pool: ThreadPoolExecutor, count: int) -> str:
    """Uploads full of parts of one byte: listed, refused as an object for their smallness, and gone once they are aborted."""
    s3 = clients[0]
    retried(lambda: s3.create_bucket(Bucket="parts"))
    sizes = [min(MOST_PARTS, count - at) for at in range(0, count, MOST_PARTS)]
    uploads = [s3.create_multipart_upload(Bucket="parts", Key=f"u{number}")["UploadId"] for number in range(len(sizes))]

    def put(client: Any, number: int) -> None:
        upload, part = divmod(number, MOST_PARTS)
        client.upload_part(Bucket="parts", Key=f"u{upload}", UploadId=uploads[upload], PartNumber=part + 1, Body=b"x")

    said = _in_halves(cluster, pool, [lambda n, c=client: put(c, n) for client in clients], range(count))  # type: ignore[misc] # bound now
    before = anonymous_bytes(cluster)
    for number, (upload, size) in enumerate(zip(uploads, sizes, strict=True)):
        here = {"Bucket": "parts", "Key": f"u{number}", "UploadId": upload}
        pages = [page["Parts"] for page in s3.get_paginator("list_parts").paginate(**here)]
        if any(len(page) > PAGE for page in pages) or [part["PartNumber"] for page in pages for part in page] != list(range(1, size + 1)):
            raise Violation(f"upload {number} of {size} parts is listed as {[len(page) for page in pages]}")
        named = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for page in pages for part in page]
        try:
            s3.complete_multipart_upload(**here, MultipartUpload={"Parts": named})
        except s3.exceptions.ClientError as refusal:
            if refusal.response["Error"]["Code"] != "EntityTooSmall":
                raise
        else:
            if size > 1:
                raise Violation("an object of parts of one byte was made")
        s3.abort_multipart_upload(**here)
    if s3.list_multipart_uploads(Bucket="parts").get("Uploads"):
        raise Violation("uploads are listed that were aborted")
    _grown(before, anonymous_bytes(cluster))
    return said
