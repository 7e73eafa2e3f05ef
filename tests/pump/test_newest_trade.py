"""The newest TradeEvent by kernel: what it says is what the decoder says, whatever becomes of the bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from copytrader_core.errors import DecodeError
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.emissions import EVENT_CALL_PREFIX, PUMP
from copytrader_core.pump.newest_trade import IS_NEWEST, MINT_AT, TRADE_COLUMNS, USER_AT, newest_trade
from copytrader_core.pump.rows import ZERO_KEY, curve_swap
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_text
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


def short_way(body: bytes) -> dict[str, Any] | None:
    row = np.zeros(len(TRADE_COLUMNS), np.int64)
    # Something else before and behind, as in an update.
    if not newest_trade(b"\xff" * 11 + body + b"\xff" * 200, 11, len(body), row):
        return None
    found: dict[str, Any] = dict(zip(TRADE_COLUMNS, row.tolist(), strict=True))
    creator = body[found.pop("creator") - 11 :][:32]
    keys = {"mint": body[MINT_AT:][:32], "user": body[USER_AT:][:32]}
    return found | keys | {"creator": None if creator == ZERO_KEY else address_text(creator)}


def long_way(body: bytes) -> dict[str, Any] | None:
    """The same of the decoder; None also where the trade is not paid in SOL."""
    try:
        values = PUMP.layouts[TRADE].read(body, 0, None)
    except DecodeError:
        return None
    swap = curve_swap(values)
    if swap.quote != WSOL:
        return None
    return {
        "buys": int(swap.buys),
        "net": swap.quote_amount - swap.fee if swap.buys else swap.quote_amount + swap.fee,
        "virtual_quote": swap.reserve_quote,
        "virtual_base": swap.reserve_base,
        "real_quote": swap.meta["real_quote_raw"],
        "real_base": swap.meta["real_base_raw"],
        "protocol_bps": swap.meta["protocol_fee_bps"],
        "creator_bps": swap.meta["creator_fee_bps"],
        "fees": swap.fee,
        "cashback": swap.meta["cashback_raw"],
        "mayhem": int(swap.meta["mayhem"]),
        "mint": values["mint"],
        "user": values["user"],
        "creator": swap.meta["creator"],
    }


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


def test_the_kernel_ends_where_the_interface_ends():
    assert IS_NEWEST


def test_every_trade_of_the_tape_is_read_as_the_decoder_reads_it():
    found = list(islice(bodies(), 1_500))
    assert len(found) == 1_500
    for body in found:
        assert short_way(body) == long_way(body)


@pytest.mark.parametrize("seed", range(3))
def test_altered_bytes_are_left_to_the_decoder_or_read_as_it_reads_them(seed):
    draw, read, refused = random.Random(seed), 0, 0
    for body in islice(bodies(), 300):
        for _ in range(30):
            changed = altered(draw, body)
            short = short_way(changed)
            assert short is None or short == long_way(changed)
            read += short is not None
            refused += short is None
    assert read > 1_000
    assert refused > 1_000


def test_another_event_is_none_of_its_business():
    body = next(bodies())
    assert short_way(bytes(8) + body[8:]) is None


@pytest.mark.parametrize("at", [40, 97, 105, 113, 121, 161, 169, 209, 217, 89])
def test_a_number_beyond_63_bits_is_left_to_the_decoder(at):
    body = next(bodies())
    assert short_way(body[:at] + b"\xff" * 8 + body[at + 8 :]) is None
