"""Delta Lake (delta-rs) with conditional puts as its only lock: writers that race must not lose a commit."""

import threading

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from scenario import BUCKET, CA, KEY, REGION, SECRET, STYLE, URL, make_bucket, run, scenario

OPTIONS = {
    "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION, "AWS_ALLOW_HTTP": "true", "AWS_CONDITIONAL_PUT": "etag",
    "aws_conditional_put": "etag", "AWS_ENDPOINT_URL": URL.replace("//", f"//{BUCKET}.") if STYLE == "virtual" else URL,
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": str(STYLE == "virtual").lower(), **({"ssl_ca_certificates": CA} if CA else {}),
}  # fmt: skip
TABLE = f"s3://{BUCKET}/table"


def rows(start: int, count: int = 10) -> pa.Table:
    return pa.table({"n": pa.array(range(start, start + count), pa.int64())})


@scenario
def commits() -> None:
    make_bucket()
    for i in range(3):
        write_deltalake(TABLE, rows(i * 10), mode="append", storage_options=OPTIONS)
    table = DeltaTable(TABLE, storage_options=OPTIONS)
    assert table.version() == 2
    assert sorted(table.to_pyarrow_table()["n"].to_pylist()) == list(range(30))


@scenario
def racing_writers() -> None:
    """Appends do not conflict: each is retried behind the other, and none may be lost."""
    failures: list[Exception] = []

    def write(worker: int) -> None:
        try:
            for i in range(4):
                write_deltalake(TABLE, rows(1000 * (worker + 1) + i * 10), mode="append", storage_options=OPTIONS)
        except Exception as failure:  # noqa: BLE001 reported by the thread that waits
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    table = DeltaTable(TABLE, storage_options=OPTIONS)
    assert table.version() == 2 + 16
    assert len(set(table.to_pyarrow_table()["n"].to_pylist())) == 30 + 160


@scenario
def delete_and_time_travel() -> None:
    table = DeltaTable(TABLE, storage_options=OPTIONS)
    table.delete("n < 10")
    assert min(DeltaTable(TABLE, storage_options=OPTIONS).to_pyarrow_table()["n"].to_pylist()) == 10
    assert DeltaTable(TABLE, version=0, storage_options=OPTIONS).to_pyarrow_table().num_rows == 10
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert DeltaTable(TABLE, storage_options=OPTIONS).to_pyarrow_table().num_rows == 180


run()
