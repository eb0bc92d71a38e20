"""duplicity: full and incremental backups in a container, checked and restored, by version 1 of the log-in and by Keystone's."""

import os
import shutil

from scenario import BUCKET, CA, FILES, SCRATCH, SECRET, URL, command, run, same_files, scenario

SOURCE = SCRATCH / "source"
VERSION_1 = {"SWIFT_AUTHURL": f"{URL}/auth/v1.0", "SWIFT_USERNAME": "admin:admin", "SWIFT_PASSWORD": SECRET, "SWIFT_AUTHVERSION": "1"}
# It asks for sizes by a second way, which takes version 1 from these alone.
VERSION_1 |= {"ST_AUTH": VERSION_1["SWIFT_AUTHURL"], "ST_USER": "admin:admin", "ST_KEY": SECRET}
KEYSTONE = {
    "SWIFT_AUTHURL": os.environ["OS_AUTH_URL"], "SWIFT_USERNAME": "admin", "SWIFT_PASSWORD": os.environ["OS_ADMIN_PASSWORD"],
    "SWIFT_AUTHVERSION": "3", "SWIFT_TENANTNAME": "admin", "SWIFT_USER_DOMAIN_NAME": "Default", "SWIFT_PROJECT_DOMAIN_NAME": "Default",
    "SWIFT_PROJECT_NAME": "admin",
}  # fmt: skip


def duplicity(*words, by=VERSION_1):
    # Names of files come as bytes of the locale; volumes of 5 MB so that there are several.
    options = (
        "--no-encryption",
        "--volsize",
        "5",
        "--num-retries",
        "2",
        "--archive-dir",
        str(SCRATCH / "archive"),
        "--no-print-statistics",
    )
    return command("duplicity", *words, *options, **by, **({"REQUESTS_CA_BUNDLE": CA, "SWIFT_CACERT": CA} if CA else {}), HOME=str(SCRATCH))


@scenario
def full_and_incremental():
    shutil.copytree(FILES, SOURCE)
    place = f"swift://dup{BUCKET}"
    duplicity("full", str(SOURCE), place)
    (SOURCE / "later.txt").write_text("later")
    duplicity("incremental", str(SOURCE), place)
    duplicity("verify", "--compare-data", place, str(SOURCE))
    shutil.rmtree(SCRATCH / "archive")  # what is known of the backups comes from the store now
    duplicity("restore", place, str(SCRATCH / "restored"))
    same_files(SOURCE, SCRATCH / "restored")


@scenario
def old_sets_removed():
    place = f"swift://dup{BUCKET}"
    duplicity("full", str(SOURCE), place)
    duplicity("remove-all-but-n-full", "1", "--force", place)
    assert duplicity("collection-status", place).count("Full") >= 1
    assert duplicity("list-current-files", place).count("later.txt") == 1


@scenario
def with_a_project_of_keystone():
    place = f"swift://dupk{BUCKET}"
    duplicity("full", str(SOURCE), place, by=KEYSTONE)
    duplicity("restore", place, str(SCRATCH / "restored-k"), by=KEYSTONE)
    same_files(SOURCE, SCRATCH / "restored-k")


run()
