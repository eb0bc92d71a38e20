"""The tree of commands.  A command's module is imported when that command runs, so that each starts quickly."""

import importlib
import sys
from collections.abc import Mapping, Sequence

import click

from objstore.cli.errors import report

# command -> (where it is, what `--help` says of it)
COMMANDS: Mapping[str, tuple[str, str]] = {
    "dev": ("objstore.cli.dev:dev", "Run a cluster on this machine, in the foreground, until Ctrl-C."),
    "ctl": ("objstore.cli.ctl:ctl", "Start, stop, watch and change a cluster of processes; one JSON object an answer."),
    "snippet": ("objstore.cli.snippet:snippet", "Print a ready-to-use configuration for a client, with a cluster's endpoint and keys."),
    "du": ("objstore.cli.du:du", "What buckets hold: objects, bytes, versions, uploads; of all of them or below a prefix."),
    "cloud": ("objstore.cli.cloud:cloud", "Servers, networks and volumes on this machine, by OpenStack's APIs."),
    "volume": ("objstore.cli.volume:volume", "Make, copy, sweep and serve volumes: block devices whose chunks are objects."),
    "config": ("objstore.cli.config_command:config", "Check and show settings."),
    "policy": ("objstore.cli.policy:policy", "Explain what a bucket policy decides of a request, and which statement does."),
    "keys": ("objstore.cli.keys_command:keys", "Names and versions of the master keys of server-side encryption; add and rotate them."),
    "fsck": ("objstore.cli.offline:fsck", "Check a device's directory while its node is stopped."),
    "rebuild-index": ("objstore.cli.offline:rebuild_index", "Make a device's index anew from its packs while its node is stopped."),
    "version": ("objstore.cli.version:version", "Print the version."),
}


# What supervisors and service managers run, each with --config FILE (main.py); not among the commands for people.
ROLES: Mapping[str, str] = {
    "node": "A storage node: keeps rows and bodies on its devices.",
    "proxy": "A proxy: S3 and Swift in front of the nodes.",
    "daemon": "The background work: repair, scrub, ring changes, lifecycle.",
    "services": "OpenStack's APIs.",
    "agent": "Runs guests and makes networks on one host.",
    "disks": "Serves the volumes of one host's guests.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports them when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but an unknown command is answered with the nearest one."""
        if args and args[0] in ROLES:
            return args[0], _role_help(args[0]), args[1:]
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from objstore.runtime.config import nearest

            raise click.UsageError(f"there is no command {args[0]!r}; {nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _role_help(role: str) -> click.Command:
    told = f"{ROLES[role]}\n\nA process of a cluster, as its supervisor or a service manager runs it; `objstore ctl` starts and stops all of them."
    file = click.Option(
        ["--config"], required=True, metavar="FILE", help="Its settings: D/NAME/config.toml of a cluster that was laid in D."
    )
    return click.Command(role, params=[file], help=told, context_settings={"help_option_names": ["-h", "--help"]})


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="objstore", prog_name="objstore", message="%(prog)s %(version)s")
def objstore() -> None:
    """A strongly consistent, S3-compatible distributed object store.

    First steps: objstore dev, then objstore snippet boto3.
    """


def run(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    as_json = bool(words) and words[0] == "ctl"
    try:
        code = objstore.main(args=list(words), prog_name="objstore", standalone_mode=False)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("aborted", file=sys.stderr)
        return 1
    except click.UsageError as usage:
        if as_json:
            return report(usage.format_message(), code=2)
        usage.show()
        return 2
    except click.ClickException as failure:
        failure.show()
        return failure.exit_code
    return code if isinstance(code, int) else 0
