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
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from objstore.runtime.config import nearest

            raise click.UsageError(f"there is no command {args[0]!r}; {nearest(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
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
