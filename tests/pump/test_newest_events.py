"""The newest trade events by kernel: what they say is what the decoder says, whatever becomes of the bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from copytrader_core.errors import DecodeError
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump import newest_pool_buy as pool
from copytrader_core.pump import newest_trade as trade
from copytrader_core.pump.emissions import AMM, EVENT_CALL_PREFIX, PUMP
from copytrader_core.pump.rows import ZERO_KEY, curve_swap, pool_swap
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_text
from simnet.demo_tape import TAPE
from simnet.tape import read_tape

POOL_MINTS = ("base", WSOL)


def curve_long_way(values: dict[str, Any]) -> dict[str, Any] | None:
    """What the decoder makes of a TradeEvent; None also where the trade is not paid in SOL."""
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
        "creator": swap.meta["creator"],
        "subject": values["mint"],
        "user": values["user"],
    }


def pool_long_way(values: dict[str, Any]) -> dict[str, Any]:
    """What the decoder makes of a BuyEvent."""
    swap = pool_swap(values, True, *POOL_MINTS)
    return {
        "gross": swap.quote_amount,
        "quote": swap.reserve_quote,
        "base": swap.reserve_base,
        "vault_quote": swap.meta["vault_quote_raw"],
        "lp_bps": swap.meta["lp_fee_bps"],
        "protocol_bps": swap.meta["protocol_fee_bps"],
        "creator_bps": swap.meta["creator_fee_bps"],
        "cashback": swap.meta["cashback_raw"],
        "creator": swap.meta["creator"],
        "subject": values["pool"],
        "user": values["user"],
    }


class Kind(NamedTuple):
    """An event that has a kernel of its own. `numbers`: where the amounts are that it reads, up to the name."""

    program: Any
    event: str
    kernel: Callable[..., bool]
    columns: tuple[str, ...]
    subject_at: int
    user_at: int
    long_way: Callable[[dict[str, Any]], dict[str, Any] | None]
    is_newest: bool
    numbers: tuple[int, ...]

    @property
    def discriminator(self) -> bytes:
        return bytes(self.program.interface.event(self.event).discriminator)


KINDS = {
    "TradeEvent": Kind(
        *(PUMP, "TradeEvent", trade.newest_trade, trade.TRADE_COLUMNS, trade.MINT_AT, trade.USER_AT, curve_long_way),
        *(trade.IS_NEWEST, (40, 97, 105, 113, 121, 161, 169, 209, 217, 89)),
    ),
    "BuyEvent": Kind(
        *(AMM, "BuyEvent", pool.newest_pool_buy, pool.POOL_COLUMNS, pool.POOL_AT, pool.USER_AT, pool_long_way),
        *(pool.IS_NEWEST, (8, 16, 48, 56, 64, 72, 80, 88, 96, 112, 344, 352)),
    ),
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@lru_cache
def bodies(kind: Kind) -> list[bytes]:
    """The events of that kind on the tape."""
    found = []
    for block in read_tape(TAPE).blocks:
        for info in block.transactions:
            for group in transaction_from_update(info, block.slot).inner.values():
                for ix in group:
                    data = bytes(ix.data)
                    if data.startswith(EVENT_CALL_PREFIX + kind.discriminator):
                        found.append(data[len(EVENT_CALL_PREFIX) :])
    return found


def short_way(kind: Kind, body: bytes) -> dict[str, Any] | None:
    row = np.zeros(len(kind.columns), np.int64)
    # Something else before and behind, as in an update.
    if not kind.kernel(b"\xff" * 11 + body + b"\xff" * 200, 11, len(body), row):
        return None
    found: dict[str, Any] = dict(zip(kind.columns, row.tolist(), strict=True))
    creator = body[found.pop("creator") - 11 :][:32]
    keys = {"subject": body[kind.subject_at :][:32], "user": body[kind.user_at :][:32]}
    return found | keys | {"creator": None if creator == ZERO_KEY else address_text(creator)}


def long_way(kind: Kind, body: bytes) -> dict[str, Any] | None:
    """The same of the decoder."""
    try:
        return kind.long_way(kind.program.layouts[kind.discriminator].read(body, 0, None))
    except DecodeError:
        return None


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


@each_kind
def test_the_kernel_ends_where_the_interface_ends(kind: Kind):
    assert kind.is_newest


@each_kind
def test_every_trade_of_the_tape_is_read_as_the_decoder_reads_it(kind: Kind):
    assert len(bodies(kind)) > 60
    for body in bodies(kind)[:1_500]:
        found = short_way(kind, body)
        assert found is not None and found == long_way(kind, body)


@each_kind
@pytest.mark.parametrize("seed", range(3))
def test_altered_bytes_are_left_to_the_decoder_or_read_as_it_reads_them(kind: Kind, seed: int):
    draw, read, refused = random.Random(seed), 0, 0
    for body in draw.choices(bodies(kind), k=300):
        for _ in range(30):
            changed = altered(draw, body)
            short = short_way(kind, changed)
            assert short is None or short == long_way(kind, changed)
            read += short is not None
            refused += short is None
    assert read > 1_000
    assert refused > 1_000


@each_kind
@pytest.mark.parametrize("seed", range(3))
def test_amounts_of_any_size_are_left_to_the_decoder_or_read_as_it_reads_them(kind: Kind, seed: int):
    """Whole fields, so that sums overflow and signs turn, the virtual reserves' 128 bits among them."""
    draw, read = random.Random(seed), 0
    tail = [len(bodies(kind)[0]) - at for at in range(8, 96, 8)]
    for body in draw.choices(bodies(kind), k=1_000):
        at, bits = draw.choice([*kind.numbers, *tail]), draw.choice((7, 31, 59, 60, 62, 63, 64))
        value = draw.choice((1 << bits, (1 << bits) - 1, draw.getrandbits(bits))) & (1 << 64) - 1
        changed = body[:at] + value.to_bytes(8, "little") + body[at + 8 :]
        if draw.random() < 0.3:
            # An i128 below 0 has ones above it.
            changed = changed[: at + 8] + b"\xff" * 8 + changed[at + 16 :]
        short = short_way(kind, changed)
        assert short is None or short == long_way(kind, changed)
        read += short is not None
    assert read > 100


@each_kind
def test_a_number_beyond_63_bits_is_left_to_the_decoder(kind: Kind):
    body = bodies(kind)[0]
    for at in kind.numbers:
        assert short_way(kind, body[:at] + b"\xff" * 8 + body[at + 8 :]) is None


def test_another_event_is_none_of_its_business():
    kind = KINDS["TradeEvent"]
    assert short_way(kind, bytes(8) + bodies(kind)[0][8:]) is None


@pytest.mark.parametrize("swept", [True, False])
def test_fees_that_stay_in_the_vault_count_as_the_vaults(swept: bool):
    kind = KINDS["BuyEvent"]
    for body in bodies(kind)[:20]:
        recipient = b"\x05" * 32 if swept else ZERO_KEY
        changed = body[:248] + recipient + body[280:]
        found = short_way(kind, changed)
        assert found is not None and found == long_way(kind, changed)


def test_virtual_reserves_below_zero_are_read():
    kind = KINDS["BuyEvent"]
    (body,) = bodies(kind)[:1]
    values = kind.program.layouts[kind.discriminator].read(body, 0, None)
    n_name = len(values["ix_name"])
    at = 405 + n_name + 32
    changed = body[:at] + (-5).to_bytes(16, "little", signed=True) + body[at + 16 :]
    found = short_way(kind, changed)
    assert found is not None and found == long_way(kind, changed)
    assert kind.program.layouts[kind.discriminator].read(changed, 0, None)["virtual_quote_reserves"] == -5
