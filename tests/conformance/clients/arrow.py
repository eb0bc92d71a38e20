"""PyArrow's own file system (the C++ SDK below it): Parquet and a partitioned data set."""

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from scenario import BUCKET, CA, HOST, KEY, REGION, SCHEME, SECRET, STYLE, noise, raises, run, scenario

pafs.initialize_s3(pafs.S3LogLevel.Fatal)
fs = pafs.S3FileSystem(
    access_key=KEY, secret_key=SECRET, region=REGION, endpoint_override=HOST, scheme=SCHEME, allow_bucket_creation=True, allow_bucket_deletion=True,
    force_virtual_addressing=STYLE == "virtual", **({"tls_ca_file_path": CA} if CA else {}),
)  # fmt: skip
TABLE = pa.table({"n": list(range(200_000)), "s": [f"row {i}" for i in range(200_000)], "part": [i % 4 for i in range(200_000)]})


@scenario
def parquet() -> None:
    fs.create_dir(BUCKET)
    pq.write_table(TABLE, f"{BUCKET}/t.parquet", filesystem=fs, row_group_size=20_000)
    assert pq.read_table(f"{BUCKET}/t.parquet", filesystem=fs).equals(TABLE)
    assert pq.read_table(f"{BUCKET}/t.parquet", filesystem=fs, columns=["n"], filters=[("n", "<", 10)]).num_rows == 10


@scenario
def data_set() -> None:
    ds.write_dataset(TABLE, f"{BUCKET}/set", filesystem=fs, format="parquet", partitioning=["part"])
    found = ds.dataset(f"{BUCKET}/set", filesystem=fs, format="parquet", partitioning=["part"])
    assert found.count_rows() == 200_000
    assert found.to_table(filter=ds.field("part") == 2).num_rows == 50_000


@scenario
def streams() -> None:
    data = noise("arrow", 25 << 20)
    with fs.open_output_stream(f"{BUCKET}/stream") as out:
        for start in range(0, len(data), 3 << 20):
            out.write(data[start : start + (3 << 20)])
    with fs.open_input_file(f"{BUCKET}/stream") as back:
        back.seek(20 << 20)
        assert back.read(1000) == data[20 << 20 : (20 << 20) + 1000]
    with fs.open_input_stream(f"{BUCKET}/stream") as back:
        assert back.readall() == data


@scenario
def directories() -> None:
    fs.create_dir(f"{BUCKET}/empty/inner")
    assert fs.get_file_info(f"{BUCKET}/empty").type == pafs.FileType.Directory
    fs.copy_file(f"{BUCKET}/stream", f"{BUCKET}/copy")
    fs.move(f"{BUCKET}/copy", f"{BUCKET}/moved")
    assert fs.get_file_info(f"{BUCKET}/moved").size == 25 << 20
    raises(FileNotFoundError, lambda: fs.open_input_file(f"{BUCKET}/missing"))


@scenario
def clean_up() -> None:
    fs.delete_dir(BUCKET)


run()
