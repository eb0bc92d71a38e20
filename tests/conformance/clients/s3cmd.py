"""s3cmd: MD5 etags, access lists, its own way to keep file attributes."""

from scenario import BUCKET, CA, FILES, HOST, KEY, SCHEME, SCRATCH, SECRET, STYLE, command, run, same_files, scenario

bucket_host = f"%(bucket)s.{HOST}" if STYLE == "virtual" else HOST
(SCRATCH / "s3cfg").write_text(
    f"[default]\naccess_key = {KEY}\nsecret_key = {SECRET}\nhost_base = {HOST}\nhost_bucket = {bucket_host}\n"
    f"use_https = {SCHEME == 'https'}\nca_certs_file = {CA}\nbucket_location = US\nmultipart_chunk_size_mb = 5\nsignature_v2 = False\n"
)


def s3cmd(*arguments: str) -> str:
    return command("s3cmd", "-c", str(SCRATCH / "s3cfg"), "--no-progress", *arguments)


@scenario
def files() -> None:
    s3cmd("mb", f"s3://{BUCKET}")
    s3cmd("put", "--recursive", f"{FILES}/", f"s3://{BUCKET}/")
    assert s3cmd("ls", "-r", f"s3://{BUCKET}").count("\n") == 5
    s3cmd("sync", f"s3://{BUCKET}/", f"{SCRATCH / 'down'}/")
    same_files(FILES, SCRATCH / "down")
    s3cmd("sync", f"{FILES}/", f"s3://{BUCKET}/")


@scenario
def access_lists() -> None:
    assert "FULL_CONTROL" in s3cmd("info", f"s3://{BUCKET}/a+b&c=d.txt")
    assert "Location:" in s3cmd("info", f"s3://{BUCKET}")


@scenario
def copy() -> None:
    s3cmd("cp", f"s3://{BUCKET}/a+b&c=d.txt", f"s3://{BUCKET}/copy")
    s3cmd("modify", "--add-header=x-amz-meta-q:1", f"s3://{BUCKET}/copy")
    assert "x-amz-meta-q: 1" in s3cmd("info", f"s3://{BUCKET}/copy")
    s3cmd("mv", f"s3://{BUCKET}/copy", f"s3://{BUCKET}/moved")
    assert "6 objects" in s3cmd("du", f"s3://{BUCKET}")


@scenario
def signed_url() -> None:
    url = s3cmd("signurl", f"s3://{BUCKET}/moved", "+60").strip()
    address = url if "://" in url else f"{SCHEME}://{url}"
    if SCHEME == "https":
        address = address.replace("http://", "https://", 1)
    assert command("curl", "-sSf", *(("--cacert", CA) if CA else ()), address) == "hello"


@scenario
def clean_up() -> None:
    s3cmd("rb", "--recursive", f"s3://{BUCKET}")


run()
