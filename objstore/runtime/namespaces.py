"""Network namespaces of Linux: the only door to them.

A thread enters a namespace for the length of one call; what it opened there (a socket, a tap) stays there and is used by the event loop
outside.  Paths are of files that hold a namespace ("/run/netns/NAME").
"""

import asyncio
import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from objstore.runtime.net import Listener, ProtocolFactory, SocketListener
from objstore.runtime.tasks import Threads

T = TypeVar("T")

TUN_DEVICE = "/dev/net/tun"
_CLONE_NEWNET = 0x4000_0000
_NS_GET_NSTYPE = 0xB703
_TUNSETIFF = 0x4004_54CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_IP_FREEBIND = 15  # of <linux/in.h>, also for IPv6 by way of SOL_IP's twin
_BACKLOG = 256
_ETHERTYPE_ARP = 0x0806
_SYSTEM = "/proc/sys"
_RTM_NEWLINK, _NLM_F_REQUEST, _NLM_F_ACK = 16, 1, 4
_IFLA_LINKINFO, _IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_VXLAN_LOCALBYPASS = 18, 1, 2, 31
_NETLINK_TIMEOUT_S = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


def listed(directory: str) -> list[str]:
    """Names of the namespaces that a directory holds; none where it does not exist."""
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def is_namespace(path: str) -> bool:
    """Whether a file holds a network namespace; one that is being made, or was being made when its maker died, is an empty file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False
    finally:
        os.close(descriptor)


def is_inside(path: str, pid: int) -> bool:
    """Whether a process is in a namespace; not so where either is gone."""
    try:
        return os.path.samestat(os.stat(path), os.stat(f"/proc/{pid}/ns/net"))
    except OSError:
        return False


def why_not() -> str:
    """What keeps this process from making networks of its own; "" for nothing.  Blocks; call it in a thread that is used for nothing else."""
    if not Path(TUN_DEVICE).exists():
        return f"{TUN_DEVICE} is not there: modprobe tun"
    if not _root_is_mounted(Path("/proc/self/mountinfo").read_text()):
        return "/ is no mount point here, as after chroot, and `ip netns` needs one: mount --bind the directory onto itself before chroot"
    own = _own_namespace()
    try:
        if _libc.unshare(_CLONE_NEWNET):
            return "this process may make no network namespaces: it has to run as root, or with CAP_SYS_ADMIN and CAP_NET_ADMIN"
        _enter(own)
    finally:
        os.close(own)
    return ""


def _root_is_mounted(mounts: str) -> bool:
    """Whether the lines of a mountinfo (proc(5)) have a mount at "/"."""
    return any(line.split(" ")[4] == "/" for line in mounts.splitlines())


def filters_bridges() -> bool:
    """Whether what passes a bridge is shown to rules: without it security groups would hold nothing back."""
    return Path(_SYSTEM, "net/bridge/bridge-nf-call-iptables").exists()


def inside(path: str, call: Callable[..., T], *arguments: object) -> T:
    """Make a call inside a namespace, "" for the one that this process is in.  Blocks: for a thread.  Raises OSError."""
    if not path:
        return call(*arguments)
    own = _own_namespace()
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            return call(*arguments)
        finally:
            _enter(own)
    finally:
        os.close(own)


def _own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a network namespace: {os.strerror(number)}")


def set_values(settings: Sequence[tuple[str, str]]) -> list[str]:
    """Write kernel settings ("net/ipv4/ip_forward", "1") that differ; returns what could not be written, and why.  For `inside`."""
    failures = []
    for name, value in settings:
        path = Path(_SYSTEM, name)
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as failure:
            failures.append(f"{name}: {failure.strerror}")
    return failures


def value(name: str) -> str:
    """A kernel setting; "" where there is none.  For `inside`."""
    try:
        return Path(_SYSTEM, name).read_text().strip()
    except OSError:
        return ""


def tap_descriptor(name: str) -> int:
    """Open a tap that exists, with virtio's headers; its caller closes it.  For `inside`.  Raises OSError: EBUSY where it is open already."""
    try:
        socket.if_nametoindex(name)  # or else a new one would be made by that name
    except OSError as failure:
        raise OSError(errno.ENODEV, f"there is no device {name}") from failure
    descriptor = os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def listening_socket(address: str, port: int, device: str) -> socket.socket:
    """A TCP socket that listens, also where the address comes later; `device` for link-local ones of version 6.  For `inside`."""
    six = ":" in address
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        made.bind((address, port, 0, socket.if_nametoindex(device)) if six else (address, port))
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


async def listen(threads: Threads, path: str, place: tuple[str, int, str], factory: ProtocolFactory) -> Listener:
    """Serve TCP inside a namespace: `place` is address, port, device.  Raises OSError."""
    opening = asyncio.ensure_future(threads.run(inside, path, listening_socket, *place))
    try:
        made = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unheard)  # the thread goes on, and opens it for nobody
        raise
    try:
        return SocketListener(await asyncio.get_running_loop().create_server(factory, sock=made))
    except BaseException:
        made.close()
        raise


def _close_unheard(opening: "asyncio.Future[socket.socket]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def announce(device: str, mac: str, addresses: Sequence[str]) -> None:
    """Tell a segment that addresses of version 4 are now at `mac` (RFC 826's request about oneself, as RFC 5227 has it).  For `inside`.  Raises OSError."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.bind((device, 0))
        for address in addresses:
            own = socket.inet_aton(address)
            body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + hardware + own + bytes(6) + own
            raw.send(b"\xff" * 6 + hardware + struct.pack("!H", _ETHERTYPE_ARP) + body)


def take_no_shortcut(device: str) -> None:
    """Have a VXLAN device wrap also what is for an end on this very machine (Linux 6.4's `nolocalbypass`).  For `inside`.  Raises OSError.

    The kernel's shortcut between two of them hands over packets with the connection that they had in the other namespace, where rules then see a stranger.
    """
    data = _attribute(_IFLA_VXLAN_LOCALBYPASS, b"\0")
    info = _attribute(_IFLA_INFO_KIND, b"vxlan\0") + _attribute(_IFLA_INFO_DATA, data)
    body = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(device), 0, 0) + _attribute(_IFLA_LINKINFO, info)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.settimeout(_NETLINK_TIMEOUT_S)
        netlink.send(struct.pack("=IHHII", 16 + len(body), _RTM_NEWLINK, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0) + body)
        number = -struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    if number:
        raise OSError(number, f"cannot turn off the shortcut of {device}: {os.strerror(number)}")


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)
