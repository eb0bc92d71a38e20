"""restic with its repository in a container."""

from scenario import BUCKET, CA, FILES, SCRATCH, SECRET, URL, command, run, same_files, scenario

WHERE = {
    "ST_AUTH": f"{URL}/auth/v1.0", "ST_USER": "admin:admin", "ST_KEY": SECRET, "RESTIC_PASSWORD": "p", "RESTIC_REPOSITORY": f"swift:res{BUCKET}:/repo",
    "OS_AUTH_URL": "",  # restic would prefer it
}  # fmt: skip


def restic(*words):
    return command("restic", "--no-cache", *(("--cacert", CA) if CA else ()), *words, **WHERE)


@scenario
def backup_check_restore():
    restic("init")
    restic("backup", str(FILES))
    restic("check", "--read-data")
    restic("restore", "latest", "--target", str(SCRATCH / "restored"))
    same_files(FILES, SCRATCH / "restored" / FILES.relative_to("/"))


@scenario
def forget_and_prune():
    restic("backup", str(FILES), "--tag", "second")
    restic("forget", "--keep-last", "1", "--prune")
    assert restic("snapshots", "--json").count('"short_id"') == 1


run()
