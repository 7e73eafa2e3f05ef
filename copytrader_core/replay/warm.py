"""Compiles every kernel of the replay once, so that no run waits for it. `python -m copytrader_core.replay.warm`."""

from __future__ import annotations

import numpy as np

from copytrader_core.replay.clock import SlotClock
from copytrader_core.replay.copies import Exits, Jobs, simulate
from copytrader_core.replay.execution import BUY_IN, CURVE, SELL, classify, executed
from copytrader_core.replay.follow import follow, look_ahead
from copytrader_core.replay.rows import next_fees, usual_pool_fees
from copytrader_core.replay.tape import AMOUNTS, Tape
from copytrader_core.settings import Settings


def warm() -> None:
    """Runs each kernel on a market of three trades."""
    tape = _market()
    one = np.zeros(1, np.int64)
    jobs = Jobs(one, one + 10**8, one + 1, one + 10_000, one - 1)
    ones, shape = np.ones((1, 1)), np.zeros((1, 1), np.int64)
    exits = Exits(shape + 3, shape + 4, ones * 2, -ones, 0 * ones, 0 * ones, np.zeros((1, 1), np.bool_))
    simulate(tape, jobs, exits, Settings(), 1)
    SlotClock.of(tape.slot, tape.slot)
    left, short, kept = np.zeros((3, tape.n_pairs + 3), np.int64)
    shift = np.zeros(4, np.int64)
    parts = (tape.pair, tape.is_buy, tape.venue, tape.kind, tape.base, tape.quote, tape.net)
    met = (tape.after_base, tape.after_quote, tape.real_base)
    follow(*parts, *met, tape.fees, tape.following, -1, 0, 3, True, shift, left, short, 0)
    look_ahead(
        *(tape.tx, *parts, *met, tape.real_quote, tape.fees, tape.next_fees, tape.following),
        *(-1, 0, 3, shift, left, short, 0, 10**6, 10**8, 10**6, 2.0, 0.5, 0.0, 0.0, 0.0, False, kept),
    )
    row = np.array([10**6, 10**8, 10**8, 0, 95, 30, 10**15, 3 * 10**10, 7 * 10**14], np.int64)
    executed(int(BUY_IN), int(CURVE), row, shift[:2], 0, 0)
    kinds, one_row = np.zeros(1, np.int8), row.reshape(9, 1)
    fees = np.ascontiguousarray(one_row[3:6].T)
    venue, is_buy = np.zeros(1, np.int8), np.ones(1, np.bool_)
    classify(venue, is_buy, one_row[0], one_row[1], one_row[2], fees, one_row[6], one_row[7], one_row[8], kinds)
    next_fees(venue, np.zeros(1, np.int32), np.zeros((1, 3), np.int64), one, usual_pool_fees(1))


def _market() -> Tape:
    n = 3
    columns = {name: np.full(n, 10**9, np.int64) for name in AMOUNTS}
    columns |= {name: np.zeros((n, 3), np.int16) for name in ("fees", "next_fees")}
    columns |= {"slot": np.arange(1, n + 1), "tx": np.arange(n), "tx_index": np.zeros(n, np.int32)}
    columns |= {"mint": np.zeros(n, np.int32), "wallet": np.zeros(n, np.int32), "is_buy": np.ones(n, np.bool_)}
    columns |= {"venue": np.full(n, CURVE, np.int8), "kind": np.full(n, SELL, np.int8)}
    return Tape.of(columns, ["coin"], ["wallet"])


if __name__ == "__main__":
    warm()
