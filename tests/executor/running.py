"""Runs the executor in a test: over a list of updates, or over a stream that the test feeds by hand."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Received
from copytrader_core.settings import Settings
from executor.desk import Tally
from executor.service import RunOptions, run


def received(update: pb.SubscribeUpdate) -> Received:
    return Received(b"", time.time_ns(), update)


async def over(updates: Iterable[pb.SubscribeUpdate]) -> AsyncIterator[Received]:
    for update in updates:
        yield received(update)


async def trade(url: str, updates: Iterable[pb.SubscribeUpdate], settings: Settings, *, flatten: bool = False) -> Tally:
    """A whole run in chain time over `updates`."""
    return await run(url, settings, over(updates), RunOptions(clock="chain", flatten_at_end=flatten))


class Hand:
    """A stream that the test feeds; `settled` waits until the executor has dealt with everything given to it."""

    def __init__(self, url: str, settings: Settings, **options: Any) -> None:
        self._queue: asyncio.Queue[Received | None] = asyncio.Queue()
        self.task = asyncio.create_task(run(url, settings, self._stream(), RunOptions(**options)))

    async def _stream(self) -> AsyncIterator[Received]:
        while (item := await self._queue.get()) is not None:
            yield item

    def give(self, updates: Iterable[pb.SubscribeUpdate]) -> None:
        for update in updates:
            self._queue.put_nowait(received(update))

    async def end(self) -> Tally:
        self._queue.put_nowait(None)
        return await asyncio.wait_for(self.task, 20)


def forget(url: str) -> None:
    """As if nothing had ever been traded: neither in the journal nor in the tables."""
    for path in (Path(os.environ["COPYTRADER_HOME"]) / "executor").glob("*/*.wal"):
        path.unlink()
    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE exec_journal, exec_intents, exec_positions, exec_fills, exec_projection")


def rows(url: str, query: str, *values: Any) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(query, values).fetchall()


async def until(url: str, query: str, seconds: float = 10.0) -> list[dict[str, Any]]:
    """The rows of `query` as soon as there are any."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := await asyncio.to_thread(rows, url, query):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"nothing came: {query}")


def check(url: str) -> None:
    """What must hold after every history."""
    fills = rows(url, "SELECT f.*, i.leader_sig FROM exec_fills f JOIN exec_intents i USING (intent_id)")
    buys = [fill for fill in fills if fill["side"] == "BUY"]
    sells = {fill["position_id"]: fill for fill in fills if fill["side"] == "SELL"}
    positions = {row["position_id"]: row for row in rows(url, "SELECT * FROM exec_positions")}
    assert len({(buy["leader_sig"], buy["mint"]) for buy in buys}) == len(buys), "bought twice"
    assert {buy["position_id"] for buy in buys} == set(positions), "a position was lost"
    assert len(sells) == len(fills) - len(buys), "sold twice"
    for buy in buys:
        position, sale = positions[buy["position_id"]], sells.get(buy["position_id"])
        assert (position["state"] == "CLOSED") == (sale is not None)
        assert sale is None or sale["base_raw"] == buy["base_raw"]
    unfinished = "SELECT 1 FROM exec_intents WHERE state NOT IN ('LANDED_OK', 'LANDED_ERR', 'EXPIRED')"
    assert not rows(url, unfinished)
    written = [row["intent_id"] for row in rows(url, "SELECT intent_id FROM exec_journal WHERE kind = 'FILL'")]
    assert sorted(written) == sorted(fill["intent_id"] for fill in fills), "journal and fills differ"
    for position in positions.values():
        own = [fill for fill in fills if fill["position_id"] == position["position_id"]]
        flows = [(1 if fill["side"] == "SELL" else -1) * fill["quote_lamports"] for fill in own]
        costs = sum(fill["tx_fee_lamports"] + fill["tip_lamports"] for fill in own)
        assert sum(flows) - costs == (position["proceeds_lamports"] or 0) - position["cost_lamports"]
