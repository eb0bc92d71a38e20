"""A program in QEMU's place for tests without one: it speaks just so much of its monitor that a guest lives and dies.

Run as `qemu-system-x86_64 ARGUMENTS` in the guest's directory.  The power button ends it, except where the guest's memory is 13 MiB: that one is
deaf.  With 7 MiB it does not start.  `device_del` is obeyed at once, but not of devices with "stuck" in their serial.
"""

import json
import os
import socket
import stat
import sys
import threading
import time
from pathlib import Path


class Guest:
    def __init__(self, arguments: list[str]) -> None:
        self.memory = arguments[arguments.index("-m") + 1]
        self.devices = {d["id"]: d for d in self.documents(arguments, "-device") if "id" in d}
        self.nodes = {n["node-name"]: n for n in self.documents(arguments, "-blockdev")}
        self.running = True
        self.pause_at_end = False
        self.status = "inmigrate" if "-incoming" in arguments else "running"
        self.migration = ""
        self.stream: socket.socket | None = None
        self.coming = False

    def receive(self) -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("migrate.sock")
            listening.listen()
            got = b""
            with listening.accept()[0] as connection:
                while piece := connection.recv(100):
                    self.coming = True
                    got += piece
            if got.endswith(b"END"):
                self.status = "running"
            self.coming = False

    def migrate(self, command: str, tell) -> object:
        match command:
            case "migrate-incoming":
                threading.Thread(target=self.receive, daemon=True).start()
                while not Path("migrate.sock").exists():
                    time.sleep(0.01)
            case "migrate":
                self.stream = socket.socket(socket.AF_UNIX)
                self.stream.connect("migrate.sock")
                self.stream.sendall(b"memory")
                self.migration, self.status = "pre-switchover", "paused"
                tell("STOP")
            case "migrate-continue":
                self.stream.sendall(b"END")
                self.stream.close()
                self.migration, self.status = "completed", "postmigrate"
            case "migrate_cancel" if self.migration == "pre-switchover":
                self.stream.close()
                self.migration, self.status = "cancelled", "running"
                tell("RESUME")
            case "query-migrate":
                return {"status": self.migration} if self.migration else {}
        return {}

    @staticmethod
    def documents(arguments: list[str], option: str) -> list[dict]:
        return [json.loads(arguments[i + 1]) for i, word in enumerate(arguments) if word == option and arguments[i + 1].startswith("{")]

    def obey(self, command: str, arguments: dict, tell) -> object:
        match command:
            case "query-status":
                for _ in range(50):  # what the sender knows to be sent may be on its way; a real one has it told by the other side
                    if self.coming and self.status == "inmigrate":
                        time.sleep(0.01)
                return {"status": self.status}
            case "stop" | "cont":
                self.status = "paused" if command == "stop" else "running"
                tell("STOP" if command == "stop" else "RESUME")
            case "set-action":
                self.pause_at_end = arguments["shutdown"] == "pause"
            case "system_powerdown" if self.memory != "size=13M":
                tell("SHUTDOWN", guest=True, reason="guest-shutdown")
                self.running = self.pause_at_end
                self.status = "shutdown"
            case "system_reset":
                tell("RESET", guest=False)
                with Path("console.log").open("a") as log:
                    log.write("again\n")
            case "quit":
                tell("SHUTDOWN", guest=False, reason="host-qmp-quit")
                self.running = False
            case "blockdev-add":
                self.nodes[arguments["node-name"]] = arguments
            case "blockdev-del":
                self.nodes.pop(arguments["node-name"], None)
            case "blockdev-reopen":
                self.nodes.update({one["node-name"]: one for one in arguments["options"]})
            case "device_add":
                self.devices[arguments["id"]] = arguments
            case "device_del":
                device = self.devices.get(arguments["id"])
                if device is None:
                    raise LookupError("DeviceNotFound")
                if "stuck" not in device.get("serial", ""):
                    del self.devices[arguments["id"]]
                    tell("DEVICE_DELETED", device=arguments["id"])
            case "qom-list":
                return [{"name": name} for name in self.devices]
            case "query-named-block-nodes":
                return [{"node-name": name} for name in self.nodes]
            case "human-monitor-command":
                return ""
            case _:
                return self.migrate(command, tell)
        return {}


def main() -> None:
    guest = Guest(sys.argv)
    if guest.memory == "size=7M":
        sys.exit("there is something wrong with this guest")
    with Path("console.log").open("a") as log:
        log.write("hello\n")
    path = Path("qmp.sock")
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        while guest.running:
            serve(guest, listening.accept()[0])
    os._exit(0)


def serve(guest: Guest, connection: socket.socket) -> None:
    with connection, connection.makefile("rwb") as stream:

        def say(**what: object) -> None:
            stream.write(json.dumps(what).encode() + b"\n")
            stream.flush()

        say(QMP={})
        try:
            while guest.running and (line := stream.readline()):
                asked = json.loads(line)
                try:
                    answer = guest.obey(asked["execute"], asked.get("arguments", {}), lambda name, **data: say(event=name, data=data))
                except LookupError as missing:
                    say(id=asked["id"], error={"class": str(missing), "desc": "there is none"})
                else:
                    say(id=asked["id"], **{"return": answer})
        except (BrokenPipeError, ConnectionResetError):
            pass


if __name__ == "__main__":
    main()
