"""A day of a synthetic market in the lake: round trips of 200,000 wallets in 50,000 coins, both heavily skewed.

Every wallet sells what it bought, in one to three parts, some of it never. Written by parts, so that ten million events
need no more memory than one. Columns that the ledger does not read are there and nearly empty.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from copytrader_assets.lake import Lake
from copytrader_assets.partitions import day_bounds_ns
from copytrader_assets.schemas import EVENTS
from copytrader_core.records import WSOL

DAY = dt.date(2026, 3, 1)
_SLOTS = 216_000
_FIRST_SLOT = 400_000_000
_PART = 500_000
_BASE58 = np.frombuffer(b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", np.uint8)
_CURVE = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"
_USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the market is."""

    events: int
    wallets: int = 200_000
    coins: int = 50_000


@dataclass(frozen=True, slots=True)
class Market:
    """Events as integers, in chain order."""

    wallet: NDArray[np.int32]
    coin: NDArray[np.int32]
    is_sell: NDArray[np.bool_]
    base: NDArray[np.uint64]
    slot: NDArray[np.int64]
    tx_index: NDArray[np.int32]


def publish(lake: Lake, sizes: Sizes, day: dt.date = DAY, seed: int = 1) -> None:
    """Writes the day's `events` into the lake."""
    rng = np.random.default_rng(seed)
    made = market(rng, sizes, (day - DAY).days)
    schema = pa.schema([field.with_nullable(True) for field in EVENTS.arrow])
    parts = _parts(rng, made, sizes, day)
    lake.publish([lake.stage_parts(EVENTS.name, day, schema, parts, {}, repeating=EVENTS.repeating)])


def market(rng: np.random.Generator, sizes: Sizes, number: int) -> Market:
    """The `number`-th day. Trips first: who, what, how many buys and sells; then their events at increasing times."""
    trips = int(sizes.events / 2.3)
    wallet, coin = _skewed(rng, trips, sizes.wallets, 1.6), _skewed(rng, trips, sizes.coins, 2.2)
    buys = rng.choice([1, 2, 3], trips, p=[0.8, 0.15, 0.05])
    sells = rng.choice([0, 1, 2, 3], trips, p=[0.15, 0.62, 0.18, 0.05])
    size = buys + sells
    trip = np.repeat(np.arange(trips), size)
    step = np.arange(len(trip)) - np.repeat(np.cumsum(size) - size, size)
    moment = np.repeat(rng.random(trips), size) + _waits(rng, step, size)
    is_sell = step >= buys[trip]
    base = _amounts(rng, trip, is_sell, buys, sells)
    order = np.argsort(moment, kind="stable")[: sizes.events]
    slot = _FIRST_SLOT + number * _SLOTS + (np.arange(len(order)) * _SLOTS) // max(len(order), 1)
    starts = np.searchsorted(slot, slot, side="left")
    index = (np.arange(len(order)) - starts).astype(np.int32)
    return Market(wallet[trip][order], coin[trip][order], is_sell[order], base[order], slot, index)


def _skewed(rng: np.random.Generator, count: int, kinds: int, power: float) -> NDArray[np.int32]:
    """Codes of which the first are by far the most frequent."""
    return (kinds * rng.random(count) ** power).astype(np.int32)


def _waits(rng: np.random.Generator, step: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.float64]:
    """Time since the trip's first event as a share of the day: minutes on average, growing within a trip."""
    waits = rng.exponential(0.004, len(step)) * (step > 0)
    sums = np.cumsum(waits)
    firsts = np.cumsum(size) - size
    return np.asarray(sums - np.repeat(sums[firsts], size))


def _amounts(
    rng: np.random.Generator,
    trip: NDArray[np.int64],
    is_sell: NDArray[np.bool_],
    buys: NDArray[np.int64],
    sells: NDArray[np.int64],
) -> NDArray[np.uint64]:
    bought = rng.integers(10**9, 10**13, len(buys))
    return np.where(is_sell, bought[trip] * buys[trip] // np.maximum(sells[trip], 1), bought[trip]).astype(np.uint64)


def _parts(rng: np.random.Generator, market: Market, sizes: Sizes, day: dt.date) -> Iterator[pa.Table]:
    names = np.random.default_rng(99)
    wallets, coins = base58(names, sizes.wallets, 44), base58(names, sizes.coins, 44)
    for start in range(0, len(market.wallet), _PART):
        part = slice(start, start + _PART)
        yield EVENTS.conform(rows(rng, market, part, wallets, coins, day))


def rows(
    rng: np.random.Generator, market: Market, part: slice, wallets: pa.Array, coins: pa.Array, day: dt.date
) -> pa.Table:
    """The events `part` of the market with their texts and amounts, as columns of EVENTS."""
    slot, is_sell, base, coin = market.slot[part], market.is_sell[part], market.base[part], market.coin[part]
    count = len(slot)
    who, what = wallets.take(pa.array(market.wallet[part])), coins.take(pa.array(coin))
    quote = (base.astype(np.float64) * rng.uniform(2e-5, 6e-5, count)).astype(np.uint64) + np.uint64(1000)
    start = day_bounds_ns(day)[0]
    values: dict[str, object] = {
        "ts_ns": start + (slot - market.slot[0]) * 400_000_000 // 1_000_000_000 * 1_000_000_000,
        "recv_ts_ns": start + (slot - market.slot[0]) * 400_000_000,
        "slot": slot,
        "tx_index": market.tx_index[part],
        "sig": base58(rng, count, 88),
        "outer_ix": np.full(count, 2, np.int32),
        "inner_ix": np.full(count, -1, np.int32),
        "event_seq": np.zeros(count, np.int32),
        "wallet": who,
        "fee_payer": who,
        "program": _repeat(_CURVE, count),
        "action": pa.array(np.where(is_sell, "SELL", "BUY")),
        "mint": what,
        "base_mint": what,
        "quote_mint": pa.array(np.where(coin % 20 == 0, _USDC, WSOL)),
        "base_raw": base,
        "quote_raw": quote,
        "swap_fee_raw": quote // np.uint64(80),
        "tx_fee_lamports": rng.integers(5_000, 200_000, count),
        "tip_lamports": rng.choice([0, 1_000_000], count),
        "reserve_base_raw": rng.integers(10**14, 10**15, count).astype(np.uint64),
        "reserve_quote_raw": rng.integers(3 * 10**10, 10**11, count).astype(np.uint64),
        "amount_in": quote / 1e9,
        "amount_out": base / 1e6,
    }
    columns = [_column(values.get(field.name), field.type, count) for field in EVENTS.arrow]
    return pa.Table.from_arrays(columns, names=EVENTS.names)


def _repeat(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), count)


def _column(values: object, kind: pa.DataType, count: int) -> pa.Array:
    if values is None:
        return pa.nulls(count, kind)
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def base58(rng: np.random.Generator, count: int, length: int) -> pa.Array:
    """Random texts of base58 digits: incompressible, as addresses and signatures are."""
    content = _BASE58[rng.integers(0, 58, count * length, dtype=np.uint8)]
    offsets = np.arange(count + 1, dtype=np.int32) * length
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(content))
