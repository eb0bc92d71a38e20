"""rclone's Swift backend, by version 1 of authentication and by tokens."""

import os

from scenario import BUCKET, CA, FILES, SCRATCH, SECRET, URL, command, noise, run, same_files, scenario

ONE = {
    "RCLONE_SWIFT_AUTH": f"{URL}/auth/v1.0",
    "RCLONE_SWIFT_USER": "admin:admin",
    "RCLONE_SWIFT_KEY": SECRET,
    "RCLONE_SWIFT_AUTH_VERSION": "1",
}
THREE = {
    "RCLONE_SWIFT_AUTH": os.environ["OS_AUTH_URL"], "RCLONE_SWIFT_USER": "admin", "RCLONE_SWIFT_KEY": os.environ["OS_ADMIN_PASSWORD"], "RCLONE_SWIFT_AUTH_VERSION": "3",
    "RCLONE_SWIFT_DOMAIN": "Default", "RCLONE_SWIFT_TENANT": "admin", "RCLONE_SWIFT_TENANT_DOMAIN": "Default",
}  # fmt: skip
BOX = f"rs{BUCKET}"


def rclone(*words, by=ONE):
    return command(
        "rclone",
        "--config",
        str(SCRATCH / "none.conf"),
        *(("--ca-cert", CA) if CA else ()),
        "--low-level-retries",
        "1",
        "--retries",
        "1",
        *words,
        **by,
    )


@scenario
def sync_and_check():
    for by in (ONE, THREE):
        rclone("sync", str(FILES), f":swift:{BOX}/tree", by=by)
        rclone("check", "--download", str(FILES), f":swift:{BOX}/tree", by=by)
        rclone("copy", f":swift:{BOX}/tree", str(SCRATCH / f"down{by['RCLONE_SWIFT_AUTH_VERSION']}"), by=by)
        same_files(FILES, SCRATCH / f"down{by['RCLONE_SWIFT_AUTH_VERSION']}")


@scenario
def chunks():
    big = SCRATCH / "big"
    big.write_bytes(noise("rclone", 12_000_000))
    rclone("copyto", "--swift-chunk-size", "5M", str(big), f":swift:{BOX}/big")
    rclone("copyto", f":swift:{BOX}/big", str(SCRATCH / "back"))
    assert (SCRATCH / "back").read_bytes() == big.read_bytes()


@scenario
def move_and_delete():
    rclone("moveto", f":swift:{BOX}/tree", f":swift:{BOX}/moved")
    assert "tree/" not in rclone("lsf", f":swift:{BOX}")
    rclone("purge", f":swift:{BOX}")


run()
