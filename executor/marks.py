"""What held coins would bring now, from the reserves that their last landed trade left. No database here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from copytrader_core.errors import QuoteError
from copytrader_core.policy.market import MarketState, quote_sell
from copytrader_core.records import Event
from executor.market_book import MarketBook

__all__ = ["landed_event", "marks"]


def marks(rows: Iterable[Mapping[str, Any]], positions: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Lamports of selling each whole position now, swap fees off, by position id; none where no price is known.

    `rows` are those of `last_markets`, `positions` those of the ledger.
    """
    book = MarketBook()
    for row in rows:
        book.hear(landed_event(row))
    found = {one["position_id"]: _mark(book.state(one["mint"]), one) for one in positions}
    return {identity: lamports for identity, lamports in found.items() if lamports is not None}


def _mark(market: MarketState | None, position: Mapping[str, Any]) -> int | None:
    if market is None:
        return None
    # The reserves lack what a paper buy would have put in; a live one is in them, and then it is no less to be had.
    own = replace(market, real_quote_raw=market.real_quote_raw + position["payload"].get("paid_in_lamports", 0))
    try:
        return quote_sell(own, int(position["base_raw"])).proceeds_lamports
    except QuoteError:
        return None


def landed_event(row: Mapping[str, Any]) -> Event:
    """A row of `last_markets` as an event; what a market does not need is left empty."""
    return Event(
        slot=row["slot"],
        tx_index=row["tx_index"],
        sig=row["sig"],
        outer_ix=0,
        inner_ix=-1,
        event_seq=0,
        wallet="",
        fee_payer="",
        program=row["program"],
        action=row["action"],
        mint=row["mint"],
        base_mint=row["mint"],
        quote_mint=row["quote_mint"],
        base_raw=None,
        quote_raw=None,
        swap_fee_raw=None,
        tx_fee_lamports=0,
        tip_lamports=0,
        reserve_base_raw=int(row["reserve_base_raw"]),
        reserve_quote_raw=int(row["reserve_quote_raw"]),
        amount_in=None,
        amount_out=None,
        price_est=None,
        fee_sol=0.0,
        meta=row["meta_json"] or {},
    )
