"""What the runs of tempest share: its configuration, and how tests ended against how they are expected to end.

A test that passes although it is expected not to fails the run, just as one that fails and is not.
"""

import configparser
import os
import re
from collections.abc import Mapping

from scenario import CA, REGION, SCRATCH, command

Expected = Mapping[str, tuple[str, str]]  # class and test -> how it ends, and why
_LINE = re.compile(r"^\{\d+\} (?:setUpClass \((\S+)\)|(\S+)) (?:\[[\d.]+s\] )?\.\.\. (ok|FAILED|SKIPPED)", re.MULTILINE)
_CONFIG = f"""
[DEFAULT]
log_file = tempest.log
[auth]
use_dynamic_credentials = true
admin_username = admin
admin_password = {os.environ["OS_ADMIN_PASSWORD"]}
admin_project_name = admin
admin_domain_name = Default
tempest_roles = member
create_isolated_networks = false
[identity]
auth_version = v3
uri_v3 = {os.environ["OS_AUTH_URL"]}
region = {REGION}
{f"ca_certificates_file = {CA}" if CA else ""}
[identity-feature-enabled]
api_v2 = false
[service_available]
swift = true
nova = false
glance = false
cinder = false
neutron = false
[validation]
run_validation = false
"""

SECTOR = 512  # of an image: the first is the guest, the second begins with the number of its boots, then what it says at each
SAYS = b"".join(b"\r\n line %d" % number for number in range(12))


def play(more: str, *words: str, ids: list[str] | None = None, timeout: float = 900) -> dict[str, str]:
    """Run tempest with more of a configuration; how each test, or class that could not begin, ended.

    Class.test, or module.Class -> ok, FAILED, SKIPPED.
    """
    config = configparser.RawConfigParser()
    config.read_string(_CONFIG)
    config.read_string(more)
    space = workspace()
    with (space / "etc" / "tempest.conf").open("w") as file:
        config.write(file)
    if ids is not None:
        (space / "ids").write_text("\n".join(ids))
        words = (*words, "--load-list", "ids")
    out = command("sh", "-c", f"cd {space} && exec tempest run --concurrency 2 {' '.join(words)}", timeout=timeout, ok=(0, 1))
    return {".".join((name or group).split(".")[-2:]): end for group, name, end in _LINE.findall(out)}


def tests_below(tree: str) -> list[str]:
    """The ids of all tests of a package of tempest."""
    space = workspace()
    lines = command("sh", "-c", f"cd {space} && exec tempest run --list-tests --regex {tree}").splitlines()
    return [line for line in lines if line.startswith(tree)]


def workspace():
    """Tempest's directory, made when it is first asked for."""
    space = SCRATCH / "tempest"
    if not space.exists():
        command("tempest", "init", str(space))
    return space


def tiny_images(cloud, *names):
    """Images of the guest of one sector that says a dozen lines at each boot: tempest wants to see ten.  Their ids."""
    data = bytearray(cloud.image.download_image(cloud.image.find_image("tiny")).content)
    data[SECTOR + 2 : SECTOR + 2 + len(SAYS) + 1] = SAYS + b"\0"
    fields = {"disk_format": "raw", "container_format": "bare", "visibility": "public"}
    return [cloud.image.create_image(name=name, data=bytes(data), **fields).id for name in names]


def check(found: Mapping[str, str], expected: Expected) -> None:
    """See that all ended as expected, and that nothing that is expected was left out."""
    otherwise = {name: end for name, end in found.items() if end != expected.get(name, ("ok",))[0]}
    assert not otherwise, f"these ended otherwise than expected: {otherwise}"
    gone = expected.keys() - found.keys()
    assert not gone, f"these are expected and were not run: {sorted(gone)}"
