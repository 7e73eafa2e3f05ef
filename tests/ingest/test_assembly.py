"""When a slot is complete, whatever order its messages come in."""

from __future__ import annotations

import random

from chain_double import Chain, pieces
from hypothesis import given
from hypothesis import strategies as st

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from ingest_worker.assembly import ReadySlot, SlotAssembler
from ingest_worker.messages import Block, parse


def feed(slots: SlotAssembler, update: pb.SubscribeUpdate, now: float = 0.0) -> None:
    if update.HasField("transaction"):
        slots.add_transaction(parse(update.SerializeToString()), 1)
    elif update.HasField("block_meta"):
        slots.add_meta(update.block_meta, now)
    else:
        slots.add_block(whole(update.block), 1, now)


def whole(block: pb.SubscribeUpdateBlock) -> Block:
    found = parse(pb.SubscribeUpdate(block=block).SerializeToString())
    assert isinstance(found, Block)
    return found


def signatures(ready: list[ReadySlot]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for slot in ready:
        found.setdefault(slot.slot, []).extend(tx.signature for tx in slot.transactions)
    return found


def planted(chain: Chain) -> dict[int, list[bytes]]:
    return {block.slot: [info.signature for info in block.transactions] for block in chain.blocks}


def test_a_whole_block_closes_at_once() -> None:
    slots, chain = SlotAssembler(), Chain.plant(3)
    for block in chain.blocks:
        slots.add_block(whole(block), 1, 0.0)
        assert [(ready.slot, ready.closes) for ready in slots.take(0.0)] == [(block.slot, True)]


def test_pieces_close_when_a_later_slot_is_heard_of_or_after_the_grace() -> None:
    slots, (one, two) = SlotAssembler(grace_seconds=0.2), Chain.plant(2).blocks
    for update in pieces([one], None):
        feed(slots, update)
    assert slots.take(0.1) == []
    slots.see(two.slot)
    assert [ready.slot for ready in slots.take(0.1)] == [one.slot]
    for update in pieces([two], None):
        feed(slots, update, now=1.0)
    assert slots.take(1.1) == []
    assert [ready.slot for ready in slots.take(1.3)] == [two.slot]


def test_a_block_that_overtakes_its_parent_waits_for_it() -> None:
    slots, (one, two, three) = SlotAssembler(hold_seconds=1.0), Chain.plant(3).blocks
    for block in (one, three):
        slots.add_block(whole(block), 1, 0.0)
    assert [ready.slot for ready in slots.take(0.0)] == [one.slot]
    slots.add_block(whole(two), 1, 0.5)
    assert [ready.slot for ready in slots.take(0.5)] == [two.slot, three.slot]


def test_a_parent_that_does_not_come_is_waited_for_no_longer_than_the_hold() -> None:
    slots, (one, _, three) = SlotAssembler(hold_seconds=1.0), Chain.plant(3).blocks
    for block in (one, three):
        slots.add_block(whole(block), 1, 0.0)
    slots.take(0.0)
    assert slots.take(0.9) == [] and slots.waiting
    assert [ready.slot for ready in slots.take(1.0)] == [three.slot]


def test_a_late_transaction_is_handed_out_once_with_its_block() -> None:
    slots, chain = SlotAssembler(), Chain.plant(10)
    block = next(b for b in chain.blocks if len(b.transactions) > 1)
    *early, late, meta = pieces([block], None)
    for update in (*early, meta):
        feed(slots, update)
    slots.see(block.slot + 1)
    assert [ready.closes for ready in slots.take(0.0)] == [True]
    for update in (late, late, early[0]):
        feed(slots, update)
    (ready,) = slots.take(0.0)
    assert not ready.closes and ready.block is not None and ready.block.block_time == block.block_time.timestamp
    assert signatures([ready]) == {block.slot: [late.transaction.transaction.signature]}
    assert slots.take(9.0) == []


def test_transactions_whose_meta_is_lost_are_not_lost() -> None:
    slots, chain = SlotAssembler(), Chain.plant(60)
    lost = next(b for b in chain.blocks if b.transactions)
    found: dict[int, list[bytes]] = {}
    for step, block in enumerate(chain.blocks):
        for update in pieces([block], None):
            if not (block is lost and update.HasField("block_meta")):
                feed(slots, update, now=step * 2.0)
        found |= signatures(slots.take(step * 2.0))
    assert found[lost.slot] == [info.signature for info in lost.transactions]


def test_a_provider_that_never_sends_a_meta_does_not_fill_the_memory() -> None:
    slots, chain = SlotAssembler(), Chain.plant(400)
    found: dict[int, list[bytes]] = {}
    for update in pieces(chain.blocks, None):
        if update.HasField("transaction"):
            feed(slots, update)
            found |= signatures(slots.take(0.0))
    assert len(found) > 0
    assert found | signatures(slots.drain()) == {slot: sigs for slot, sigs in planted(chain).items() if sigs}


def test_a_missing_parent_slot_field_is_taken_for_the_slot_before() -> None:
    slots = SlotAssembler()
    slots.add_block(whole(pb.SubscribeUpdateBlock(slot=7)), 1, 0.0)
    (ready,) = slots.take(0.0)
    assert ready.block is not None and ready.block.parent_slot == 6


@given(st.integers(0, 10**6), st.booleans())
def test_any_order_hands_out_everything_exactly_once(seed: int, repeat: bool) -> None:
    chain, rng = Chain.plant(20, seed=seed), random.Random(seed)
    updates = pieces(chain.blocks, None)
    rng.shuffle(updates)
    updates += rng.sample(updates, 10) if repeat else []
    slots, ready = SlotAssembler(hold_seconds=0.1, grace_seconds=0.01), []
    for step, update in enumerate(updates):
        feed(slots, update, now=step * 0.005)
        ready += slots.take(step * 0.005)
    ready += slots.drain()
    handed_out = signatures(ready)
    assert {slot: sorted(sigs) for slot, sigs in handed_out.items()} == {
        slot: sorted(sigs) for slot, sigs in planted(chain).items()
    }
    assert sorted(slot.slot for slot in ready if slot.closes) == chain.slots
