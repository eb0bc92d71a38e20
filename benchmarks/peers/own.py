"""objstore: one proxy, three nodes, a daemon and a supervisor, as `objstore ctl up` starts them."""

import json
import sys
from pathlib import Path

from benchmarks.peers.store import Store, Unobtainable

OBJSTORE = (sys.executable, "-m", "objstore.cli")


class Objstore(Store):
    """This store."""

    name = "objstore"
    durability = "3 replicas; answered when 2 have flushed body and metadata (fdatasync)"

    def __init__(self, directory: Path, port_base: int) -> None:
        super().__init__(directory, port_base)
        self.processes = str(directory)

    @property
    def version(self) -> str:
        """Of the tree that is measured."""
        return self.run([*OBJSTORE, "--version"]).split()[-1]

    def up(self) -> None:
        """`objstore ctl up`."""
        facts = json.loads(
            self.run(
                [*OBJSTORE, "ctl", "up", "--dir", self.directory, "--nodes", "3", "--proxies", "1", "--port-base", str(self.port_base)]
            )
        )
        self.endpoint = facts["s3"][0].partition("//")[2]
        self.access, self.secret = facts["access_key"], facts["secret_key"]

    def down(self) -> None:
        """`objstore ctl down`; what cannot be ended is told, and keeps the other stores from nothing."""
        try:
            self.run([*OBJSTORE, "ctl", "down", "--dir", self.directory])
        except Unobtainable as why:
            print(why, flush=True)
