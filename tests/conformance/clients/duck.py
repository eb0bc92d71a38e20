"""DuckDB: its httpfs extension comes from a package, nothing is downloaded at run time."""

from pathlib import Path

import duckdb
import duckdb_extension_httpfs
from scenario import BUCKET, CA, HOST, KEY, REGION, SCHEME, SECRET, STYLE, make_bucket, run, scenario

db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
extension = next(Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension*"))
db.execute(f"LOAD '{extension}'")
if CA:
    db.execute(f"SET ca_cert_file = '{CA}'")
    db.execute("SET enable_server_cert_verification = true")
db.execute(
    f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', REGION '{REGION}', ENDPOINT '{HOST}', USE_SSL {SCHEME == 'https'}, "
    f"URL_STYLE '{'vhost' if STYLE == 'virtual' else 'path'}')"
)


@scenario
def write() -> None:
    make_bucket()
    db.execute("CREATE TABLE t AS SELECT range AS n, 'row ' || range AS s, range % 3 AS part FROM range(500000)")
    db.execute(f"COPY t TO 's3://{BUCKET}/t.parquet' (FORMAT parquet, ROW_GROUP_SIZE 50000)")
    db.execute(f"COPY t TO 's3://{BUCKET}/t.csv' (FORMAT csv)")


@scenario
def read() -> None:
    assert db.execute(f"SELECT count(*), sum(n) FROM 's3://{BUCKET}/t.parquet'").fetchone() == (500_000, 499_999 * 250_000)
    assert db.execute(f"SELECT s FROM 's3://{BUCKET}/t.parquet' WHERE n = 123456").fetchone() == ("row 123456",)
    assert db.execute(f"SELECT count(*) FROM 's3://{BUCKET}/t.csv'").fetchone() == (500_000,)


@scenario
def partitions_and_globs() -> None:
    db.execute(f"COPY t TO 's3://{BUCKET}/set' (FORMAT parquet, PARTITION_BY (part))")
    found = db.execute(
        f"SELECT part, count(*) FROM read_parquet('s3://{BUCKET}/set/*/*.parquet', hive_partitioning = true) GROUP BY part ORDER BY part"
    )
    assert [count for _, count in found.fetchall()] == [166_667, 166_667, 166_666]


run()
