"""dnsmasq and radvd, one each for a namespace that needs it: started, found again, started anew when their configuration changes.

They outlive the agent.  Which one serves what, and by which configuration, is in its arguments: the file is named by namespace and digest, so nothing has
to be remembered and no file with a process's number can be stale.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from objstore.runtime import commands, namespaces
from objstore.runtime.clock import Clock
from objstore.runtime.commands import CommandFailed, Running
from objstore.runtime.disk import Disk
from objstore.runtime.tasks import Threads
from objstore.services.network.driver.names import namespace_path

_SETTLE_S = 0.15  # after which a program that does not like its configuration has ended
_TOLD_BYTES = 600


@dataclass(frozen=True)
class Server:
    """One that should run."""

    space: str
    kind: str
    text: str

    @property
    def file(self) -> str:
        """Its configuration's name."""
        return f"{self.space}.{hashlib.sha256(self.text.encode()).hexdigest()[:16]}.{self.kind}"


class Servers:
    """The processes below one directory, which is absolute and this driver's alone."""

    def __init__(self, disk: Disk, directory: str, threads: Threads, clock: Clock) -> None:
        self._disk = disk
        self._directory = directory
        self._threads = threads
        self._clock = clock

    async def running(self) -> dict[str, list[Running]]:
        """Configuration's name -> its processes: radvd has two."""
        found: dict[str, list[Running]] = {}
        for option in ("--conf-file=", "--config="):
            begin = f"{option}{self._directory}/"
            for process, arguments in (await self._threads.run(commands.processes_with, begin)).items():
                for argument in arguments:
                    if argument.startswith(begin):
                        found.setdefault(argument.removeprefix(begin), []).append(process)
        return found

    async def test(self, server: Server) -> str:
        """Why dnsmasq does not take a configuration; "" when it does."""
        await self._threads.run(self._write, server)
        # Inside, since it looks for its devices.
        test = (commands.find("dnsmasq"), "--test", f"--conf-file={self._directory}/{server.file}")
        answer = await commands.run("ip", "netns", "exec", server.space, *test, check=False)
        return answer.stderr.strip() if answer.code else ""

    async def settle(self, space: str, wanted: Collection[Server], running: dict[str, list[Running]]) -> None:
        """Have exactly these run in a namespace.  Raises CommandFailed, ProgramMissing."""
        files = {server.file for server in wanted}
        await self._end(space, files, running)
        strays = await self._threads.run(_strays, space, [p for file in sorted(files) for p in running.get(file, [])])
        for process in strays:  # what is left in a namespace that is gone, or only says that it is one
            await commands.end(process)
        running = {file: [p for p in processes if p not in strays] for file, processes in running.items()}
        started = [(server, await self._start(server)) for server in wanted if not running.get(server.file)]
        if started:
            await self._threads.run(self._forget, space, files)
            await self._clock.sleep(_SETTLE_S)
        for server, process in started:
            if not commands.is_running(process):
                said = await self._threads.run(self._said, server)
                raise CommandFailed(f"{server.kind} has ended: {said}", program=server.kind, code=-1, stderr=said)

    async def end(self, space: str, running: dict[str, list[Running]]) -> None:
        """End what serves a namespace, and forget its configuration."""
        await self._end(space, (), running)
        await self._threads.run(self._forget, space, ())

    async def _end(self, space: str, kept: Collection[str], running: dict[str, list[Running]]) -> None:
        for file, processes in running.items():
            if file.startswith(f"{space}.") and file not in kept:
                for process in processes:
                    await commands.end(process)

    async def _start(self, server: Server) -> Running:
        await self._threads.run(self._write, server)
        path = f"{self._directory}/{server.file}"
        if server.kind == "dnsmasq":
            arguments: tuple[str, ...] = ("--keep-in-foreground", "--pid-file=", f"--conf-file={path}")
        else:
            arguments = ("--nodaemon", "--logmethod=stderr", f"--pidfile={path}.pid", f"--config={path}")
        program = commands.find(server.kind)
        return commands.start(
            "ip", "netns", "exec", server.space, program, *arguments, log=f"{self._directory}/{server.space}.{server.kind}.log"
        )

    def _write(self, server: Server) -> None:
        file = self._disk.open(server.file, create=True, write=True)
        try:
            file.pwrite([server.text.encode()], 0)
            file.truncate(len(server.text.encode()))
        finally:
            file.close()

    def _forget(self, space: str, kept: Collection[str]) -> None:
        """Configurations of before, and logs: what runs has its own still open."""
        for name in self._disk.list("."):
            in_use = bool(kept) and (name in kept or name.endswith((".log", ".pid")))
            if name.startswith(f"{space}.") and not in_use:
                self._disk.unlink(name)

    def _said(self, server: Server) -> str:
        file = self._disk.open(f"{server.space}.{server.kind}.log")
        try:
            return file.pread(_TOLD_BYTES, max(0, file.size() - _TOLD_BYTES)).decode(errors="replace").strip()
        finally:
            file.close()


def _strays(space: str, processes: list[Running]) -> list[Running]:
    """Those that are not in a namespace."""
    return [process for process in processes if not namespaces.is_inside(namespace_path(space), process.pid)]
