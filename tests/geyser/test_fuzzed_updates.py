"""Ten thousand damaged messages: none brings the decoder down, and no row says anything else than the whole message.

Events are written twice, into a call and into the logs, and name accounts that the transaction lists: that is what a
row's economic columns are held against. Signature, slot, index, network fee and the list of accounts stand once in a
message; damage there cannot be seen without the validators' signatures.
"""

from __future__ import annotations

import random

import pytest
from google.protobuf.message import DecodeError as ProtobufError

from copytrader_core.errors import DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from simnet.demo_tape import TAPE
from simnet.tape import read_tape

N_MESSAGES = 10_000
ECONOMIC = (
    "wallet", "program", "action", "mint", "base_mint", "quote_mint", "base_raw", "quote_raw", "swap_fee_raw",
    "reserve_base_raw", "reserve_quote_raw",
)  # fmt: skip


def rows(message: bytes):
    """(path, economic columns) of each event; nothing for what cannot be read."""
    try:
        update = pb.SubscribeUpdate.FromString(message).transaction
        decoded = decode(transaction_from_update(update.transaction, update.slot, 1_795_000_000))
    except (ProtobufError, DecodeError):
        return {}
    return {event.key[1:]: tuple(getattr(event, name) for name in ECONOMIC) for event in decoded.events}


@pytest.fixture(scope="module")
def messages():
    """Transactions of the committed tape that give rows, each as the message that a stream would bring."""
    infos = [info for block in read_tape(TAPE).blocks for info in block.transactions]
    chosen = random.Random(1).sample(infos, 400)
    updates = [
        pb.SubscribeUpdate(transaction=pb.SubscribeUpdateTransaction(transaction=info, slot=460_000_000))
        for info in chosen
    ]
    return [raw for update in updates if rows(raw := update.SerializeToString())]


def cut(raw, rng):
    return raw[: rng.randrange(len(raw))]


def flip(raw, rng):
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]


def drop(raw, rng):
    at = rng.randrange(len(raw))
    return raw[:at] + raw[at + rng.randrange(1, 40) :]


def put(raw, rng):
    at = rng.randrange(len(raw))
    return raw[:at] + rng.randbytes(rng.randrange(1, 40)) + raw[at:]


def copy(raw, rng):
    """A piece of the message over another, as a reused buffer leaves it."""
    at, other, n = rng.randrange(len(raw)), rng.randrange(len(raw)), rng.randrange(1, 60)
    return raw[:at] + raw[other : other + n] + raw[at + n :]


@pytest.mark.parametrize("damage", [cut, flip, drop, put, copy])
def test_damaged_messages_give_true_rows_or_none(messages, damage):
    rng = random.Random(damage.__name__)
    for _ in range(N_MESSAGES // 5):
        raw = rng.choice(messages)
        truth = rows(raw)
        for path, row in rows(damage(raw, rng)).items():
            assert row == truth.get(path), damage.__name__


def test_most_undamaged_messages_were_worth_damaging(messages):
    assert len(messages) > 350
