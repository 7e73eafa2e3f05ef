"""An update that is not parsed yet says that it is a transaction, or nothing: on real updates, cut and altered."""

from __future__ import annotations

import random
from itertools import islice

from google.protobuf.message import DecodeError as ProtobufError

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import unread
from simnet.demo_tape import TAPE
from simnet.tape import read_tape


def updates(n: int) -> list[pb.SubscribeUpdate]:
    """The tape's first transactions, with one filter and with several."""
    found = []
    for block in islice(read_tape(TAPE).blocks, 400):
        for info in block.transactions:
            update = pb.SubscribeUpdateTransaction(slot=block.slot, transaction=info)
            names = ["pump", "amm", "own"][: 1 + len(found) % 3]
            found.append(pb.SubscribeUpdate(filters=names, transaction=update))
    return found[:n]


def test_a_transaction_is_known_by_its_first_bytes() -> None:
    found = updates(200)
    assert len(found) == 200
    for update in found:
        raw = update.SerializeToString()
        found = unread(raw)
        assert found is not None and found.raw == raw and found.read_slot() == update.transaction.slot


def test_what_is_no_transaction_has_to_be_parsed() -> None:
    for update in (
        pb.SubscribeUpdate(ping={}),
        pb.SubscribeUpdate(filters=["meta"], block_meta={"slot": 5}),
        pb.SubscribeUpdate(filters=["slots"], slot={"slot": 5}),
    ):
        assert unread(update.SerializeToString()) is None
    for raw in (b"", b"\x0a", b"\x0a\x05", b"\x12\x22"):
        assert unread(raw) is None


def test_what_cannot_be_parsed_has_no_slot() -> None:
    for raw in (b"\x22", b"\x22" + b"\xff" * 1_000_000, b"\x22\x05\x0a" + b"\xff" * 20, b"\x22\x00"):
        found = unread(raw)
        assert found is not None and found.read_slot() is None


def test_of_what_is_cut_or_altered_nothing_is_missed_that_protobuf_takes_for_a_transaction() -> None:
    rng, n = random.Random(5), 0
    for update in updates(60):
        raw = update.SerializeToString()
        for _ in range(60):
            damaged = bytearray(raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.5 else raw)
            if damaged:
                damaged[rng.randrange(min(len(damaged), 40))] ^= 1 << rng.randrange(8)
            found = unread(bytes(damaged))
            try:
                parsed = pb.SubscribeUpdate.FromString(bytes(damaged))
            except ProtobufError:
                continue
            if found is not None and parsed.HasField("transaction"):
                n += 1
                assert (found.read_slot() or 0) == parsed.transaction.slot
    assert n > 500
