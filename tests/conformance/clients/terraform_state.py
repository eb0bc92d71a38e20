"""Terraform itself, an old one (0.11, the last whose program a package carries), with its state in the S3 backend.

Outputs alone are applied, since providers would be fetched from elsewhere.  This release locks through DynamoDB only;
`terraform_lock.py` emulates what `use_lockfile` sends.
"""

import json
import sys
from pathlib import Path

from scenario import BUCKET, CA, KEY, REGION, SCRATCH, SECRET, STYLE, URL, command, make_bucket, noise, run, scenario

PROGRAM = Path(sys.prefix) / "lib" / "terraform"
BACKEND = f"""
  bucket = "{BUCKET}"
  region = "{REGION}"
  endpoint = "{URL}"
  access_key = "{KEY}"
  secret_key = "{SECRET}"
  force_path_style = {str(STYLE == "path").lower()}
  encrypt = true
  acl = "private"
  workspace_key_prefix = "spaces"
  skip_credentials_validation = true
  skip_get_ec2_platforms = true
  skip_region_validation = true
  skip_requesting_account_id = true
  skip_metadata_api_check = true
"""
MAIN = f"""
terraform {{
  backend "s3" {{
    key = "infra/terraform.tfstate"
    {BACKEND}
  }}
}}
variable "text" {{}}
output "text" {{ value = "${{var.text}}" }}
"""
READER = f"""
data "terraform_remote_state" "infra" {{
  backend = "s3"
  config {{
    key = "infra/terraform.tfstate"
    {BACKEND}
  }}
}}
output "seen" {{ value = "${{data.terraform_remote_state.infra.text}}" }}
"""


def terraform(where: str, *arguments: str, text: str = "") -> str:
    environment = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_INPUT": "0", "TF_VAR_text": text}
    if CA:
        environment["AWS_CA_BUNDLE"] = CA
    return command("env", "-C", str(SCRATCH / where), str(PROGRAM), *arguments, **environment)


def project(name: str, text: str) -> None:
    (SCRATCH / name).mkdir()
    (SCRATCH / name / "main.tf").write_text(text)
    terraform(name, "init", "-no-color")


@scenario
def state() -> None:
    PROGRAM.chmod(0o755)
    make_bucket()
    project("infra", MAIN)
    for text in ("one", "two", noise("state", 1 << 20).hex()[:100_000]):
        terraform("infra", "apply", "-auto-approve", "-no-color", text=text)
        assert terraform("infra", "output", "text").strip() == text
    pulled = json.loads(terraform("infra", "state", "pull"))
    assert pulled["modules"][0]["outputs"]["text"]["value"] == text
    assert pulled["serial"] >= 2, pulled["serial"]


@scenario
def another_reads_it() -> None:
    project("reader", READER)
    terraform("infra", "apply", "-auto-approve", "-no-color", text="for others")
    terraform("reader", "apply", "-auto-approve", "-no-color")
    assert terraform("reader", "output", "seen").strip() == "for others"


@scenario
def workspaces() -> None:
    for name in ("staging", "production"):
        terraform("infra", "workspace", "new", "-no-color", name)
        terraform("infra", "apply", "-auto-approve", "-no-color", text=f"of {name}")
    listed = terraform("infra", "workspace", "list").replace("*", "").split()
    assert sorted(listed) == ["default", "production", "staging"]
    terraform("infra", "workspace", "select", "-no-color", "staging")
    assert terraform("infra", "output", "text").strip() == "of staging"
    terraform("infra", "destroy", "-auto-approve", "-no-color", text="none")
    terraform("infra", "workspace", "select", "-no-color", "default")
    terraform("infra", "workspace", "delete", "-no-color", "-force", "staging")
    assert "staging" not in terraform("infra", "workspace", "list")
    assert terraform("infra", "output", "text").strip() == "for others"


@scenario
def a_second_copy_takes_the_state_over() -> None:
    project("elsewhere", MAIN)
    assert terraform("elsewhere", "output", "text").strip() == "for others"
    terraform("elsewhere", "apply", "-auto-approve", "-no-color", text="from elsewhere")
    assert terraform("infra", "output", "text").strip() == "from elsewhere"


run()
