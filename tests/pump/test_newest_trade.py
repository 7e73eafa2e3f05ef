"""The newest TradeEvent read at once: what it says is what the decoder says, whatever becomes of the bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import pytest

from copytrader_core.errors import DecodeError
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.emissions import EVENT_CALL_PREFIX, PUMP
from copytrader_core.pump.newest_trade import IS_NEWEST, newest_trade
from copytrader_core.pump.rows import Swap, curve_swap
from simnet.demo_tape import TAPE
from simnet.tape import read_tape

TRADE = PUMP.interface.event("TradeEvent").discriminator


def bodies() -> Iterator[bytes]:
    """The TradeEvents of the tape."""
    for block in read_tape(TAPE).blocks:
        for info in block.transactions:
            for group in transaction_from_update(info, block.slot).inner.values():
                for ix in group:
                    data = bytes(ix.data)
                    if data.startswith(EVENT_CALL_PREFIX + TRADE):
                        yield data[len(EVENT_CALL_PREFIX) :]


def long_way(body: bytes) -> tuple[bytes, bytes, Swap] | None:
    try:
        values = PUMP.layouts[TRADE].read(body, 0, None)
    except DecodeError:
        return None
    return values["mint"], values["user"], curve_swap(values)


def altered(draw: random.Random, body: bytes) -> bytes:
    """Bytes set to what they may not be, put in, cut out, or cut off."""
    at, kind = draw.randrange(8, len(body)), draw.randrange(5)
    if kind == 0:
        return body[:at]
    if kind == 1:
        return body[:at] + draw.randbytes(draw.choice((1, 8))) + body[at:]
    if kind == 2:
        return body + draw.randbytes(draw.choice((1, 8, 16)))
    return body[:at] + bytes([draw.choice((0, 1, 2, 255))]) + body[at + 1 :]


def test_the_structs_end_where_the_interface_ends():
    assert IS_NEWEST


def test_every_trade_of_the_tape_is_read_at_once_and_as_the_decoder_reads_it():
    found = list(islice(bodies(), 1_500))
    assert len(found) == 1_500
    for body in found:
        assert newest_trade(body) == long_way(body)


@pytest.mark.parametrize("seed", range(3))
def test_altered_bytes_are_left_to_the_decoder_or_read_as_it_reads_them(seed):
    draw, read, refused = random.Random(seed), 0, 0
    for body in islice(bodies(), 300):
        for _ in range(30):
            changed = altered(draw, body)
            short = newest_trade(changed)
            assert short is None or short == long_way(changed)
            read += short is not None
            refused += short is None
    assert read > 1_000
    assert refused > 1_000


def test_another_event_is_none_of_its_business():
    body = next(bodies())
    assert newest_trade(bytes(8) + body[8:]) is None
