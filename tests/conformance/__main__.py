"""python -m tests.conformance [CLIENT...]: real clients, each over HTTP and TLS, by path and by host; a table at the end.

Exit 1 when a scenario fails that ratchet.toml says has passed before, or any at all with --strict.  A client that cannot be
installed, and a scenario that means nothing for it, stand in the table as skipped with the reason.
"""

import argparse
import signal
import sys
import time

from tests.conformance import ratchet
from tests.conformance.clients.environments import Client, Unobtainable, catalogue, install
from tests.conformance.clients.stage import TRANSPORTS, Outcome, Stage, stage

SIGNS = {"ok": "ok", "failed": "FAIL", "skipped": "-"}
Results = dict[tuple[str, str], list[Outcome]]  # (client, transport)


def main() -> int:
    """Run the clients and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("clients", nargs="*", help="names of clients.toml; default: all")
    parser.add_argument("--transports", default=",".join(TRANSPORTS))
    parser.add_argument("--strict", action="store_true", help="fail on whatever fails, known or not")
    parser.add_argument("--grow", action="store_true", help="write what passes now into ratchet.toml")
    options = parser.parse_args()
    known = catalogue()
    chosen = options.clients or list(known)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        parser.error(f"no such client: {', '.join(unknown)}")
    transports = tuple(options.transports.split(","))
    results: Results = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the clusters are taken down with a run that is cut off
    schemes = tuple(sorted({transport.partition("-")[0] for transport in transports}))
    with stage(schemes) as played:
        for name in chosen:
            _play(played, known[name], transports, results)
            if options.grow:
                ratchet.grow("clients", _named(results, "ok"))
    print(table(results, transports))
    return _verdict(results, strict=options.strict)


def _play(played: Stage, client: Client, transports: tuple[str, ...], results: Results) -> None:
    began = time.monotonic()
    try:
        installed = install(client)
    except Unobtainable as reason:
        for transport in transports:
            results[client.name, transport] = [Outcome("*", "skipped", f"not installed: {reason}")]
        print(f"{client.name}: not installed: {reason}", flush=True)
        return
    for transport in transports:
        outcomes = results[client.name, transport] = played.play(installed, transport)
        failed = [outcome for outcome in outcomes if outcome.result == "failed"]
        passed = sum(outcome.result == "ok" for outcome in outcomes)
        print(f"{client.name} {transport}: {passed} ok, {len(failed)} failed ({time.monotonic() - began:.0f} s)", flush=True)
        for outcome in failed:
            print(f"    {outcome.scenario}: {outcome.detail}", flush=True)


def table(results: Results, transports: tuple[str, ...]) -> str:
    """Client and scenario by transport, and below it why something was skipped."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    reasons: dict[str, None] = {}
    for (client, transport), outcomes in results.items():
        for outcome in outcomes:
            rows.setdefault((client, outcome.scenario), {})[transport] = SIGNS[outcome.result]
            if outcome.result == "skipped":
                reasons[f"  {client}, {outcome.scenario}: {outcome.detail}"] = None
    width = max((len(f"{client}  {scenario}") for client, scenario in rows), default=20) + 2
    lines = ["".join(["client  scenario".ljust(width), *(name.ljust(12) for name in transports)])]
    for (client, scenario), cells in rows.items():
        lines.append("".join([f"{client}  {scenario}".ljust(width), *(cells.get(name, "").ljust(12) for name in transports)]))
    return "\n".join([*lines, "", "skipped, and why:", *reasons] if reasons else lines)


def _named(results: Results, result: str) -> set[str]:
    """client/scenario/transport of whatever ended so."""
    return {
        f"{client}/{each.scenario}/{transport}" for (client, transport), found in results.items() for each in found if each.result == result
    }


def _verdict(results: Results, *, strict: bool) -> int:
    passed, failed, skipped = (_named(results, result) for result in ("ok", "failed", "skipped"))
    lost = ratchet.lost("clients", passed, failed)
    for name in sorted(lost):
        print(f"passed before and fails now: {name}")
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if lost or (strict and failed) else 0


if __name__ == "__main__":
    sys.exit(main())
