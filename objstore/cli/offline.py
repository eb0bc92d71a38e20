"""`objstore fsck` and `objstore rebuild-index`: a device's directory looked at, or mended, while its node is stopped."""

import asyncio
import json
from pathlib import Path

import click

from objstore.cli.errors import complain
from objstore.errors import ObjstoreError

_DIRECTORY = click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command()
@_DIRECTORY
def fsck(directory: Path) -> int:
    """Check everything in a device's DIRECTORY and change nothing; prints JSON.  Exit 1 when something is wrong.

    The device's node must be stopped: objstore ctl stop NAME.
    """
    from objstore.cli.world import system_world
    from objstore.node.engine.fsck import fsck as check

    try:
        report = check(system_world(), str(directory.absolute()))
    except (ObjstoreError, OSError) as failure:
        return complain(f"{directory} cannot be checked: {failure}", hint="stop its node first")
    print(json.dumps(report))
    return 0 if report["clean"] else 1


@click.command("rebuild-index")
@_DIRECTORY
def rebuild_index(directory: Path) -> int:
    """Make the index in a device's DIRECTORY anew from its packs; prints what was found as JSON.

    The device's node must be stopped.  Where records were lost the device gets a new incarnation: it has no vote until the
    cluster has refilled it.
    """
    from objstore.cli.world import system_world
    from objstore.node.engine.rebuild import rebuild_index as rebuild
    from objstore.node.engine.settings import EngineSettings

    try:
        report = asyncio.run(rebuild(system_world(), str(directory.absolute()), EngineSettings()))
    except (ObjstoreError, OSError) as failure:
        return complain(f"the index in {directory} cannot be rebuilt: {failure}", hint="objstore fsck says what is wrong")
    facts = {
        "records": report.records,
        "registers": report.registers,
        "damaged_payloads": report.damaged_payloads,
        "lost_records": report.lost_records,
        "incarnation": report.incarnation.hex(),
    }
    print(json.dumps(facts))
    return 0
