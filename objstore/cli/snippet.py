"""`objstore snippet TOOL`: a configuration to paste, with a running cluster's own endpoint, region and keys."""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from objstore.cli.client import CallFailed, call
from objstore.cli.errors import complain


@dataclass(frozen=True)
class Access:
    """What a client must know."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str
    ca_cert: str | None = None

    @property
    def host(self) -> str:
        """HOST:PORT of the endpoint."""
        return urlsplit(self.endpoint).netloc

    @property
    def secure(self) -> bool:
        """Whether the endpoint is HTTPS."""
        return self.endpoint.startswith("https:")


def access_of(summary: Mapping[str, Any]) -> Access:
    """From what `ctl up` prints."""
    return Access(summary["s3"][0], summary["region"], summary["access_key"], summary["secret_key"], summary["ca_cert"])


def boto3(access: Access) -> str:
    """Python."""
    verify = f", verify={json.dumps(access.ca_cert)}" if access.ca_cert else ""
    return f'''import boto3

s3 = boto3.client("s3", endpoint_url="{access.endpoint}", region_name="{access.region}",
                  aws_access_key_id="{access.access_key}", aws_secret_access_key="{access.secret_key}"{verify})
s3.create_bucket(Bucket="demo")
s3.put_object(Bucket="demo", Key="hello.txt", Body=b"hello")
print(s3.get_object(Bucket="demo", Key="hello.txt")["Body"].read())
'''


def awscli(access: Access) -> str:
    """The AWS command line: environment for a shell."""
    authority = f"export AWS_CA_BUNDLE={shlex.quote(access.ca_cert)}\n" if access.ca_cert else ""
    return f"""export AWS_ENDPOINT_URL={access.endpoint}
export AWS_DEFAULT_REGION={access.region}
export AWS_ACCESS_KEY_ID={access.access_key}
export AWS_SECRET_ACCESS_KEY={access.secret_key}
{authority}# then:
#   aws s3 mb s3://demo
#   aws s3 cp hello.txt s3://demo/
#   aws s3 ls s3://demo/
"""


def rclone(access: Access) -> str:
    """For ~/.config/rclone/rclone.conf."""
    authority = f"# rclone needs the authority on its command line: --ca-cert {shlex.quote(access.ca_cert)}\n" if access.ca_cert else ""
    return f"""{authority}[objstore]
type = s3
provider = Other
access_key_id = {access.access_key}
secret_access_key = {access.secret_key}
region = {access.region}
endpoint = {access.endpoint}
force_path_style = true
"""


def restic(access: Access) -> str:
    """Environment for a shell."""
    authority = f"export RESTIC_CACERT={shlex.quote(access.ca_cert)}\n" if access.ca_cert else ""
    return f"""export AWS_ACCESS_KEY_ID={access.access_key}
export AWS_SECRET_ACCESS_KEY={access.secret_key}
export AWS_DEFAULT_REGION={access.region}
export RESTIC_REPOSITORY=s3:{access.endpoint}/restic
{authority}# choose a password of your own: without it the backup cannot be read
#   export RESTIC_PASSWORD=...
#   restic init
#   restic backup ~/Documents
"""


def s3cmd(access: Access) -> str:
    """For ~/.s3cfg."""
    authority = f"ca_certs_file = {access.ca_cert}\n" if access.ca_cert else ""
    return f"""[default]
access_key = {access.access_key}
secret_key = {access.secret_key}
bucket_location = {access.region}
host_base = {access.host}
host_bucket = {access.host}
use_https = {access.secure}
signature_v2 = False
{authority}"""


TOOLS: Mapping[str, Callable[[Access], str]] = {"boto3": boto3, "awscli": awscli, "rclone": rclone, "restic": restic, "s3cmd": s3cmd}


@click.command()
@click.argument("tool", type=click.Choice(sorted(TOOLS)))
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), default=Path("objstore-data"), show_default=True, help="The cluster's directory."
)
def snippet(tool: str, directory: Path) -> int:
    """Print a configuration for TOOL with the keys and endpoint of the cluster that runs in --dir."""
    try:
        summary = call(directory.absolute(), "summary", timeout_s=10.0)
    except CallFailed as failure:
        return complain(str(failure), hint=f"objstore dev --dir {directory}, in another terminal")
    print(TOOLS[tool](access_of(summary)), end="")
    return 0
