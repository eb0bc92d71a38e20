"""rclone, newest and of 2022: modification times in metadata, checks by hash, server-side moves."""

from scenario import BUCKET, CA, FILES, KEY, REGION, SCRATCH, SECRET, STYLE, URL, command, run, same_files, scenario

(SCRATCH / "rclone.conf").write_text(
    f"[o]\ntype = s3\nprovider = Other\naccess_key_id = {KEY}\nsecret_access_key = {SECRET}\nregion = {REGION}\nendpoint = {URL}\n"
    f"force_path_style = {'true' if STYLE == 'path' else 'false'}\nchunk_size = 5Mi\nupload_cutoff = 8Mi\ncopy_cutoff = 8Mi\n"
)


def rclone(*arguments: str, ok: tuple[int, ...] = (0,)) -> str:
    certificate = ("--ca-cert", CA) if CA else ()
    return command("rclone", "--config", str(SCRATCH / "rclone.conf"), "--retries", "1", *certificate, *arguments, ok=ok)


@scenario
def files() -> None:
    rclone("mkdir", f"o:{BUCKET}")
    rclone("copy", str(FILES), f"o:{BUCKET}")
    rclone("check", str(FILES), f"o:{BUCKET}")
    rclone("check", "--download", str(FILES), f"o:{BUCKET}")
    rclone("sync", f"o:{BUCKET}", str(SCRATCH / "down"))
    same_files(FILES, SCRATCH / "down")


@scenario
def times() -> None:
    """The second sync must find nothing to do: times come back as they were sent."""
    assert "Copied" not in rclone("sync", "-v", "--use-json-log", str(FILES), f"o:{BUCKET}")
    for left, right in ((FILES / "empty", SCRATCH / "down" / "empty"),):
        assert int(left.stat().st_mtime) == int(right.stat().st_mtime)


@scenario
def listings() -> None:
    assert rclone("lsf", "-R", "--files-only", f"o:{BUCKET}").count("\n") == 5
    assert rclone("lsf", f"o:{BUCKET}/sub dir").splitlines() == ["deeper/", "grün %41 'x'.bin"]
    assert rclone("size", f"o:{BUCKET}").startswith("Total objects: 5")


@scenario
def copy() -> None:
    rclone("moveto", f"o:{BUCKET}/empty", f"o:{BUCKET}/moved")
    rclone("copyto", f"o:{BUCKET}/big.bin", f"o:{BUCKET}/copied.bin")
    assert rclone("md5sum", f"o:{BUCKET}/copied.bin", "--download").split()[0] == rclone("md5sum", str(FILES / "big.bin")).split()[0]


@scenario
def streams() -> None:
    rclone("touch", f"o:{BUCKET}/touched")
    command(
        "sh",
        "-c",
        f"head -c 7000000 '{FILES}/big.bin' | rclone --config rclone.conf {'--ca-cert ' + CA if CA else ''} rcat o:{BUCKET}/piped",
    )
    assert rclone("size", "--json", f"o:{BUCKET}/piped").count("7000000") == 1


@scenario
def clean_up() -> None:
    rclone("purge", f"o:{BUCKET}")
    assert BUCKET not in rclone("lsd", "o:")


run()
