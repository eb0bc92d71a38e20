"""`objstore version`."""

import click


def installed_version() -> str:
    """The version of the installed package."""
    from importlib.metadata import version as look_up

    return look_up("objstore")


@click.command()
def version() -> None:
    """Print the version."""
    print(f"objstore {installed_version()}")
