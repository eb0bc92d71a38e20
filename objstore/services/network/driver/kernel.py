"""The one door to what changes a host's network: `ip`, `bridge` and `nft`, always with these arguments, their orders on standard input."""

import re
from collections.abc import Sequence

import msgspec

from objstore.runtime import commands
from objstore.services.network.driver import differences, names
from objstore.services.network.driver.differences import Seen

PROGRAMS = ("ip", "bridge", "nft", "dnsmasq")  # and radvd, where a router has guests of version 6
_FAILED_LINE = re.compile(r"^Command failed -:([0-9]+)$")
_SHOWN_FAILURES = 5
_NFT_TIMEOUT_S = 120.0  # thousands of rules on a busy host take their time


def _in(space: str) -> tuple[str, ...]:
    return ("-n", space) if space else ()


async def look(space: str, *, tunnel_port: int = 0) -> Seen:
    """A namespace as it is, "" for the host's; with its tunnel's port also where that sends what.  Raises CommandFailed."""
    shown = await commands.run("ip", *_in(space), "-j", "-d", "-batch", "-", stdin=differences.SHOW.encode())
    routes6 = await commands.run("ip", *_in(space), "-6", "-j", "route", "show")
    forwarding = b""
    if tunnel_port:
        answer = await commands.run("bridge", *_in(space), "-j", "fdb", "show", "dev", names.TUNNEL, check=False)
        forwarding = b"" if answer.code else answer.stdout  # there is no tunnel yet
    try:
        return differences.seen(shown.stdout, routes6.stdout, forwarding, tunnel_port)
    except (ValueError, KeyError, TypeError) as failure:
        raise commands.CommandFailed(f"ip shows what is not understood: {failure!r}") from failure


async def batch(space: str, lines: Sequence[str], program: str = "ip") -> list[str]:
    """Carry out lines, all of them; returns those that failed, with why."""
    if not lines:
        return []
    assert not any("\n" in line for line in lines)
    text = "\n".join(lines) + "\n"
    output = await commands.run(program, *_in(space), "-force", "-batch", "-", stdin=text.encode(), check=False)
    return failures(lines, output.stderr) if output.code else []


def failures(lines: Sequence[str], said: str) -> list[str]:
    """Which lines failed, by what a program says: a complaint, then the line's number."""
    found: list[str] = []
    why: list[str] = []
    for words in said.splitlines():
        if match := _FAILED_LINE.match(words.strip()):
            number = int(match.group(1))
            line = lines[number - 1] if number <= len(lines) else "?"
            found.append(f"{line}: {' '.join(why) or 'failed'}")
            why = []
        elif words.strip():
            why.append(words.strip())
    return [*found, *why][:_SHOWN_FAILURES] or ["failed"]


async def stamps(space: str) -> set[tuple[str, str, str]]:
    """(family, table, chain) of all rules in a namespace.  Raises CommandFailed."""
    answer = await _nft(space, "-j", "list", "chains")
    try:
        shown = msgspec.json.decode(answer.stdout)["nftables"]
        return {(entry["chain"]["family"], entry["chain"]["table"], entry["chain"]["name"]) for entry in shown if "chain" in entry}
    except (msgspec.DecodeError, KeyError, TypeError) as failure:
        raise commands.CommandFailed(f"nft shows what is not understood: {failure!r}") from failure


async def load(space: str, text: str) -> None:
    """Replace the tables that a text names, all at once.  Raises CommandFailed; nothing has changed then."""
    await _nft(space, "-f", "-", stdin=text.encode())


async def _nft(space: str, *arguments: str, stdin: bytes = b"") -> commands.Output:
    if not space:
        return await commands.run("nft", *arguments, stdin=stdin, timeout_s=_NFT_TIMEOUT_S)
    return await commands.run("ip", "netns", "exec", space, commands.find("nft"), *arguments, stdin=stdin, timeout_s=_NFT_TIMEOUT_S)
