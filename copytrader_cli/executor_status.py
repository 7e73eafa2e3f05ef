"""`copytrader executor status`: one look, or a table that stays."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import orjson
import psycopg
from rich.console import Console, RenderableType
from rich.live import Live

from copytrader_cli.executor_table import status_tables
from copytrader_core.errors import StoreError
from copytrader_core.settings import settings
from copytrader_core.store.postgres import connect, database_url
from executor.status import Status, StatusReader

__all__ = ["perhaps_connected", "show"]

_REFRESH_SECONDS = 1.0
_CONNECT_SECONDS = "3"


def show(mode: str, n_decisions: int, *, watch: bool, as_json: bool) -> None:
    """Prints the status. A table that stays needs a terminal; elsewhere there is one look in plain text."""
    reader = StatusReader(mode, settings().home_path / "executor", n_decisions)
    if as_json:
        document = orjson.dumps(_look(reader).document(), default=_whole, option=orjson.OPT_INDENT_2)
        sys.stdout.buffer.write(document + b"\n")
        return
    console = Console()
    if not (watch and console.is_terminal):
        console.print(status_tables(_look(reader)))
        return
    with Live(_shown(reader), console=console, auto_refresh=False, screen=True) as live:
        try:
            while True:
                time.sleep(_REFRESH_SECONDS)
                live.update(_shown(reader), refresh=True)
        except KeyboardInterrupt:
            return


@contextmanager
def perhaps_connected() -> Iterator[tuple[psycopg.Connection[Any] | None, str | None]]:
    """A connection, or None and the reason why there is none. A host that does not answer is given up after 3 s."""
    os.environ.setdefault("PGCONNECT_TIMEOUT", _CONNECT_SECONDS)
    try:
        connection = connect(database_url())
    except (StoreError, psycopg.Error, OSError) as error:
        yield None, " ".join(str(error).split())
        return
    with connection:
        yield connection, None


def _look(reader: StatusReader) -> Status:
    try:
        with perhaps_connected() as (connection, away):
            return reader.read(connection, away)
    except psycopg.OperationalError as error:
        return reader.read(None, " ".join(str(error).split()))


def _shown(reader: StatusReader) -> RenderableType:
    return status_tables(_look(reader))


def _whole(value: object) -> int | str:
    """Postgres' NUMERIC as the integer that it is; anything else as text."""
    return int(value) if isinstance(value, Decimal) else str(value)
