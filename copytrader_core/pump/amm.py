"""PumpSwap to the lamport: quotes in both directions, the pool after a v1 or v2 trade, price, market cap, price impact.

The price comes from the effective quote reserve: the vault plus the pool's signed `virtual_quote_reserves`. Rules are
those of the deployed program. Which fees apply is `fees`, slippage and sizing are policy.
"""

from __future__ import annotations

from copytrader_core.errors import QuoteError, TooSmallError
from copytrader_core.pump.curve import base_for, net_of_fees, proceeds_for
from copytrader_core.pump.fees import BPS, BUYBACK_BPS, DEFAULT_SUPPLY_RAW, Fees, buyback_share, fee
from copytrader_core.quick import quick_record


@quick_record
class PoolState:
    """A pool's two vault balances and its virtual quote reserve (signed), in raw units."""

    base: int
    quote_vault: int
    virtual_quote: int

    @property
    def effective_quote(self) -> int:
        """The quote reserve that sets the price."""
        return self.quote_vault + self.virtual_quote


@quick_record
class PoolQuote:
    """One trade on a pool. `quote_net` moves the price; `user_quote` is what the user pays (buy) or gets (sell)."""

    is_buy: bool
    base_raw: int
    quote_net: int
    lp_fee: int
    protocol_fee: int
    creator_fee: int
    user_quote: int


def buy_exact_out(state: PoolState, fees: Fees, base_raw: int) -> PoolQuote:
    """Buy exactly `base_raw` coins (`amm_buy`, `amm_buy_v2`). Raises QuoteError where the pool does not have them."""
    effective = _require_open(state, base_raw)
    if base_raw >= state.base:
        raise QuoteError(f"{base_raw} coins asked, the pool holds {state.base}: buy fewer")
    net = -(-effective * base_raw // (state.base - base_raw))
    lp_fee, protocol_fee = fee(net, fees.lp_bps), fee(net, fees.protocol_bps)
    creator_fee = fee(net, fees.creator_bps)
    paid = net + lp_fee + protocol_fee + creator_fee
    return PoolQuote(True, base_raw, net, lp_fee, protocol_fee, creator_fee, paid)


def buy_exact_in(state: PoolState, fees: Fees, spend: int) -> PoolQuote:
    """Spend exactly `spend`, fees included (`amm_buy_exact_quote_in` and its v2).

    The odd unit that rounding leaves goes into the protocol fee: the user always pays `spend`. Raises QuoteError where
    the spend buys nothing.
    """
    effective = _require_open(state, spend)
    net = net_of_fees(spend, fees)
    base_raw = base_for(state.base, effective, net) if net > 1 else 0
    if base_raw == 0:
        raise TooSmallError(f"{spend} buys not even one raw unit of the coin: spend more")
    lp_fee, creator_fee = fee(net, fees.lp_bps), fee(net, fees.creator_bps)
    return PoolQuote(True, base_raw, net, lp_fee, spend - net - lp_fee - creator_fee, creator_fee, spend)


def sell(state: PoolState, fees: Fees, base_raw: int) -> PoolQuote:
    """Sell `base_raw` coins. Raises QuoteError where the vault cannot pay or the fees exceed the proceeds.

    Dust may sell for nothing: v2 does that, v1 refuses it with a misleading 6053.
    """
    effective = _require_open(state, base_raw)
    net = proceeds_for(state.base, effective, base_raw)
    lp_fee, protocol_fee = fee(net, fees.lp_bps), fee(net, fees.protocol_bps)
    creator_fee = fee(net, fees.creator_bps)
    user_quote = net - lp_fee - protocol_fee - creator_fee
    if user_quote < 0:
        raise QuoteError(f"selling {base_raw} coins takes {net}, less than its fees: sell more at once")
    if net > state.quote_vault:
        raise QuoteError(f"selling {base_raw} coins takes {net}, the vault holds {state.quote_vault}: sell fewer")
    return PoolQuote(False, base_raw, net, lp_fee, protocol_fee, creator_fee, user_quote)


def after_v1(state: PoolState, quote: PoolQuote) -> PoolState:
    """The pool after a v1 trade: protocol and creator fees leave it, the LP fee stays."""
    if quote.is_buy:
        return PoolState(
            state.base - quote.base_raw, state.quote_vault + quote.quote_net + quote.lp_fee, state.virtual_quote
        )
    return PoolState(
        state.base + quote.base_raw, state.quote_vault - quote.quote_net + quote.lp_fee, state.virtual_quote
    )


def after_v2(state: PoolState, quote: PoolQuote, *, buyback_bps: int = BUYBACK_BPS) -> PoolState:
    """The pool after a v2 trade: it keeps what v1 pays out, except the buyback share, outside of the price."""
    kept = quote.protocol_fee - buyback_share(quote.protocol_fee, buyback_bps) + quote.creator_fee
    after = after_v1(state, quote)
    return PoolState(after.base, after.quote_vault + kept, after.virtual_quote - kept)


def spot_price(state: PoolState) -> float:
    """Raw quote per raw coin at the margin, before fees. For reading and ranking, never for sums."""
    return state.effective_quote / state.base


def market_cap(state: PoolState, supply_raw: int = DEFAULT_SUPPLY_RAW) -> int:
    """All coins of the mint at the spot price, in raw units of the quote: what the fee tiers go by."""
    if state.base <= 0:
        raise QuoteError("a pool without coins has no price")
    return state.effective_quote * supply_raw // state.base


def price_impact_bps(state: PoolState, quote: PoolQuote) -> int:
    """How much worse than the spot price the trade's own price is, before fees, in basis points, rounded up."""
    at_spot = quote.base_raw * state.effective_quote
    paid = quote.quote_net * state.base
    return -(-abs(paid - at_spot) * BPS // at_spot)


def _require_open(state: PoolState, amount: int) -> int:
    effective = state.quote_vault + state.virtual_quote
    if state.base <= 0 or effective <= 0:
        raise QuoteError(f"the pool is empty ({state}): there is nothing to trade with")
    if amount <= 0:
        raise QuoteError(f"an amount above 0 is needed, got {amount}")
    return effective
