"""The config drive: an ISO with a guest's metadata, as cloud-init and its kin read it (label config-2)."""

import json
import shutil
import tempfile
from pathlib import Path

from objstore.runtime import commands
from objstore.services.compute.agent.check import check_user_data
from objstore.services.compute.agent_api import ServerSpec

LABEL = "config-2"
MAKE_S = 60.0
_PREFIX = "config-"


def documents(spec: ServerSpec) -> dict[str, bytes]:
    """Path on the drive -> bytes."""
    found = {"meta_data.json": json.dumps(spec.metadata).encode()}
    if spec.network_data:
        found["network_data.json"] = json.dumps(spec.network_data).encode()
    if spec.user_data:
        found["user_data"] = check_user_data(spec.user_data)
    return {f"openstack/latest/{name}": data for name, data in found.items()}


async def make(spec: ServerSpec, target: str) -> None:
    """Write the drive.  Raises ProgramMissing, CommandFailed, OSError."""
    for cut_off in Path(target).parent.glob(f"{_PREFIX}*/"):  # by the death of the agent: what a guest is told may be secret
        shutil.rmtree(cut_off)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=Path(target).parent) as directory:
        for path, data in documents(spec).items():
            file = Path(directory, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        await commands.run("genisoimage", "-quiet", "-J", "-R", "-V", LABEL, "-o", f"{target}.new", directory, timeout_s=MAKE_S)
    Path(f"{target}.new").rename(target)
