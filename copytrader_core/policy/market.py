"""A coin's market as the policy sees it, and exact quotes on it. Venue arithmetic is `copytrader_core.pump`'s."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from copytrader_core.errors import QuoteError, TooSmallError
from copytrader_core.pump import amm, curve
from copytrader_core.pump.fees import Fees
from copytrader_core.quick import quick_record

Venue = Literal["curve", "amm"]


@quick_record
class MarketState:
    """Reserves of one venue after the transaction at (slot, tx_index).

    `base_raw` and `quote_raw` are effective: virtual reserves on the curve, vault plus virtual quote in a pool.
    `real_base_raw` is what the venue can still sell, `real_quote_raw` what it holds in SOL. Fees are per side, in
    basis points. A complete curve trades nothing more.
    """

    venue: Venue
    pool: str | None
    slot: int
    tx_index: int
    base_raw: int
    quote_raw: int
    real_base_raw: int
    real_quote_raw: int
    lp_fee_bps: int
    protocol_fee_bps: int
    creator_fee_bps: int
    complete: bool = False

    @property
    def fee_bps(self) -> int:
        """All swap fees of one side."""
        return self.lp_fee_bps + self.protocol_fee_bps + self.creator_fee_bps

    @property
    def fees(self) -> Fees:
        """The same, as the venues' arithmetic takes them."""
        return Fees(self.lp_fee_bps, self.protocol_fee_bps, self.creator_fee_bps)


@quick_record
class BuyQuote:
    """What a spend brings: coins, what is really paid (a pool may leave a lamport), and the fees within that."""

    tokens_raw: int
    paid_lamports: int
    fee_lamports: int


@quick_record
class SellQuote:
    """What coins bring: lamports after swap fees, and the fees taken off."""

    proceeds_lamports: int
    fee_lamports: int


def quote_buy(market: MarketState, spend_lamports: int) -> BuyQuote:
    """What spending `spend_lamports`, fees included, brings. Raises QuoteError where the venue gives no quote."""
    _require_open(market)
    if market.venue == "curve":
        bought = _curve_bought(market, spend_lamports)
        return BuyQuote(bought.base_raw, bought.user_quote, bought.protocol_fee + bought.creator_fee)
    swap = _pool_bought(market, spend_lamports)
    return BuyQuote(swap.base_raw, swap.user_quote, swap.lp_fee + swap.protocol_fee + swap.creator_fee)


def tokens_for(market: MarketState, spend_lamports: int) -> int:
    """The coins of `quote_buy`, and nothing else of it. Raises as it does."""
    _require_open(market)
    bought = _curve_bought if market.venue == "curve" else _pool_bought
    return bought(market, spend_lamports).base_raw


def quote_sell(market: MarketState, tokens_raw: int) -> SellQuote:
    """What selling `tokens_raw` brings after fees. Raises QuoteError where the venue gives no quote."""
    _require_open(market)
    if market.venue == "curve":
        sold = curve.sell(_curve(market), market.fees, tokens_raw)
        return SellQuote(sold.user_quote, sold.protocol_fee + sold.creator_fee)
    swap = amm.sell(_pool(market), market.fees, tokens_raw)
    return SellQuote(swap.user_quote, swap.lp_fee + swap.protocol_fee + swap.creator_fee)


def price_impact_bps(market: MarketState, spend_lamports: int) -> int | None:
    """How much worse than the market's price the coins of this spend come, before fees, in bps rounded up.

    None where the venue gives no quote.
    """
    try:
        _require_open(market)
        if market.venue == "curve":
            return curve.price_impact_bps(_curve(market), _curve_bought(market, spend_lamports))
        return amm.price_impact_bps(_pool(market), _pool_bought(market, spend_lamports))
    except QuoteError:
        return None


def after_buy(market: MarketState, spend_lamports: int) -> MarketState:
    """The market after somebody spent `spend_lamports`, fees included; the same for 0 or a spend that buys nothing.

    A curve is bought empty at most. The slot stays: it is a supposition. Raises QuoteError where the venue is closed.
    """
    _require_open(market)
    try:
        return _after_buy(market, spend_lamports) if spend_lamports > 0 else market
    except TooSmallError:
        return market


def _after_buy(market: MarketState, spend_lamports: int) -> MarketState:
    if market.venue == "curve":
        after = _curve_bought(market, spend_lamports).after
        effective, real = (after.virtual_base, after.virtual_quote), (after.real_base, after.real_quote)
        return _with_reserves(market, effective, real, complete=after.real_base == 0)
    left = amm.after_v1(_pool(market), _pool_bought(market, spend_lamports))
    return _with_reserves(market, (left.base, left.effective_quote), (left.base, left.quote_vault), market.complete)


def _with_reserves(
    market: MarketState, effective: tuple[int, int], real: tuple[int, int], complete: bool
) -> MarketState:
    """The same venue with other reserves (base, quote). In the order of the record: `replace` takes five times as long,
    and every decision asks for it."""
    return MarketState(
        market.venue,
        market.pool,
        market.slot,
        market.tx_index,
        effective[0],
        effective[1],
        real[0],
        real[1],
        market.lp_fee_bps,
        market.protocol_fee_bps,
        market.creator_fee_bps,
        complete,
    )


# One decision asks for the same buy several times: its price, its impact, and what it leaves to those behind it.
_bought: Final[dict[tuple[int, int], tuple[MarketState, curve.CurveQuote]]] = {}
_MAX_BOUGHT: Final = 64


def _curve_bought(market: MarketState, spend_lamports: int) -> curve.CurveQuote:
    """Remembered by identity, which is asked for faster than twelve fields; what is remembered keeps it alive."""
    key = (id(market), spend_lamports)
    known = _bought.get(key)
    if known is None:
        quote = curve.buy_exact_in(_curve(market), market.fees, spend_lamports)
        if len(_bought) >= _MAX_BOUGHT:
            _bought.clear()
        known = _bought[key] = market, quote
    return known[1]


@lru_cache(maxsize=64)
def _pool_bought(market: MarketState, spend_lamports: int) -> amm.PoolQuote:
    return amm.buy_exact_in(_pool(market), market.fees, spend_lamports)


def _require_open(market: MarketState) -> None:
    if market.complete:
        raise QuoteError("the curve is complete and its pool has not traded yet: wait for the migration")


def _curve(market: MarketState) -> curve.CurveState:
    return curve.CurveState(market.base_raw, market.quote_raw, market.real_base_raw, market.real_quote_raw)


def _pool(market: MarketState) -> amm.PoolState:
    return amm.PoolState(market.base_raw, market.real_quote_raw, market.quote_raw - market.real_quote_raw)
