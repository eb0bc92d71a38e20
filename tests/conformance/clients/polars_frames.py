"""Polars: Parquet and CSV through the object_store crate."""

import polars as pl
from scenario import BUCKET, CA, KEY, REGION, SECRET, STYLE, URL, make_bucket, run, scenario

OPTIONS = {
    "aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "aws_region": REGION, "aws_allow_http": "true",
    "aws_endpoint_url": URL.replace("//", f"//{BUCKET}.") if STYLE == "virtual" else URL, "aws_virtual_hosted_style_request": str(STYLE == "virtual").lower(),
    **({"ssl_ca_certificates": CA} if CA else {}),
}  # fmt: skip
FRAME = pl.DataFrame({"n": range(300_000), "s": [f"row {i}" for i in range(300_000)]})


@scenario
def write() -> None:
    make_bucket()
    FRAME.write_parquet(f"s3://{BUCKET}/a/1.parquet", storage_options=OPTIONS)
    FRAME.lazy().sink_parquet(f"s3://{BUCKET}/a/2.parquet", storage_options=OPTIONS)


@scenario
def read() -> None:
    assert pl.read_parquet(f"s3://{BUCKET}/a/1.parquet", storage_options=OPTIONS).equals(FRAME)
    both = pl.scan_parquet(f"s3://{BUCKET}/a/*.parquet", storage_options=OPTIONS)
    assert both.filter(pl.col("n") < 10).collect().height == 20


run()
