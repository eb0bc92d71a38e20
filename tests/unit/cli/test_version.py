"""The version is that of the package metadata."""

import tomllib
from pathlib import Path

from objstore.cli.version import installed_version


def test_the_version_is_the_one_in_the_project_file() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert installed_version() == project["version"]
