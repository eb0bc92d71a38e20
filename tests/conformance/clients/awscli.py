"""The AWS command line, version 1 and 2."""

from scenario import BUCKET, CA, FILES, KEY, REGION, SCRATCH, SECRET, STYLE, URL, command, noise, run, same_files, scenario

(SCRATCH / "config").write_text(f"[default]\ns3 =\n    addressing_style = {STYLE}\n    multipart_threshold = 8MB\n")


def aws(*arguments: str, ok: tuple[int, ...] = (0,)) -> str:
    return command(
        "aws", "--endpoint-url", URL, "--no-cli-pager" if _two() else "--no-paginate", *arguments, ok=ok, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_DEFAULT_REGION=REGION, AWS_MAX_ATTEMPTS="2", AWS_CONFIG_FILE=str(SCRATCH / "config"), **({"AWS_CA_BUNDLE": CA} if CA else {}),
    )  # fmt: skip


def _two() -> bool:
    return "aws-cli/2" in command("aws", "--version")


@scenario
def files() -> None:
    aws("s3", "mb", f"s3://{BUCKET}")
    aws("s3", "cp", "--recursive", "--only-show-errors", str(FILES), f"s3://{BUCKET}/")
    assert aws("s3", "ls", "--recursive", f"s3://{BUCKET}").count("\n") == 5
    aws("s3", "sync", "--only-show-errors", f"s3://{BUCKET}", str(SCRATCH / "down"))
    same_files(FILES, SCRATCH / "down")
    assert aws("s3", "sync", "--dryrun", str(FILES), f"s3://{BUCKET}") == ""


@scenario
def streams() -> None:
    (SCRATCH / "in").write_bytes(noise("pipe", 9 << 20))
    where = f"s3://{BUCKET}/piped"
    environment = f"--endpoint-url {URL} s3 cp --only-show-errors"
    command(
        "sh", "-c", f"aws {environment} - {where} < in && aws {environment} {where} - > out", AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_DEFAULT_REGION=REGION, AWS_CONFIG_FILE=str(SCRATCH / "config"), **({"AWS_CA_BUNDLE": CA} if CA else {}),
    )  # fmt: skip
    assert (SCRATCH / "out").read_bytes() == (SCRATCH / "in").read_bytes()


@scenario
def copy() -> None:
    aws("s3", "mv", "--only-show-errors", f"s3://{BUCKET}/a+b&c=d.txt", f"s3://{BUCKET}/moved")
    aws("s3", "cp", "--only-show-errors", f"s3://{BUCKET}/big.bin", f"s3://{BUCKET}/copy")
    aws("s3", "cp", "--only-show-errors", f"s3://{BUCKET}/copy", str(SCRATCH / "copy"))
    assert (SCRATCH / "copy").read_bytes() == (FILES / "big.bin").read_bytes()


@scenario
def checksums() -> None:
    for algorithm in ("CRC32", "SHA256"):
        put = ("s3api", "put-object", "--bucket", BUCKET, "--key", algorithm, "--checksum-algorithm", algorithm)
        aws(*put, "--body", str(FILES / "sub dir" / "deeper" / "~tilde(1)!.txt"))
        head = aws("s3api", "head-object", "--bucket", BUCKET, "--key", algorithm, "--checksum-mode", "ENABLED")
        assert f"Checksum{algorithm}" in head, head


@scenario
def presigned() -> None:
    url = aws("s3", "presign", f"s3://{BUCKET}/moved", "--expires-in", "60").strip()
    assert command("curl", "-sSf", *(("--cacert", CA) if CA else ()), url) == "hello"


@scenario
def errors() -> None:
    aws("s3api", "head-object", "--bucket", BUCKET, "--key", "missing", ok=(254, 255))
    aws("s3", "ls", f"s3://{BUCKET}-3", ok=(1, 254, 255))


@scenario
def clean_up() -> None:
    aws("s3", "rm", "--recursive", "--only-show-errors", f"s3://{BUCKET}/sub dir")
    aws("s3", "rb", "--force", f"s3://{BUCKET}")


run()
