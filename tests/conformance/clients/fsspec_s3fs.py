"""fsspec's s3fs, which pandas, dask and xarray read through."""

import fsspec
import s3fs
from scenario import BUCKET, CA, FILES, KEY, REGION, SCRATCH, SECRET, STYLE, URL, noise, raises, run, same_files, scenario

fs = s3fs.S3FileSystem(
    key=KEY, secret=SECRET, endpoint_url=URL, use_listings_cache=False, default_block_size=5 << 20,
    client_kwargs={"region_name": REGION, **({"verify": CA} if CA else {})}, config_kwargs={"s3": {"addressing_style": STYLE}},
)  # fmt: skip


@scenario
def files() -> None:
    fs.mkdir(BUCKET)
    fs.put(f"{FILES}/", f"{BUCKET}/tree/", recursive=True)
    fs.get(f"{BUCKET}/tree/", f"{SCRATCH}/down/", recursive=True)
    same_files(FILES, SCRATCH / "down")
    assert len(fs.find(f"{BUCKET}/tree")) == 5


@scenario
def open_files() -> None:
    data = noise("fsspec", 12 << 20)
    with fs.open(f"{BUCKET}/written", "wb") as out:
        for start in range(0, len(data), 1 << 20):
            out.write(data[start : start + (1 << 20)])
    with fs.open(f"{BUCKET}/written", "rb", block_size=1 << 20) as back:
        back.seek(-1000, 2)
        assert back.read() == data[-1000:]
        back.seek(7_000_000)
        assert back.read(10) == data[7_000_000:7_000_010]
    assert fs.cat_ranges([f"{BUCKET}/written"] * 2, [0, 100], [10, 110]) == [data[:10], data[100:110]]
    with fs.open(f"{BUCKET}/written", "ab") as more:
        more.write(b"more")
    assert fs.cat(f"{BUCKET}/written") == data + b"more"


@scenario
def exclusive() -> None:
    fs.pipe_file(f"{BUCKET}/once", b"1", mode="create")
    raises(FileExistsError, lambda: fs.pipe_file(f"{BUCKET}/once", b"2", mode="create"))
    assert fs.cat(f"{BUCKET}/once") == b"1"


@scenario
def moves() -> None:
    fs.mv(f"{BUCKET}/once", f"{BUCKET}/moved")
    assert not fs.exists(f"{BUCKET}/once")
    assert fs.info(f"{BUCKET}/moved")["size"] == 1
    raises(FileNotFoundError, lambda: fs.cat(f"{BUCKET}/missing"))
    assert sorted(fs.glob(f"{BUCKET}/tree/*.txt")) == [f"{BUCKET}/tree/a+b&c=d.txt"]
    assert fsspec.utils.infer_storage_options(fs.sign(f"{BUCKET}/moved"))["protocol"] in ("http", "https")


@scenario
def clean_up() -> None:
    fs.rm(BUCKET, recursive=True)


run()
