"""The `copytrader` command: a table of lazily imported commands, one way of failing.

Exit status: 0 done, 1 the work failed (the message says what to do), 2 wrong usage.
"""

from __future__ import annotations

import importlib
import os
import sys

import click
import typer

from copytrader_core.errors import CopytraderError

# name -> "module:Typer application"; a command's module is imported when it is called, so that none pays for another.
COMMANDS = {
    "db": "copytrader_cli.commands.db",
    "doctor": "copytrader_cli.commands.doctor",
    "wallets": "copytrader_cli.commands.wallets",
    "decode": "copytrader_cli.commands.decode",
    "ingest": "copytrader_cli.commands.ingest",
    "backfill": "copytrader_cli.commands.backfill",
    "dead-letters": "copytrader_cli.commands.dead_letters",
    "seal": "copytrader_cli.commands.seal",
    "retention": "copytrader_cli.commands.retention",
    "sql": "copytrader_cli.commands.sql",
    "materialize": "copytrader_cli.commands.materialize",
    "ui": "copytrader_cli.commands.ui",
    "executor": "copytrader_cli.commands.executor",
    "cockpit": "copytrader_cli.commands.cockpit",
    "alerts": "copytrader_cli.commands.alerts",
    "explain": "copytrader_cli.commands.explain",
    "backtest": "copytrader_cli.commands.backtest",
    "report": "copytrader_cli.commands.report",
    "simnet": "copytrader_cli.commands.simnet",
}
# These read whole days: Arrow's own allocator keeps some 20 MB of what it has freed, the C library's gives it back.
_PLAIN_MEMORY = ("backtest", "report")
SUMMARIES = {
    "db": "Start, find, stop, back up or restore the database.",
    "doctor": "Check this set-up and say what to do.",
    "wallets": "Import the tracked wallets and their names.",
    "decode": "Decode recorded transactions to raw_events rows.",
    "ingest": "Run the ingest worker in the foreground.",
    "backfill": "Hydrate history and fill gaps through RPC.",
    "dead-letters": "List what could not be decoded, decode it again.",
    "seal": "Declare days of raw_events complete.",
    "retention": "Drop old days of raw_events that the lake holds.",
    "sql": "Query the lake.",
    "materialize": "Compute every asset for a range of days.",
    "ui": "Open Dagster's web server and daemon.",
    "executor": "Run and control the executor.",
    "cockpit": "Open the cockpit: one page with everything at a glance.",
    "alerts": "Send alerts to a phone or a webhook, and take orders from the phone.",
    "explain": "Tell why a signal was taken or refused.",
    "backtest": "Walk the policy forward over recorded days.",
    "report": "Write the HTML report.",
    "simnet": "Run the local chain.",
}


class _LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name in _PLAIN_MEMORY:
            os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
        application: typer.Typer = importlib.import_module(COMMANDS[cmd_name]).app
        command = typer.main.get_command(application)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Copy trading for pump.fun: chain, events, round trips, fingerprints, decisions."""


def main() -> None:
    """Entry point. A CopytraderError is one message and exit 1; any other error is a bug and keeps its traceback."""
    # Without this the gRPC library logs every ordinary end of a connection.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        cli.main(prog_name="copytrader", standalone_mode=True)
    except CopytraderError as error:
        print(f"copytrader: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
