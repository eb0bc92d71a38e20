"""restic: a backup, a second one, a check of every byte, a restore, a prune."""

from scenario import BUCKET, CA, FILES, KEY, REGION, SCRATCH, SECRET, STYLE, URL, command, run, same_files, scenario

LOOKUP = "path" if STYLE == "path" else "dns"


def restic(*arguments: str) -> str:
    certificate = ("--cacert", CA) if CA else ()
    return command(
        "restic", "-r", f"s3:{URL}/{BUCKET}/backup", "-o", f"s3.bucket-lookup={LOOKUP}", *certificate, *arguments, RESTIC_PASSWORD="p",
        AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_DEFAULT_REGION=REGION, RESTIC_CACHE_DIR=str(SCRATCH / "cache"),
    )  # fmt: skip


@scenario
def backup() -> None:
    restic("init")
    restic("backup", str(FILES))
    restic("backup", str(FILES))
    assert restic("snapshots", "--json").count('"short_id"') == 2


@scenario
def check_every_byte() -> None:
    restic("check", "--read-data")


@scenario
def restore() -> None:
    restic("restore", "latest", "--target", str(SCRATCH / "restored"))
    same_files(FILES, SCRATCH / "restored" / FILES.relative_to("/"))


@scenario
def prune() -> None:
    restic("forget", "--keep-last", "1", "--prune")
    restic("check")


run()
