"""Snippets carry the real endpoint and keys and are valid in the syntax of their tool."""

import ast
import configparser
import shlex
import subprocess
from pathlib import Path

import pytest

from objstore.cli.snippet import TOOLS, Access, access_of

PLAIN = Access("http://127.0.0.1:9000", "us-east-1", "OKACCESS", "sEcReTkEy")
SECURE = Access("https://127.0.0.1:9000", "us-east-1", "OKACCESS", "sEcReTkEy", "/data/tls/ca.pem")


@pytest.mark.parametrize("tool", sorted(TOOLS))
@pytest.mark.parametrize("access", [PLAIN, SECURE], ids=["http", "https"])
def test_every_tool_gets_endpoint_keys_and_authority(tool: str, access: Access) -> None:
    text = TOOLS[tool](access)
    assert access.host in text
    assert access.access_key in text
    assert access.secret_key in text
    assert ("/data/tls/ca.pem" in text) == access.secure


def test_the_python_snippet_is_python() -> None:
    for access in (PLAIN, SECURE):
        ast.parse(TOOLS["boto3"](access))


@pytest.mark.parametrize("tool", ["awscli", "restic"])
def test_the_shell_snippets_set_variables_and_run_nothing(tool: str) -> None:
    for line in TOOLS[tool](SECURE).splitlines():
        assert line.startswith("#") or shlex.split(line)[0] == "export"


@pytest.mark.parametrize("tool", ["rclone", "s3cmd"])
def test_the_ini_snippets_parse(tool: str) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(TOOLS[tool](SECURE))
    [section] = parser.sections()
    assert parser[section]["secret_key" if tool == "s3cmd" else "secret_access_key"] == "sEcReTkEy"
    if tool == "s3cmd":
        assert parser[section]["use_https"] == "True"
        assert parser[section]["host_base"] == "127.0.0.1:9000"


def test_access_is_taken_from_what_up_prints() -> None:
    summary = {"s3": ["http://a:1", "http://a:2"], "region": "r", "access_key": "k", "secret_key": "s", "ca_cert": None}
    assert access_of(summary) == Access("http://a:1", "r", "k", "s", None)


def test_a_directory_with_blanks_and_quotes_is_pasted_unharmed(tmp_path: Path) -> None:
    path = str(tmp_path / 'my "dir" of' / "ca.pem")
    access = Access(SECURE.endpoint, SECURE.region, SECURE.access_key, SECURE.secret_key, path)
    for tool, variable in (("awscli", "AWS_CA_BUNDLE"), ("restic", "RESTIC_CACERT")):
        done = subprocess.run(["sh", "-c", f'{TOOLS[tool](access)}\nprintf %s "${variable}"'], capture_output=True, text=True, check=True)
        assert done.stdout == path
    verify = next(node for node in ast.walk(ast.parse(TOOLS["boto3"](access))) if isinstance(node, ast.keyword) and node.arg == "verify")
    assert ast.literal_eval(verify.value) == path
