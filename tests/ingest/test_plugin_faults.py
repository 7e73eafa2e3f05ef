"""Every fault of a provider with the open-source plugin's rules, real transactions, and a node to fill what is left.

After each: every event stands there once, or its slot in an open gap; and after a backfill every event stands there.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import islice
from typing import Any

import grpc
import psycopg
import pytest
from backfill_chain import FAR_AWAY, backfill, node
from nursery import nursery
from plugin_double import Fault, Plugin, plugged
from plugin_wire import Block
from worker_runs import QUICK, Heard, Proxy, ended, open_gaps, proxied, query, until

from copytrader_core.geyser.client import Endpoint
from copytrader_core.geyser.copytrader_geyser_pb2 import SubscribeUpdateBlock
from ingest_worker import worker
from ingest_worker.landing import decoder
from ingest_worker.subscription import Filter, Shape
from ingest_worker.worker import Options
from simnet.demo_tape import TAPE
from simnet.tape import read_tape

Code = grpc.StatusCode
UNAVAILABLE, INTERNAL = (Code.UNAVAILABLE, "going away"), (Code.INTERNAL, "boom")
ROWS = (
    "SELECT slot, tx_index, sig, outer_ix, inner_ix, event_seq, wallet, action, mint, base_raw::text, quote_raw::text,"
    " ts_ns FROM raw_events ORDER BY slot, tx_index, outer_ix, inner_ix, event_seq"
)


@cache
def recorded(n: int) -> tuple[SubscribeUpdateBlock, ...]:
    return tuple(islice(read_tape(TAPE).blocks, n))


def official(n: int) -> list[Any]:
    """The first `n` blocks of the local chain's tape, as the official messages read their bytes."""
    return [Block.FromString(block.SerializeToString()) for block in recorded(n)]


def truth(blocks: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Every event of the blocks, decoded without a stream, a worker or a database."""
    decode, rows, kept = decoder(), [], {block.slot for block in blocks if block.transactions}
    for block in recorded(len(blocks)):
        for info in block.transactions if block.slot in kept else ():
            if not info.meta.HasField("err"):
                for it in decode(info, block.slot, block.block_time.timestamp).events:
                    raws = tuple(None if raw is None else str(raw) for raw in (it.base_raw, it.quote_raw))
                    place = (it.slot, it.tx_index, it.sig, it.outer_ix, it.inner_ix, it.event_seq)
                    rows.append((*place, it.wallet, it.action, it.mint, *raws, block.block_time.timestamp * 10**9))
    return sorted(rows, key=lambda row: (row[0], row[1], *row[3:6]))


async def follow(
    plugin: Plugin, url: str, heard: Heard, done: Callable[[], bool] | None = None, **changes: Any
) -> None:
    """A worker until the node's last block is committed."""
    options = Options(
        Endpoint(plugin.address), url, **{"waits": QUICK, "hold_seconds": 0.3, "complete_start": True, **changes}
    )
    await ended(options, None, heard, done or (lambda: heard.landed_slot >= plugin.last_slot))


async def check(url: str, blocks: Sequence[Any]) -> list[tuple[int, int]]:
    """Nothing is missing in silence, and nothing at all once the node has been asked. Returns the gaps before that."""
    gaps, expected = open_gaps(url), truth(blocks)
    outside = [row for row in expected if not any(start <= row[0] <= end for start, end in gaps)]
    rows = query(url, ROWS)
    assert [row for row in rows if not any(start <= row[0] <= end for start, end in gaps)] == outside
    if gaps:
        async with node() as rpc:
            await backfill(rpc, url, period=FAR_AWAY)
    assert open_gaps(url) == []
    assert query(url, ROWS) == expected
    assert query(url, "SELECT count(*), count(DISTINCT slot) FROM ingest_slots") == [(len(blocks), len(blocks))]
    return gaps


def cuts(ends_with: tuple[grpc.StatusCode, str] | None) -> list[Fault]:
    return [Fault(after, ends_with) for after in (40, 90, 7, 55)]


WITHOUT_LOSS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "UNAVAILABLE": {"faults": cuts(UNAVAILABLE)},
    "INTERNAL": {"faults": cuts(INTERNAL)},
    "clean EOF": {"faults": cuts(None)},
    "lagged": {"faults": cuts((Code.INTERNAL, "lagged to send an update"))},
    "stall": {"faults": [Fault(60, stalls=True), Fault(30, stalls=True)]},
    "an outage within the window": {"faults": [Fault(60, UNAVAILABLE, outage_blocks=40)]},
    "slots twice": {"repeats": 2, "faults": [Fault(150, UNAVAILABLE)]},
    "empty blocks left out": {"leaves_out_empty": True},
    "a block lost": {},
}


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("name", WITHOUT_LOSS)
async def test_the_stream_alone_gives_the_truth_in_spite_of(pg_url: str, name: str, shape: Shape) -> None:
    blocks, heard, changes = official(120), Heard(), dict(WITHOUT_LOSS[name])
    faults = list(changes.pop("faults", ()))
    if name == "empty blocks left out":
        for block in blocks[20:100:9]:
            del block.transactions[:]
    if name == "a block lost":
        changes["lost_blocks"] = {blocks[at].slot for at in (40, 41, 70)}
    async with plugged(Plugin(blocks, list(faults), **changes)) as plugin:
        await follow(plugin, pg_url, heard, lambda: is_whole(heard, plugin), shape=shape, stall_seconds=0.5)
        assert plugin.faults == [] and len(heard.reasons) >= len(faults)
    assert await check(pg_url, blocks) == []


def is_whole(heard: Heard, plugin: Plugin) -> bool:
    """The last block is committed, and whatever hole was met on the way is whole again."""
    return heard.landed_slot >= plugin.last_slot and set(heard.opened) <= set(heard.filled)


WITH_A_GAP: dict[str, dict[str, Any]] = {
    "an outage longer than the window": {"stored_slots": 15, "faults": [Fault(60, UNAVAILABLE, outage_blocks=50)]},
    "a stall longer than the window": {"stored_slots": 5, "faults": [Fault(60, stalls=True)]},
    "a node that was restarted": {"faults": [Fault(60, UNAVAILABLE, outage_blocks=30, restarts=True)]},
    "a node that does not replay": {"stored_slots": 0, "faults": [Fault(60, UNAVAILABLE, outage_blocks=20)]},
    "two outages": {
        "stored_slots": 10,
        "faults": [Fault(50, UNAVAILABLE, outage_blocks=25), Fault(30, None), Fault(30, INTERNAL, outage_blocks=25)],
    },
}
REASONS = {
    "a node that does not replay": "from_slot is not supported",
    "a node that was restarted": "replay from slot",
}


@pytest.mark.parametrize("shape", list(Shape))
@pytest.mark.parametrize("name", WITH_A_GAP)
async def test_every_missing_slot_is_written_down_and_filled_by_the_backfill_after(
    pg_url: str, name: str, shape: Shape
) -> None:
    blocks, heard, changes = official(150), Heard(), dict(WITH_A_GAP[name])
    async with plugged(Plugin(blocks, list(changes.pop("faults")), **changes)) as plugin:
        await follow(plugin, pg_url, heard, shape=shape, stall_seconds=0.5)
        assert plugin.faults == []
    reasons = " ".join(reason for (reason,) in query(pg_url, "SELECT reason FROM ingest_gaps"))
    assert REASONS.get(name, "") in reasons
    assert await check(pg_url, blocks) != []


async def test_twenty_kills_and_a_window_that_is_too_small_for_some_of_them(pg_url: str) -> None:
    rng, blocks, heard = random.Random(9), official(1500), Heard()
    plugin = Plugin(blocks, stored_slots=25, seconds_per_block=0.01)
    async with plugged(plugin), nursery(plugin.address, pg_url, planted=False) as workers:
        await follow(plugin, pg_url, heard, lambda: heard.landed_slot > blocks[3].slot)
        for kill in range(20):
            subscribed, pid = plugin.connections, await workers.start()
            if kill % 2:
                await until(partial(has_subscribed, plugin, subscribed))
            await asyncio.sleep(rng.uniform(0.0, 0.3))
            os.kill(pid, signal.SIGKILL)
        plugin.seconds_per_block = 0.001
        await follow(plugin, pg_url, heard)
    await check(pg_url, blocks)


def has_subscribed(plugin: Plugin, before: int) -> bool:
    return plugin.connections > before


async def test_pings_are_answered_and_leave_the_filter_as_it_is(pg_url: str) -> None:
    blocks, heard = official(150), Heard()
    async with plugged(Plugin(blocks, seconds_per_ping=0.05, seconds_per_block=0.01)) as plugin:
        await follow(plugin, pg_url, heard, lambda: plugin.pongs > 2 and heard.landed_slot >= plugin.last_slot)
        assert plugin.connections == 1
    assert await check(pg_url, blocks) == []


async def test_blocks_that_are_left_out_for_a_wallet_filter_are_read_as_transactions(pg_url: str) -> None:
    blocks, heard, expected = official(120), Heard(), truth(official(120))
    tracked = sorted({row[6] for row in expected})[:4]
    with psycopg.connect(pg_url, autocommit=True) as connection:
        for wallet in tracked:
            connection.execute("INSERT INTO wallets (wallet, is_tracked) VALUES (%s, true)", (wallet,))
    async with plugged(Plugin(blocks, leaves_out_empty=True)) as plugin:
        plugin.begin()
        await until(lambda: plugin.made > 10)
        wanted = {"filter": Filter.WALLETS, "chunk": 2, "hold_seconds": 0.1, "from_slot": blocks[0].slot}
        await follow(plugin, pg_url, heard, lambda: is_whole(heard, plugin), **wanted)
    named = {row[2] for row in expected if row[6] in tracked}
    assert [row for row in query(pg_url, ROWS) if row[6] in tracked] == [row for row in expected if row[6] in tracked]
    assert {row[2] for row in query(pg_url, ROWS)} >= named
    assert open_gaps(pg_url) == []


@pytest.mark.drill
async def test_a_worker_that_reads_too_slowly_is_cut_off_and_gets_everything_in_the_end(
    pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_BACKLOG_BYTES", 2**16)
    # More than what fits between server and client, so that the server's queue grows while nobody reads.
    blocks, heard = official(2500), Heard()
    rules = {"queue_messages": 300, "stored_slots": 600, "seconds_per_block": 0.0005}
    async with plugged(Plugin(blocks, **rules)) as plugin, proxied(pg_url) as proxy:
        await follow_with_a_pause(plugin, pg_url, proxy, heard)
    assert "lagged" in heard.reasons
    await check(pg_url, blocks)


async def follow_with_a_pause(plugin: Plugin, url: str, proxy: Proxy, heard: Heard) -> None:
    """The database hangs until the provider has cut the worker off."""
    following = asyncio.create_task(follow(plugin, proxy.url, heard, commit_rows=50))
    await until(lambda: heard.landed_slot > 0)
    proxy.freeze()
    await until(lambda: plugin.made == len(plugin.blocks) or plugin.n_lagged > 0)
    proxy.thaw()
    await following
