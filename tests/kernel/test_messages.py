"""Messages as the worker keeps them: found without parsing, and the same as protobuf reads them."""

from __future__ import annotations

import pytest

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from ingest_worker.messages import Block, SlotTransactions, Transaction, parse, stamp_ns


@pytest.fixture
def block(taped) -> pb.SubscribeUpdateBlock:
    infos = [pb.SubscribeUpdateTransactionInfo.FromString(raw) for raw in taped[:5]]
    for place, info in enumerate(infos):
        info.index = 4 - place
    return pb.SubscribeUpdateBlock(
        slot=9, blockhash="hash", parent_slot=7, block_time=pb.UnixTimestamp(timestamp=5), transactions=infos
    )


def test_a_block_is_read_as_protobuf_reads_it_in_block_order(block):
    found = parse(pb.SubscribeUpdate(filters=["a"], block=block).SerializeToString())
    assert isinstance(found, Block)
    assert (found.slot, found.parent_slot, found.blockhash, found.block_time) == (9, 7, "hash", 5)
    transactions = found.transactions(77)
    assert [one.info for one in transactions] == list(reversed(block.transactions))
    assert [(one.place, one.recv_ts_ns) for one in transactions] == [(place, 77) for place in range(5)]
    assert [one.signature for one in transactions] == [info.signature for info in reversed(block.transactions)]


def test_a_block_without_a_time_has_none(block):
    block.ClearField("block_time")
    found = parse(pb.SubscribeUpdate(block=block).SerializeToString())
    assert isinstance(found, Block) and found.block_time is None


def test_a_transaction_is_read_as_protobuf_reads_it(block):
    info = block.transactions[0]
    update = pb.SubscribeUpdate(transaction=pb.SubscribeUpdateTransaction(transaction=info, slot=9))
    update.created_at.seconds, update.created_at.nanos = 2, 123
    found = parse(update.SerializeToString())
    assert isinstance(found, Transaction)
    assert (found.slot, found.transaction(1).info, stamp_ns(found)) == (9, info, 2_000_000_123)


def test_a_message_written_in_an_unusual_way_is_read_all_the_same(block):
    # Protobuf merges what is sent in two parts.
    first = pb.SubscribeUpdate(block=pb.SubscribeUpdateBlock(slot=9, transactions=block.transactions[:2]))
    second = pb.SubscribeUpdate(block=pb.SubscribeUpdateBlock(blockhash="hash", transactions=block.transactions[2:]))
    found = parse(first.SerializeToString() + second.SerializeToString())
    assert isinstance(found, Block)
    assert (found.slot, found.blockhash, len(found.where)) == (9, "hash", 5)


@pytest.mark.parametrize("kind", ["ping", "pong", "slot", "block_meta"])
def test_everything_else_stays_protobuf(kind):
    update = pb.SubscribeUpdate()
    getattr(update, kind).SetInParent()
    assert parse(update.SerializeToString()) == update


def test_bytes_that_are_no_message_are_none(block):
    raw = pb.SubscribeUpdate(block=block).SerializeToString()
    assert parse(b"\xff\xff\xff") is None
    assert parse(raw[:-3]) is None


def test_transactions_that_came_one_by_one_are_brought_together(block):
    singles = [
        parse(
            pb.SubscribeUpdate(transaction=pb.SubscribeUpdateTransaction(transaction=info, slot=9)).SerializeToString()
        ).transaction(at)
        for at, info in enumerate(block.transactions)
    ]
    together = SlotTransactions.joined(singles)
    assert [one.info for one in together] == list(reversed(block.transactions))
    assert [one.recv_ts_ns for one in together] == [4, 3, 2, 1, 0]


def test_one_damaged_transaction_does_not_hide_the_others(block):
    block.transactions[1].signature = b"short"
    found = parse(pb.SubscribeUpdate(block=block).SerializeToString())
    assert isinstance(found, Block)
    assert [len(one.signature) for one in found.transactions(1)] == [64, 64, 64, 32, 64]
