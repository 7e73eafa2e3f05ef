"""Calls `copytrader` as a user would, in a process of its own, and the local chain beside it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from copytrader_cli.demo import address_in
from simnet.demo_tape import TAPE

PATIENCE_SECONDS = 240


def copytrader(*arguments: str, environment: Mapping[str, str], status: int | None = 0) -> str:
    """Both outputs of one command; `status` is what it must end with, None for any."""
    done = subprocess.run(
        [sys.executable, "-m", "copytrader_cli.main", *arguments],
        env=clean_environment() | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert status is None or done.returncode == status, f"{arguments} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Ours without anything that says where a database or a home is."""
    own = ("COPYTRADER_", "DAGSTER_", "PG", "DATABASE_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


@contextmanager
def playing(folder: Path, *arguments: str) -> Iterator[str]:
    """The committed tape as a Yellowstone endpoint; yields its address."""
    log = folder / "chain.log"
    with log.open("w") as output:
        chain = subprocess.Popen(
            [sys.executable, "-m", "copytrader_cli.main", "simnet", "play", str(TAPE), *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield address_in(log)
    finally:
        chain.send_signal(signal.SIGTERM)
        chain.wait(PATIENCE_SECONDS)


def parsed(command: click.Command, arguments: Sequence[str]) -> None:
    """Raises click's UsageError, or AssertionError, for a command or an option that does not exist."""
    given = list(arguments)
    context = click.Context(command)
    while isinstance(command, click.Group):
        assert given, "a command is missing"
        found = command.get_command(context, given[0])
        assert found is not None, f"there is no command {given[0]}"
        command = found
        # A group with a command of its own takes what is left.
        given = given[1:]
    command.make_context(command.name, given)


def rpc_address(folder: Path) -> str:
    """The node of the chain that `playing` started in `folder` with --rpc-port."""
    log = folder / "chain.log"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := re.search(r"^rpc (\S+)$", log.read_text(), re.MULTILINE)):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found[1]
