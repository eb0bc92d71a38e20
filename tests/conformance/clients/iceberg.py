"""PyIceberg: a SQL catalogue beside, data and metadata in the store."""

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from scenario import BUCKET, CA, KEY, REGION, SCRATCH, SECRET, STYLE, URL, Skip, make_bucket, run, scenario


def catalog() -> SqlCatalog:
    return SqlCatalog(
        "c", uri=f"sqlite:///{SCRATCH}/catalog.db", warehouse=f"s3://{BUCKET}/warehouse",
        **{"s3.endpoint": URL, "s3.access-key-id": KEY, "s3.secret-access-key": SECRET, "s3.region": REGION,
           "s3.force-virtual-addressing": str(STYLE == "virtual").lower(), "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"},
    )  # fmt: skip


def trusted() -> None:
    if CA:
        import pyarrow.fs

        plain = pyarrow.fs.S3FileSystem

        class Trusting(plain):  # PyIceberg has no setting for a certificate authority of one's own
            def __init__(self, **settings):
                super().__init__(tls_ca_file_path=CA, **settings)

        try:
            pyarrow.fs.S3FileSystem = Trusting
        except TypeError as refused:
            raise Skip(f"PyIceberg cannot be told to trust a certificate authority: {refused}") from refused


@scenario
def append() -> None:
    trusted()
    make_bucket()
    rows = pa.table({"n": pa.array(range(1000), pa.int64()), "s": [f"row {i}" for i in range(1000)]})
    catalog().create_namespace("ns")
    table = catalog().create_table("ns.t", schema=rows.schema)
    table.append(rows)
    table.append(rows)
    assert catalog().load_table("ns.t").scan().to_arrow().num_rows == 2000


@scenario
def filter_delete_and_history() -> None:
    table = catalog().load_table("ns.t")
    assert table.scan(row_filter="n < 10").to_arrow().num_rows == 20
    first = table.history()[0].snapshot_id
    table.delete("n >= 500")
    assert catalog().load_table("ns.t").scan().to_arrow().num_rows == 1000
    assert catalog().load_table("ns.t").scan(snapshot_id=first).to_arrow().num_rows == 1000


@scenario
def drop() -> None:
    catalog().purge_table("ns.t")


run()
