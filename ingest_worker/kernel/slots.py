"""All transactions of one slot in one call: the kernel's driver.

For each transaction it says DONE (its rows are written), SKIPPED (it has none to give) or LEFT (for the decoder), and
what a watcher of the programs wants to know of the events: the reserves before and after each trade.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from copytrader_core.compiled import inner, kernel
from ingest_worker.kernel.rows import (
    is_money,
    pool_holds_its_mints,
    row_bytes,
    tips,
    wallet_index,
    write_create,
    write_trade,
)
from ingest_worker.kernel.speech import (
    EMISSION_DATA,
    EMISSION_EVENT,
    EMISSION_LENGTH,
    FRAME_CALL,
    FRAME_IX,
    HAS_OTHERS,
    N_EMISSIONS,
    N_FRAMES,
    is_logged,
    listen,
    read_fields,
)
from ingest_worker.kernel.swaps import (
    AFTER_BASE,
    AFTER_QUOTE,
    AFTER_VIRTUAL,
    BASE_KEY,
    BEFORE_BASE,
    BEFORE_QUOTE,
    BEFORE_VIRTUAL,
    LP_RATE,
    QUOTE_KEY,
    place,
    read_curve,
    read_pool,
    turn_round,
)
from ingest_worker.kernel.tables import CREATE, IX_TRADES, MINT, POOL, R_FLAT_LP, TRADE
from ingest_worker.kernel.transaction import (
    CALL_ACCOUNTS,
    CALL_N_ACCOUNTS,
    N_KEYS,
    NOTHING,
    USUAL,
    read,
)
from ingest_worker.kernel.wire import TX_BEGIN, TX_END, TX_INDEX, TX_SIGNATURE

SKIPPED, DONE, LEFT = range(3)
# Columns of `steps`: a trade of a coin or pool that is followed, and its reserves.
STEP_TX, STEP_KEY, STEP_IS_POOL, STEP_BEFORE, STEP_AFTER = 0, 1, 2, 3, 6
STEP_COLUMNS: Final = 9
# Columns of `others`: an account that an instruction which is no trade was given.
OTHER_TX, OTHER_KEY = range(2)
# What `land` returns: transactions that were dealt with, bytes, rows, steps and others written.
N_DEALT, N_BYTES, N_ROWS, N_STEPS, N_OTHERS = range(5)

_MAX_INT4: Final = 1 << 31


@kernel
def land(
    data,
    transactions,
    first,
    moment,
    work,
    tables,
    names,
    off_firsts,
    off_keys,
    out,
    status,
    starts,
    steps,
    others,
    counts,
):
    """Deals with `transactions[first:]`, all in `data`, until one of the output arrays is full.

    `counts` goes on from what it holds; `starts` gets where each row begins.
    """
    for tx in range(first, len(transactions)):
        before = counts.copy()
        found = _one(
            data, transactions[tx], tx, moment, work, tables, names, off_firsts, off_keys,
            out, starts, steps, others, counts,
        )  # fmt: skip
        if found < 0:
            counts[:] = before
            return
        if found == LEFT:
            counts[:] = before
        status[tx] = found
        counts[N_DEALT] = tx + 1


@inner
def _one(data, where, tx, moment, work, tables, names, off_firsts, off_keys, out, starts, steps, others, counts):
    """One transaction: SKIPPED, DONE, LEFT, or -1 where an output array is full."""
    found = read(data, where[TX_BEGIN], where[TX_END], work)
    if found == USUAL:
        found = listen(data, work, tables)
    if found == NOTHING:
        return SKIPPED
    if found != USUAL or where[TX_INDEX] >= _MAX_INT4 or where[TX_SIGNATURE] < 0:
        return LEFT
    tip = tips(data, work, tables)
    if tip < 0:
        return LEFT
    work.n_texts[: work.facts[N_KEYS]] = 0
    if work.facts[HAS_OTHERS] and not _note_others(data, tx, work, tables, others, counts):
        return -1
    for at in range(work.facts[N_EMISSIONS]):
        emission = work.emissions[at]
        if not is_logged(data, emission[EMISSION_DATA], emission[EMISSION_LENGTH], work, tables):
            return LEFT
        if not read_fields(data, emission, work, tables):
            return LEFT
        to = counts[N_BYTES]
        if len(out) - to < row_bytes(data, emission, work, tables) or len(starts) == counts[N_ROWS]:
            return -1
        if len(steps) == counts[N_STEPS]:
            return -1
        if emission[EMISSION_EVENT] == CREATE:
            to = write_create(data, emission, where, tip, moment, work, tables, names, out, to)
        else:
            to = _trade(
                data,
                emission,
                where,
                tx,
                tip,
                moment,
                work,
                tables,
                names,
                off_firsts,
                off_keys,
                out,
                to,
                steps,
                counts,
            )
        if to < 0:
            return LEFT
        starts[counts[N_ROWS]] = counts[N_BYTES]
        counts[N_ROWS] += 1
        counts[N_BYTES] = to
    return DONE


@inner
def _trade(data, emission, where, tx, tip, moment, work, tables, names, off_firsts, off_keys, out, to, steps, counts):
    """The row of a trade, and its step. -1 where it is unusual."""
    event = emission[EMISSION_EVENT]
    if event == TRADE:
        if not read_curve(data, emission, work, tables) or is_money(data, work.values[BASE_KEY], work, tables):
            return np.int64(-1)
    elif not _usual_pool(data, emission, work, tables):
        return np.int64(-1)
    n_steps = counts[N_STEPS]
    _note_step(data, event, tx, work, tables, steps, counts)
    if event != TRADE and is_money(data, work.values[BASE_KEY], work, tables):
        turn_round(work.values)
    wallet = wallet_index(data, work, tables, off_firsts, off_keys)
    if wallet < 0:
        counts[N_STEPS] = n_steps
        return wallet
    return write_trade(data, emission, where, wallet, tip, moment, work, tables, names, out, to)


@inner
def _usual_pool(data, emission, work, tables):
    """Whether the trade is with a pool of a coin against what it is paid in, or the other way round."""
    if not read_pool(data, emission, work, tables):
        return False
    base, quote = work.values[BASE_KEY], work.values[QUOTE_KEY]
    if is_money(data, base, work, tables) and is_money(data, quote, work, tables):
        return False
    return pool_holds_its_mints(data, emission[EMISSION_EVENT], work, tables)


@inner
def _note_step(data, event, tx, work, tables, steps, counts):
    """What `drift_continuity` follows: every curve, and pools of our coins against money."""
    values = work.values
    step = steps[counts[N_STEPS]]
    if event != TRADE:
        is_followed = values[LP_RATE] != tables.rates[R_FLAT_LP]
        if not is_followed or not is_money(data, values[QUOTE_KEY], work, tables):
            return
    step[STEP_TX], step[STEP_IS_POOL] = tx, event != TRADE
    step[STEP_KEY] = place(event, MINT if event == TRADE else POOL, work, tables)
    step[STEP_BEFORE], step[STEP_BEFORE + 1], step[STEP_BEFORE + 2] = (
        values[BEFORE_BASE], values[BEFORE_QUOTE], values[BEFORE_VIRTUAL],
    )  # fmt: skip
    step[STEP_AFTER], step[STEP_AFTER + 1], step[STEP_AFTER + 2] = (
        values[AFTER_BASE], values[AFTER_QUOTE], values[AFTER_VIRTUAL],
    )  # fmt: skip
    counts[N_STEPS] += 1


@inner
def _note_others(data, tx, work, tables, others, counts):
    """The accounts of instructions that are no trades; False where `others` is full."""
    for at in range(work.facts[N_FRAMES]):
        frame = work.frames[at]
        if frame[FRAME_IX] >= 0 and tables.instructions[frame[FRAME_IX], IX_TRADES]:
            continue
        call = work.calls[frame[FRAME_CALL]]
        n = call[CALL_N_ACCOUNTS]
        if len(others) - counts[N_OTHERS] < n:
            return False
        for place_ in range(call[CALL_ACCOUNTS], call[CALL_ACCOUNTS] + n):
            others[counts[N_OTHERS], OTHER_TX] = tx
            others[counts[N_OTHERS], OTHER_KEY] = work.keys[np.int64(data[place_])]
            counts[N_OTHERS] += 1
    return True
