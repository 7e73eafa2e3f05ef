"""A made-up market in which every trade is exact: curves bought and sold by the program's arithmetic. Nothing is timed.

Shape: coins are born all day long and most trades fall on the young ones; 318 leaders among 50,000 wallets make 0.6 %
of the trades, about what as many tracked wallets make of the whole program's feed.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_core.compiled import kernel
from copytrader_core.pump.curve import INITIAL_SOL_CURVE
from copytrader_core.records import WSOL, Pattern, Release
from copytrader_core.replay.execution import BUY_IN, CURVE, SELL, coins_for, net_of_fees, proceeds_of

DAY = dt.date(2026, 3, 1)
LEADERS = 318
WALLETS = 50_000
PER_SLOT = 23
_FIRST_SLOT = 403_000_000
_PROTOCOL, _CREATOR = 95, 30


@kernel
def _trades(seed, coin, wallet, start, base, quote, net, is_buy, after_base, after_quote, real_base):  # noqa: ANN001, ANN202
    np.random.seed(seed)
    n_coins = coin.max() + 1
    vb, vq = np.full(n_coins, start[0]), np.full(n_coins, start[1])
    held = np.zeros((n_coins, 64), np.int64)
    for i in range(len(coin)):
        c, w = coin[i], wallet[i] % 64
        has = held[c, w]
        if has > 0 and (np.random.random() < 0.5 or vq[c] > 100_000_000_000):
            coins = has if np.random.random() < 0.7 else has // 2
            moved = proceeds_of(vb[c], vq[c], coins)
            base[i], net[i], is_buy[i] = coins, moved, False
            fees = (moved * _PROTOCOL + 9_999) // 10_000 + (moved * _CREATOR + 9_999) // 10_000
            quote[i] = moved - fees
            vb[c] += coins
            vq[c] -= moved
            held[c, w] -= coins
        else:
            spend = np.int64(20_000_000 * np.exp(2.5 * np.random.random()))
            moved = net_of_fees(spend, 0, _PROTOCOL, _CREATOR)
            coins = coins_for(vb[c], vq[c], moved)
            base[i], quote[i], net[i], is_buy[i] = coins, spend, moved, True
            vb[c] -= coins
            vq[c] += moved
            held[c, w] += coins
        after_base[i], after_quote[i] = vb[c], vq[c]
        real_base[i] = vb[c] - (start[0] - start[2])


def market(events: int, coins: int = 20_000, seed: int = 7, leader_share: float = 0.006) -> tuple[pa.Table, pa.Table]:
    """`tape` and `tape_slots` of a day; leaders make `leader_share` of its trades."""
    rng = np.random.default_rng(seed)
    at = np.arange(events)
    born = (at * coins) // events
    coin = np.maximum(born - (rng.exponential(40.0, events)).astype(np.int64), 0).astype(np.int64)
    wallet = np.where(
        rng.random(events) < leader_share, rng.integers(0, LEADERS, events), rng.integers(LEADERS, WALLETS, events)
    )
    start = INITIAL_SOL_CURVE
    shape = {
        name: np.zeros(events, np.int64) for name in ("base", "quote", "net", "after_base", "after_quote", "real_base")
    }
    is_buy = np.zeros(events, np.bool_)
    _trades(
        seed, coin, wallet, np.array([start.virtual_base, start.virtual_quote, start.real_base], np.int64),
        shape["base"], shape["quote"], shape["net"], is_buy, shape["after_base"], shape["after_quote"],
        shape["real_base"],
    )  # fmt: skip
    slot = _FIRST_SLOT + at // PER_SLOT
    seconds = 1_772_323_200 + (slot - _FIRST_SLOT) * 2 // 5
    columns = {
        "slot": slot,
        "tx_index": (at % PER_SLOT).astype(np.int32),
        "tx": at.astype(np.int32),
        "outer_ix": np.zeros(events, np.int32),
        "inner_ix": np.full(events, -1, np.int32),
        "event_seq": np.zeros(events, np.int32),
        "ts_ns": seconds * 1_000_000_000,
        "sig": _texts(rng, events, 88),
        "wallet": _texts(np.random.default_rng(WALLETS), WALLETS, 44).take(pa.array(wallet)),
        "mint": _texts(rng, coins, 44).take(pa.array(coin)),
        "quote_mint": pa.array([WSOL]).take(pa.array(np.zeros(events, np.int64))),
        "is_buy": is_buy,
        "venue": np.full(events, CURVE, np.int8),
        "kind": np.where(is_buy, BUY_IN, SELL).astype(np.int8),
        "base_raw": shape["base"],
        "quote_raw": shape["quote"],
        "net_raw": shape["net"],
        "reserve_base_raw": shape["after_base"],
        "reserve_quote_raw": shape["after_quote"],
        "real_base_raw": shape["real_base"],
        "real_quote_raw": shape["after_quote"] - start.virtual_quote,
    }
    for prefix in ("", "next_"):
        for name, bps in (("lp_bps", 0), ("protocol_bps", _PROTOCOL), ("creator_bps", _CREATOR)):
            columns[prefix + name] = np.full(events, bps, np.int16)
    slots = np.unique(slot)
    times = pa.table({"slot": slots, "seconds": 1_772_323_200 + (slots - _FIRST_SLOT) * 2 // 5})
    return TAPE.conform(pa.table(columns)), TAPE_SLOTS.conform(times)


def release(tape: pa.Table) -> Release:
    """Every leader with a fingerprint that the seed's rule accepts."""
    wallets = [name for name in pa.compute.unique(tape["wallet"]).to_pylist() if name.startswith("L")]
    values = (None, 30, 200, 0.7, 0.5, 20_000, 90_000, 1.6, 3.0, "mixed", 0.3, 0.0, 0.5)
    return Release("benchmark", "2026-02-28", {wallet: Pattern(wallet, *values) for wallet in wallets}, ())  # type: ignore[arg-type]


def _texts(rng: np.random.Generator, count: int, length: int) -> pa.Array:
    """Made-up keys; the first LEADERS begin with an L."""
    alphabet = np.frombuffer(b"123456789ABCDEFGHJKMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", np.uint8)
    letters = alphabet[rng.integers(0, len(alphabet), (count, length), np.uint8)]
    letters[:, 0] = ord("S")
    letters[:LEADERS, 0] = ord("L")
    ends = np.arange(0, (count + 1) * length, length, np.int64)
    return pa.LargeStringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(letters.ravel())).cast(pa.string())
