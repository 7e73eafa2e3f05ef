"""What a trade says of the market that it was made in, as far as a market book needs it. No state, no quotes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["MarketTrade", "market_trade"]


class MarketTrade(NamedTuple):
    """A market after a trade: effective reserves (`base_raw`, `quote_raw`), and what it really holds; None: not said.

    With a `pool` it is PumpSwap's, and `real_quote_raw` the vault's. Fees are those that this trader paid, in bps.
    """

    mint: str
    slot: int
    tx_index: int
    base_raw: int
    quote_raw: int
    real_base_raw: int | None
    real_quote_raw: int | None
    pool: str | None
    lp_bps: int
    protocol_bps: int
    creator_bps: int
    has_cashback: bool
    is_complete: bool


def market_trade(
    mint: str, slot: int, tx_index: int, reserves: tuple[int, int], meta: Mapping[str, Any], *, is_pool: bool
) -> MarketTrade:
    """From an event's `meta`; the reserves are the effective ones, base first."""
    return MarketTrade(
        mint=mint,
        slot=slot,
        tx_index=tx_index,
        base_raw=reserves[0],
        quote_raw=reserves[1],
        real_base_raw=None if is_pool else _whole(meta.get("real_base_raw")),
        real_quote_raw=_whole(meta.get("vault_quote_raw" if is_pool else "real_quote_raw")),
        pool=str(meta.get("pool")) if is_pool else None,
        lp_bps=int(meta.get("lp_fee_bps") or 0),
        protocol_bps=int(meta.get("protocol_fee_bps") or 0),
        creator_bps=int(meta.get("creator_fee_bps") or 0),
        has_cashback=bool(meta.get("cashback_raw")),
        is_complete=bool(meta.get("complete")),
    )


def _whole(number: Any) -> int | None:
    return None if number is None else int(number)
