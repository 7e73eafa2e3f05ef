"""Drift on its way: from a landed slot to one row a kind, in the transaction of the slot's rows."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import Decoded, decode
from copytrader_core.pump.drift import Drift
from copytrader_core.store import drift, ingest
from copytrader_core.store.ingest import Batch
from ingest_worker.assembly import BlockInfo, ReadySlot
from ingest_worker.clock import SlotClock
from ingest_worker.drift_watch import DriftWatch
from ingest_worker.landing import Lander
from ingest_worker.messages import SlotTransaction, SlotTransactions
from simnet.demo_tape import TAPE
from simnet.tape import read_tape


@pytest.fixture
def connection(pg_url: str) -> Any:
    with psycopg.connect(pg_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def blocks() -> list[pb.SubscribeUpdateBlock]:
    """The first blocks of the tape that trade."""
    return [block for _, block in zip(range(400), read_tape(TAPE).blocks, strict=False)]


def ready(block: pb.SubscribeUpdateBlock, *, closes: bool = True) -> ReadySlot:
    info = BlockInfo(block.parent_slot, block.blockhash, block.block_time.timestamp)
    return ReadySlot(
        block.slot,
        info,
        SlotTransactions.joined([SlotTransaction.of(it, 1) for it in block.transactions]),
        closes=closes,
    )


def chained(blocks: list[pb.SubscribeUpdateBlock]) -> list[ReadySlot]:
    return [ready(block) for block in blocks]


def real(info: pb.SubscribeUpdateTransactionInfo, slot: int, block_time: int | None) -> Decoded:
    return decode(transaction_from_update(info, slot, block_time))


def dearer(info: pb.SubscribeUpdateTransactionInfo, slot: int, block_time: int | None) -> Any:
    """The real decoder, as if the curve had begun to charge a unit more protocol fee on sales."""
    decoded = real(info, slot, block_time)
    seen = [
        it._replace(values={**it.values, "fee": it.values["fee"] + 1})
        if it.name == "TradeEvent" and not it.values["is_buy"]
        else it
        for it in decoded.seen
    ]
    return SimpleNamespace(
        events=decoded.events, problems=decoded.problems, frames=decoded.frames, seen=seen, keys=decoded.keys
    )


def landed(decoder: Any, slots: list[ReadySlot], watch: DriftWatch) -> Batch:
    batch, lander = Batch(), Lander(decoder, SlotClock(), drift=watch)
    for slot in slots:
        lander.land(slot, batch)
    return batch


def rows(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT kind, ix, n, first_slot, last_slot, expected, found FROM protocol_drift"
    ).fetchall()


def made(slot: int, kind: str = "fees", ix: str = "sell") -> tuple[int, Drift]:
    return slot, Drift(kind, "program", ix, f"sig{slot}", "0.-1", "1", "2", "fee")


def test_a_sound_stream_leaves_no_row(connection, blocks):
    told: list[str] = []
    batch = landed(real, chained(blocks), DriftWatch(told.append))
    ingest.commit(connection, batch)
    assert len(batch.rows) > 100
    assert (batch.drift, told, rows(connection)) == ([], [], [])


def test_a_flood_is_one_row_a_kind_with_a_count_and_one_line_in_the_log(connection, blocks, caplog):
    told: list[str] = []
    with caplog.at_level(logging.ERROR):
        batch = landed(dearer, chained(blocks), DriftWatch(told.append))
    ingest.commit(connection, batch)
    found = rows(connection)
    assert {kind for kind, *_ in found} == {"fees"}
    assert sum(n for _, _, n, *_ in found) == len(told) == len(batch.drift) > 50
    assert {int(after) - int(before) for *_, before, after in found} <= {1, 0}
    assert len([line for line in caplog.messages if line.startswith("protocol_drift")]) == len(found) <= 6


def test_the_first_sale_after_the_change_tells(blocks):
    batch = landed(dearer, chained(blocks), DriftWatch())
    sales = [row[2] for row in batch.rows if row[12] == "SELL" and row[-1]["venue"] == "curve"]
    assert batch.drift[0][0] == sales[0]


def test_a_slot_that_is_landed_again_is_not_counted_again(connection):
    for found in ([made(5), made(5), made(6)], [made(5), made(6)], [made(6), made(7)]):
        drift.record(connection, found)
    assert rows(connection) == [("fees", "sell", 4, 5, 7, "1", "2")]


def test_the_row_keeps_its_first_example_and_new_kinds_are_returned(connection):
    assert drift.record(connection, [made(5)]) == [("fees", "program", "sell")]
    assert drift.record(connection, [made(6), made(6, "layout_grown", "TradeEvent")]) == [
        ("layout_grown", "program", "TradeEvent")
    ]
    assert connection.execute("SELECT sig FROM protocol_drift WHERE kind = 'fees'").fetchone() == ("sig5",)


def test_listeners_hear_of_it_when_the_batch_is_committed(connection, pg_url):
    with psycopg.connect(pg_url, autocommit=True) as listening:
        listening.execute(f"LISTEN {drift.CHANNEL}")
        with connection.transaction(force_rollback=True):
            ingest.commit(connection, Batch(drift=[made(5)]))
        assert list(listening.notifies(timeout=0.2, stop_after=1)) == []
        ingest.commit(connection, Batch(drift=[made(5), made(6), made(6, "continuity")]))
        assert sorted(note.payload for note in listening.notifies(timeout=2, stop_after=2)) == ["continuity", "fees"]
    assert Batch(drift=[made(5)])


# --- where continuity may speak --------------------------------------------------------------------------------------


def without_one_trade(blocks: list[pb.SubscribeUpdateBlock]) -> tuple[list[pb.SubscribeUpdateBlock], int]:
    """The blocks as a stream that hides one trade which another of the same coin follows."""
    traded: dict[str, list[int]] = {}
    for at, block in enumerate(blocks):
        for info in block.transactions:
            for event in real(info, block.slot, None).events if not info.meta.HasField("err") else ():
                if event.action in ("BUY", "SELL") and event.meta["venue"] == "curve":
                    traded.setdefault(event.mint, []).append(at)
    at = next(ats[2] for ats in traded.values() if len(ats) > 5 and len(set(ats)) == len(ats))
    cut = pb.SubscribeUpdateBlock.FromString(blocks[at].SerializeToString())
    del cut.transactions[:]
    return [*blocks[:at], cut, *blocks[at + 1 :]], at


def test_a_trade_that_the_stream_hides_is_found(blocks):
    hidden, _ = without_one_trade(blocks)
    found = landed(real, chained(hidden), DriftWatch()).drift
    assert {drift.kind for _, drift in found} == {"continuity"}


def test_nothing_is_said_over_a_hole_or_where_the_feed_is_not_whole(blocks):
    hidden, at = without_one_trade(blocks)
    holed = chained(hidden[:at]) + chained(hidden[at + 1 :])
    assert landed(real, holed, DriftWatch()).drift == []
    assert landed(real, chained(hidden), DriftWatch(whole_feed=False)).drift == []


def test_a_transaction_that_cannot_be_decoded_or_comes_late_begins_every_coin_anew(blocks):
    hidden, at = without_one_trade(blocks)
    lost = blocks[at].slot

    def failing(info: Any, slot: int, block_time: int | None) -> Decoded:
        if slot == lost:
            raise ValueError("planted")
        return real(info, slot, block_time)

    batch = landed(failing, chained(blocks), DriftWatch())
    assert batch.dead_letters
    assert batch.drift == []
    late = [*chained(hidden[: at + 1]), ready(blocks[at], closes=False), *chained(hidden[at + 1 :])]
    assert landed(real, late, DriftWatch()).drift == []
