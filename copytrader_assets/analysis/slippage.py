"""What a buy cost against the price that stood before it, and how far that price had moved before the buy came in.

The reference is the fee-free spot of the reserves just before the trade (the reserves of the event are those after it,
so the trade is taken back out), not a mean of later or earlier trades.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import flags, floats, ints
from copytrader_assets.analysis.grouped import Flags, Floats, ratio
from copytrader_assets.analysis.price_path import PricePath


@dataclass(frozen=True, slots=True)
class EntrySlippage:
    """Per BUY event, as fractions of the spot before it: the whole, its fee share, its impact. NaN = unknown."""

    whole: Floats
    fee: Floats
    impact: Floats
    spot: Floats
    """The spot just before it, raw quote per raw coin."""


def entry_slippage(events: pa.Table) -> EntrySlippage:
    """Slippage of the BUY rows of `events` (other actions give NaN).

    whole = (quote_raw / base_raw) / (quote reserve before / base reserve before) - 1, with
    base before = reserve_base_raw + base_raw and quote before = reserve_quote_raw - (quote_raw - swap_fee_raw).
    An LP fee stays in a pool's reserve and is not in the columns: it moves the reference by at most 0.25 % of the
    buy's share of the reserve. Rows without reserves or with a fee charged in the coin (inverted pools) give NaN.
    """
    base, quote = floats(events, "base_raw"), floats(events, "quote_raw")
    net = quote - floats(events, "swap_fee_raw")
    base_before = floats(events, "reserve_base_raw") + base
    quote_before = floats(events, "reserve_quote_raw") - net
    known: Flags = (base > 0) & (net > 0) & (base_before > 0) & (quote_before > 0)
    known &= flags(pc.equal(events["action"], "BUY"))
    spot = np.divide(quote_before, base_before, out=np.full(len(base), np.nan), where=known)
    paid = np.divide(quote, base, out=np.full(len(base), np.nan), where=known)
    moved = np.divide(net, base, out=np.full(len(base), np.nan), where=known)
    return EntrySlippage(paid / spot - 1, (paid - moved) / spot, moved / spot - 1, spot)


def entry_delay(path: PricePath, slippage: EntrySlippage) -> Floats:
    """How far the spot had moved, for each of `path.own`, between the last earlier slot with a trade and the trade.

    The price that stood at the end of that slot is the newest that anybody can have decided on: a transaction is
    written before the block in which it lands. What came in between, in the same block, is the price of arriving
    after others. NaN where no earlier slot has a price, and for what has no spot of its own (`slippage` of
    `path.own.rows`).
    """
    at = path.own.at
    pair = path.pair[at]
    before = path.first_at(pair, ints(path.own.rows, "slot")) - 1
    known = before >= path.first_of(pair)
    reference = np.where(known, path.spot[np.maximum(before, 0)], np.nan) if len(at) else np.zeros(0)
    return ratio(slippage.spot, reference) - 1
