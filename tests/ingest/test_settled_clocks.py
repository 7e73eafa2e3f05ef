"""A slot that comes in pieces, some of them before its block time is known: in the end all of it has the block time."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from chain_double import T0, WALLETS, event
from worker_runs import query

from copytrader_core.store import backfill, raw_events
from copytrader_core.store.ingest import Batch, LandedSlot
from ingest_worker.writer import Writer

SLOT = 1000
EXACT_NS, ESTIMATE_NS = T0 * 10**9, (T0 - 1) * 10**9


def rows(sigs: str, ts_ns: int) -> list[raw_events.Row]:
    return [
        raw_events.row(event(SLOT, 1, sig, 0, WALLETS[0]), ts_ns=ts_ns, recv_ts_ns=None, alias=None) for sig in sigs
    ]


def estimated(sigs: str) -> Batch:
    """Transactions without their block_meta."""
    return Batch(rows(sigs, ESTIMATE_NS), late_slots={SLOT}, estimated_slots={SLOT})


def exact(sigs: str) -> Batch:
    """The slot with its block time."""
    return Batch(rows(sigs, EXACT_NS), [LandedSlot(SLOT, SLOT - 1, "hash", T0, len(sigs), len(sigs))])


def together(*batches: Batch) -> Batch:
    whole = Batch()
    for batch in batches:
        whole.rows += batch.rows
        whole.slots += batch.slots
        whole.late_slots |= batch.late_slots
        whole.estimated_slots |= batch.estimated_slots
    return whole


ORDERS = {
    "estimate first": [estimated("ab"), exact("abc")],
    "block time first": [exact("bc"), estimated("ab")],
    "one batch, estimate first": [together(estimated("ab"), exact("abc"))],
    "one batch, block time first": [together(exact("bc"), estimated("ab"))],
}


@pytest.mark.parametrize("order", ORDERS)
async def test_whatever_order_the_pieces_land_in(pg_url: str, order: str) -> None:
    writer = Writer(pg_url, asyncio.Event())
    await writer.open()
    for batch in ORDERS[order]:
        await writer.commit(batch)
    await writer.close()
    assert query(pg_url, "SELECT sig, ts_ns FROM raw_events ORDER BY 1") == [(sig, EXACT_NS) for sig in "abc"]


def test_a_backfilled_transaction_without_a_time_gets_that_of_its_landed_slot(pg_url: str) -> None:
    with psycopg.connect(pg_url, autocommit=True) as connection:
        for batch in (exact("b"), estimated("a")):
            backfill.land(connection, batch)
    assert query(pg_url, "SELECT sig, ts_ns FROM raw_events ORDER BY 1") == [("a", EXACT_NS), ("b", EXACT_NS)]
