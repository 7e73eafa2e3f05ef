"""The executor's connections: given up soon where nobody answers, so that a Postgres that hangs is a Postgres away.

What is read and written by them is `executor.database`'s and `executor.projector`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow

ANSWER_SECONDS: Final = 5.0
# The kernel's part, for connections that nobody waits at: a dead peer is noticed within 15 s.
_LINE: Final[Mapping[str, Any]] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 5,
    "tcp_user_timeout": 10_000,
}
# The server's part: by default it takes two hours to find out that we are gone, and keeps our lock so long.
_SESSION: Final = (
    "-c timezone=UTC -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=5"
    " -c tcp_user_timeout=10000"
)


async def connect(url: str) -> AsyncConnection[DictRow]:
    """A connection of the executor's, in autocommit. Raises psycopg.OperationalError while there is no Postgres."""
    return await AsyncConnection.connect(
        url,
        autocommit=True,
        row_factory=psycopg.rows.dict_row,
        options=_SESSION,
        application_name="copytrader executor",
        **_LINE,
    )


@contextlib.contextmanager
def patience(connection: AsyncConnection[Any], seconds: float | None = None) -> Iterator[None]:
    """Hangs up on a server that has not answered in time: what waits for it fails with psycopg.OperationalError.

    Cancelling would not do: psycopg then waits for the server to agree.
    """
    wait = ANSWER_SECONDS if seconds is None else seconds
    timer = asyncio.get_running_loop().call_later(wait, _hang_up, connection)
    try:
        yield
    finally:
        timer.cancel()


async def answers(url: str) -> str | None:
    """None if there is a Postgres that answers, else what is wrong."""
    try:
        async with await connect(url) as connection:
            with patience(connection):
                await connection.execute("SELECT 1")
    except psycopg.Error as error:
        return told(error)
    return None


def told(error: BaseException) -> str:
    """An error on one line. What is wrong with a URL is not repeated: its password may stand there."""
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        return "DATABASE_URL is no URL that Postgres can read: check its characters, those of the password too"
    return " ".join(str(error).split())


def _hang_up(connection: AsyncConnection[Any]) -> None:
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
