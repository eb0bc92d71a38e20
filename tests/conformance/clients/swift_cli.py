"""The `swift` command line, by version 1 of authentication and by tokens of the identity service."""

import json
import os
import time

from scenario import BUCKET, CA, FILES, KEY, SCRATCH, SECRET, URL, command, noise, run, same_files, scenario

BOX = f"swift {BUCKET}"
ONE = {"ST_AUTH": f"{URL}/auth/v1.0", "ST_USER": "admin:admin", "ST_KEY": SECRET}
THREE = {
    "OS_AUTH_URL": os.environ["OS_AUTH_URL"], "OS_USERNAME": "admin", "OS_PASSWORD": os.environ["OS_ADMIN_PASSWORD"], "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default", "OS_IDENTITY_API_VERSION": "3", "ST_AUTH_VERSION": "3",
}  # fmt: skip
BIG = SCRATCH / "big"


def swift(*words, by=ONE, ok=(0,)):
    return command("swift", *(("--os-cacert", CA) if CA else ()), *words, ok=ok, **by)


@scenario
def tree():
    swift("upload", BOX, str(FILES), "--object-name", "tree")
    listed = swift("list", BOX, by=THREE).splitlines()
    assert len(listed) == sum(1 for path in FILES.rglob("*") if path.is_file()), listed
    swift("download", BOX, "--prefix", "tree/", "-D", str(SCRATCH / "down"), by=THREE)
    same_files(FILES, SCRATCH / "down" / "tree")


@scenario
def large_objects():
    BIG.write_bytes(noise("swift", 12_000_000))
    for name, kind in (("slo", "--use-slo"), ("dlo", "--use-dlo")):
        swift("upload", "-S", "5000000", kind, "--segment-container", f"{BOX}_segments", "--object-name", name, BOX, str(BIG))
        swift("download", BOX, name, "-o", str(SCRATCH / name), by=THREE)
        assert (SCRATCH / name).read_bytes() == BIG.read_bytes()
    assert "X-Static-Large-Object: True" in swift("stat", BOX, "slo")
    assert "Manifest:" in swift("stat", BOX, "dlo")


@scenario
def stat_post_copy():
    swift("post", BOX, "-m", "Colour:blau", "-r", ".r:*,.rlistings")
    told = swift("stat", BOX)
    assert "Meta Colour: blau" in told
    assert "Read ACL: .r:*,.rlistings" in told
    swift("post", BOX, "slo", "-m", "Taste:sweet")
    swift("copy", "-d", f"/{BOX}/copied", BOX, "slo")
    swift("download", BOX, "copied", "-o", str(SCRATCH / "copied"))
    assert (SCRATCH / "copied").read_bytes() == BIG.read_bytes()
    assert "Meta Taste: sweet" in swift("stat", BOX, "copied")


@scenario
def signed_addresses():
    swift("post", "-m", "Temp-URL-Key:s3cret")
    path = f"/v1/AUTH_admin/{BOX}/slo"
    for digest in ("sha1", "sha256", "sha512"):
        signed = swift("tempurl", "--digest", digest, "GET", "600", path, "s3cret").strip()
        out = SCRATCH / f"temp-{digest}"
        command("curl", "-sSf", *(("--cacert", CA) if CA else ()), "-o", str(out), URL + signed.replace(" ", "%20"))
        assert out.read_bytes() == BIG.read_bytes()
    expired = swift("tempurl", "--absolute", "GET", str(int(time.time()) - 5), path, "s3cret", ok=(0, 1)).strip()
    if expired:
        command("curl", "-sSf", *(("--cacert", CA) if CA else ()), URL + expired.replace(" ", "%20"), ok=(22,))


@scenario
def the_other_dialect():
    address = f"{URL}/{BOX.replace(' ', '%20')}/slo"
    signed = ("--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{KEY}:{SECRET}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD")
    command("curl", "-sSf", *(("--cacert", CA) if CA else ()), *signed, "-o", str(SCRATCH / "by-s3"), address)
    assert (SCRATCH / "by-s3").read_bytes() == BIG.read_bytes()


@scenario
def archives():
    for form, option in (("tar", "-c"), ("tar.gz", "-cz"), ("tar.bz2", "-cj")):
        packed, container = SCRATCH / f"files.{form}", f"{BOX}-{form}"
        command("tar", option, "--format=pax", "-C", str(FILES), "-f", str(packed), ".")
        told = dict(line.removeprefix("export ").split("=", 1) for line in swift("auth").splitlines())
        address = f"{told['OS_STORAGE_URL']}/{container.replace(' ', '%20')}/in/here?extract-archive={form}"
        headers = ("-H", f"X-Auth-Token: {told['OS_AUTH_TOKEN']}", "-H", "Accept: application/json")
        answer = json.loads(command("curl", "-sSf", *(("--cacert", CA) if CA else ()), *headers, "-T", str(packed), address))
        assert (answer["Response Status"], answer["Errors"]) == ("201 Created", []), answer
        swift("download", container, "--prefix", "in/here/", "-D", str(SCRATCH / f"un{form}"))
        same_files(FILES, SCRATCH / f"un{form}" / "in" / "here")
        swift("delete", container)


@scenario
def delete():
    swift("delete", BOX, "copied")
    swift("delete", BOX)
    swift("delete", f"{BOX}_segments", ok=(0, 1))
    assert BOX not in swift("list").splitlines()
    assert json.loads(swift("capabilities", "--json"))["swift"]["account_autocreate"]


run()
