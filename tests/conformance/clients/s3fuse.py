"""s3fs-fuse: a bucket as a directory; copies onto itself change metadata, keys that end in a slash are directories."""

import os
import shutil
import time
from pathlib import Path

from scenario import BUCKET, CA, FILES, KEY, SCRATCH, SECRET, STYLE, URL, Skip, command, make_bucket, run, same_files, scenario

MOUNT = SCRATCH / "mount"


def _mounted() -> None:
    if not os.path.ismount(MOUNT):
        raise Skip("not mounted")


@scenario
def mount() -> None:
    if not Path("/dev/fuse").exists():
        raise Skip("there is no /dev/fuse")
    if CA and os.geteuid():
        raise Skip("only root can show it another certificate authority")
    (SCRATCH / "passwd").write_text(f"{KEY}:{SECRET}\n")
    (SCRATCH / "passwd").chmod(0o600)
    MOUNT.mkdir()
    make_bucket()
    if CA:
        # libcurl with GnuTLS reads this file and no variable; the mount is seen by this namespace alone.
        command("mount", "--bind", CA, "/etc/ssl/certs/ca-certificates.crt")
    style = () if STYLE == "virtual" else ("-o", "use_path_request_style")
    command(
        "s3fs", BUCKET, str(MOUNT), "-o", f"passwd_file={SCRATCH / 'passwd'}", "-o", f"url={URL}", *style, "-o", "multipart_size=5", "-o", "retries=1",
        "-o", "sigv4", "-o", f"logfile={SCRATCH / 'log'}"
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not os.path.ismount(MOUNT):
        assert time.monotonic() < deadline, f"it is not mounted after 20 s: {(SCRATCH / 'log').read_text()[-1200:]}"
        time.sleep(0.1)


@scenario
def files() -> None:
    _mounted()
    shutil.copytree(FILES, MOUNT / "tree")
    shutil.copytree(MOUNT / "tree", SCRATCH / "down")
    same_files(FILES, SCRATCH / "down")


@scenario
def attributes() -> None:
    _mounted()
    path = MOUNT / "tree" / "empty"
    path.chmod(0o640)
    os.utime(path, (1_500_000_000, 1_500_000_000))
    assert path.stat().st_mode & 0o777 == 0o640
    assert int(path.stat().st_mtime) == 1_500_000_000


@scenario
def rename_and_write() -> None:
    _mounted()
    (MOUNT / "tree" / "sub dir").rename(MOUNT / "moved dir")
    assert (MOUNT / "moved dir" / "deeper" / "~tilde(1)!.txt").read_text() == "deep"
    with (MOUNT / "log").open("a") as log:
        log.write("one\n")
    with (MOUNT / "log").open("a") as log:
        log.write("two\n")
    assert (MOUNT / "log").read_text() == "one\ntwo\n"
    with (MOUNT / "tree" / "big.bin").open("r+b") as big:
        big.seek(6 << 20)
        big.write(b"in the middle")
    with (MOUNT / "tree" / "big.bin").open("rb") as big:
        big.seek(6 << 20)
        assert big.read(13) == b"in the middle"


@scenario
def clean_up() -> None:
    _mounted()
    for entry in MOUNT.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    assert list(MOUNT.iterdir()) == []
    command("umount", str(MOUNT))


run()
