"""The `--dir` of commands that work on a cluster which is there."""

from pathlib import Path

import click


def _laid(_context: click.Context, _parameter: click.Parameter, given: Path) -> Path:
    if not given.is_dir():
        raise click.BadParameter(
            f"there is no cluster in {given}; name the directory of one, or make one there with: objstore dev --dir {given}"
        )
    return given


cluster_directory = click.option(
    "--dir", "directory", default="objstore-data", show_default=True, type=click.Path(path_type=Path), callback=_laid, help="The cluster's directory."
)  # fmt: skip
