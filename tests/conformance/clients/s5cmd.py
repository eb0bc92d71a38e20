"""s5cmd: many requests side by side, batch deletes."""

from scenario import BUCKET, CA, FILES, KEY, REGION, SCRATCH, SECRET, STYLE, URL, Skip, command, run, same_files, scenario


def s5cmd(*arguments: str, ok: tuple[int, ...] = (0,), text: str | None = None) -> str:
    return command(
        "s5cmd", "--endpoint-url", URL, "--retry-count", "1", *arguments, ok=ok, text=text, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_REGION=REGION,
        **({"AWS_CA_BUNDLE": CA} if CA else {}),
    )  # fmt: skip


def path_style() -> None:
    if STYLE != "path":
        raise Skip("s5cmd names buckets by path at any endpoint but Amazon's")


@scenario
def files() -> None:
    path_style()
    s5cmd("mb", f"s3://{BUCKET}")
    s5cmd("cp", "--part-size", "5", f"{FILES}/", f"s3://{BUCKET}/")
    s5cmd("cp", f"s3://{BUCKET}/*", f"{SCRATCH / 'down'}/")
    same_files(FILES, SCRATCH / "down")
    assert "4096" not in s5cmd("du", f"s3://{BUCKET}/*")


@scenario
def many() -> None:
    path_style()
    many = SCRATCH / "many"
    many.mkdir()
    for i in range(300):
        (many / f"{i:04d}").write_text(str(i))
    s5cmd("cp", f"{many}/", f"s3://{BUCKET}/many/")
    assert s5cmd("ls", f"s3://{BUCKET}/many/*").count("\n") == 300
    s5cmd("mv", f"s3://{BUCKET}/many/00*", f"s3://{BUCKET}/moved/")
    assert s5cmd("ls", f"s3://{BUCKET}/moved/*").count("\n") == 100
    assert s5cmd("cat", f"s3://{BUCKET}/moved/0042") == "42"


@scenario
def sync() -> None:
    path_style()
    s5cmd("sync", "--delete", f"{FILES}/", f"s3://{BUCKET}/")
    assert s5cmd("ls", f"s3://{BUCKET}/*").count("\n") == 5


@scenario
def clean_up() -> None:
    path_style()
    s5cmd("rm", f"s3://{BUCKET}/*")
    s5cmd("rb", f"s3://{BUCKET}")


run()
