"""The bonding curve to the lamport: quotes in both directions, the state after a trade, price, distance to completion.

Rules are those of the deployed program; where the official kit's estimate differs, the program's is used. Fees come in
as `Fees`; slippage and sizing are policy. The `*_for` functions serve loops that need one bare number.
"""

from __future__ import annotations

from typing import Final

from copytrader_core.errors import QuoteError, TooSmallError
from copytrader_core.pump.fees import BPS, DEFAULT_SUPPLY_RAW, Fees, fee
from copytrader_core.quick import quick_record

MIGRATION_FEE_LAMPORTS: Final = 15_000_001
"""What migration takes off the curve's quote before the pool is filled (Global.pool_migration_fee as of 2026-10)."""

POOL_BASE_RAW: Final = 206_900_000_000_000
"""Coins held back from the curve for the pool: 1e15 less the 793.1e12 for sale."""


@quick_record
class CurveState:
    """A curve's four reserves in raw units. Complete when no real base is left."""

    virtual_base: int
    virtual_quote: int
    real_base: int
    real_quote: int


INITIAL_SOL_CURVE: Final = CurveState(1_073_000_000_000_000, 30_000_000_000, 793_100_000_000_000, 0)


@quick_record
class CurveQuote:
    """One trade on the curve. `quote_net` moves the price; `user_quote` is what the user pays (buy) or gets (sell)."""

    base_raw: int
    quote_net: int
    protocol_fee: int
    creator_fee: int
    user_quote: int
    after: CurveState


@quick_record
class PoolPart:
    """The part of a completing v3 buy that is filled from the pool-to-be, at the pool's price and the curve's fees."""

    base_raw: int
    quote_net: int
    protocol_fee: int
    creator_fee: int
    user_quote: int
    pool_base_after: int
    pool_quote_after: int


@quick_record
class V3BuyQuote:
    """A v3 buy: the curve's part and, where it empties the curve and wants more, the pool's."""

    curve: CurveQuote
    pool: PoolPart | None

    @property
    def base_raw(self) -> int:
        """Coins that the user gets."""
        return self.curve.base_raw + (self.pool.base_raw if self.pool else 0)

    @property
    def user_quote(self) -> int:
        """What the user pays, fees included."""
        return self.curve.user_quote + (self.pool.user_quote if self.pool else 0)

    @property
    def completes(self) -> bool:
        """Whether the curve is complete after this buy."""
        return self.curve.after.real_base == 0


def cost_for(virtual_base: int, virtual_quote: int, base_raw: int) -> int:
    """Quote that buys exactly `base_raw`, before fees. `base_raw` must be below `virtual_base`."""
    return base_raw * virtual_quote // (virtual_base - base_raw) + 1


def base_for(virtual_base: int, virtual_quote: int, quote_net: int) -> int:
    """Coins that the program gives for `quote_net` (without fees, at least 1) in its exact-in instructions."""
    return (quote_net - 1) * virtual_base // (virtual_quote + quote_net - 1)


def proceeds_for(virtual_base: int, virtual_quote: int, base_raw: int) -> int:
    """Quote that a sale of `base_raw` takes off the curve, before fees."""
    return base_raw * virtual_quote // (virtual_base + base_raw)


def net_of_fees(spend: int, fees: Fees) -> int:
    """The part of an exact-in spend that buys coins; what it lacks to `spend` is fees."""
    lp, protocol, creator = fees.lp_bps, fees.protocol_bps, fees.creator_bps
    net = spend * BPS // (BPS + lp + protocol + creator)
    # `fee` of each, written out: every quote asks for them.
    excess = net - -net * lp // BPS - -net * protocol // BPS - -net * creator // BPS - spend
    return net - excess if excess > 0 else net


def buy_exact_out(state: CurveState, fees: Fees, base_raw: int) -> CurveQuote:
    """Buy exactly `base_raw` coins (`buy`, `buy_v2`). Raises QuoteError where the curve does not have them."""
    _require_open(state, base_raw)
    if base_raw > state.real_base:
        raise QuoteError(f"{base_raw} coins asked, {state.real_base} left on the curve: buy fewer, or with v3")
    return _bought(state, fees, base_raw)


def buy_exact_in(state: CurveState, fees: Fees, spend: int) -> CurveQuote:
    """Spend exactly `spend`, fees included (`buy_exact_sol_in`, `buy_exact_quote_in_v2`).

    The odd lamport that rounding leaves goes into the protocol fee: the user always pays `spend`. Raises QuoteError
    where the spend buys nothing or more than the curve has.
    """
    quote = _exact_in(state, fees, spend)
    if quote.base_raw > state.real_base:
        raise QuoteError(f"{spend} buys {quote.base_raw} coins, {state.real_base} left on the curve: buy with v3")
    return quote


def sell(state: CurveState, fees: Fees, base_raw: int) -> CurveQuote:
    """Sell `base_raw` coins (all sell instructions). Raises QuoteError where the fees exceed the proceeds."""
    _require_open(state, base_raw)
    net = base_raw * state.virtual_quote // (state.virtual_base + base_raw)
    if net > state.real_quote:
        raise QuoteError(f"selling {base_raw} coins takes {net}, the curve holds {state.real_quote}: sell fewer")
    protocol_fee, creator_fee = fee(net, fees.protocol_bps), fee(net, fees.creator_bps)
    user_quote = net - protocol_fee - creator_fee
    if user_quote < 0:
        raise QuoteError(f"selling {base_raw} coins takes {net}, less than its fees: sell more at once")
    after = CurveState(
        state.virtual_base + base_raw,
        state.virtual_quote - net,
        state.real_base + base_raw,
        state.real_quote - net,
    )
    return CurveQuote(base_raw, net, protocol_fee, creator_fee, user_quote, after)


def buy_exact_out_v3(
    state: CurveState,
    fees: Fees,
    base_raw: int,
    *,
    pool_base: int = POOL_BASE_RAW,
    migration_fee: int = MIGRATION_FEE_LAMPORTS,
) -> V3BuyQuote:
    """Buy exactly `base_raw` coins with `buy_v3`, which goes on into the pool-to-be when the curve runs out.

    `pool_base` is the curve's coin balance less `real_base`.
    """
    _require_open(state, base_raw)
    if base_raw <= state.real_base:
        return V3BuyQuote(_bought(state, fees, base_raw), None)
    curve = _bought(state, fees, state.real_base)
    rest, pool_quote = base_raw - state.real_base, curve.after.real_quote - migration_fee
    if rest >= pool_base:
        raise QuoteError(f"{rest} coins asked beyond the curve, the pool will hold {pool_base}: buy fewer")
    net = -(-pool_quote * rest // (pool_base - rest))
    protocol_fee, creator_fee = fee(net, fees.protocol_bps), fee(net, fees.creator_bps)
    return V3BuyQuote(curve, _pool_part(pool_base, pool_quote, rest, net, protocol_fee, creator_fee))


def buy_exact_in_v3(
    state: CurveState,
    fees: Fees,
    spend: int,
    *,
    pool_base: int = POOL_BASE_RAW,
    migration_fee: int = MIGRATION_FEE_LAMPORTS,
) -> V3BuyQuote:
    """Spend `spend`, fees included, with `buy_exact_quote_in_v3`, which goes on into the pool-to-be.

    A rest too small to buy from the pool stays with the user: the one case that pays less than `spend`.
    `pool_base` is the curve's coin balance less `real_base`.
    """
    quote = _exact_in(state, fees, spend)
    if quote.base_raw <= state.real_base:
        return V3BuyQuote(quote, None)
    curve = _bought(state, fees, state.real_base)
    rest, pool_quote = spend - curve.user_quote, curve.after.real_quote - migration_fee
    net = net_of_fees(rest, fees)
    out = base_for(pool_base, pool_quote, net) if net > 1 else 0
    if out == 0:
        return V3BuyQuote(curve, None)
    creator_fee = fee(net, fees.creator_bps)
    return V3BuyQuote(curve, _pool_part(pool_base, pool_quote, out, net, rest - net - creator_fee, creator_fee))


def _bought(state: CurveState, fees: Fees, base_raw: int) -> CurveQuote:
    net = cost_for(state.virtual_base, state.virtual_quote, base_raw)
    protocol_fee, creator_fee = fee(net, fees.protocol_bps), fee(net, fees.creator_bps)
    after = _after_buy(state, base_raw, net)
    return CurveQuote(base_raw, net, protocol_fee, creator_fee, net + protocol_fee + creator_fee, after)


def _exact_in(state: CurveState, fees: Fees, spend: int) -> CurveQuote:
    _require_open(state, spend)
    net = net_of_fees(spend, fees)
    base_raw = base_for(state.virtual_base, state.virtual_quote, net) if net > 1 else 0
    if base_raw == 0:
        raise TooSmallError(f"{spend} buys not even one raw unit of the coin: spend more")
    creator_fee = fee(net, fees.creator_bps)
    return CurveQuote(base_raw, net, spend - net - creator_fee, creator_fee, spend, _after_buy(state, base_raw, net))


def _after_buy(state: CurveState, base_raw: int, net: int) -> CurveState:
    return CurveState(
        state.virtual_base - base_raw,
        state.virtual_quote + net,
        state.real_base - base_raw,
        state.real_quote + net,
    )


def _pool_part(base: int, quote: int, out: int, net: int, protocol_fee: int, creator_fee: int) -> PoolPart:
    paid = net + protocol_fee + creator_fee
    return PoolPart(out, net, protocol_fee, creator_fee, paid, base - out, quote + net)


def _require_open(state: CurveState, amount: int) -> None:
    if state.real_base <= 0 or state.virtual_base <= state.real_base:
        raise QuoteError(f"the curve is complete or empty ({state}): trade on the coin's pool")
    if amount <= 0:
        raise QuoteError(f"an amount above 0 is needed, got {amount}")


def spot_price(state: CurveState) -> float:
    """Raw quote per raw coin at the margin, before fees. For reading and ranking, never for sums."""
    return state.virtual_quote / state.virtual_base


def market_cap(state: CurveState, supply_raw: int = DEFAULT_SUPPLY_RAW) -> int:
    """All coins at the spot price, in raw units of the quote. Only a mayhem coin's supply differs from the default."""
    if state.virtual_base <= 0:
        raise QuoteError("a curve without virtual coins has no price: it is complete and migrated")
    return state.virtual_quote * supply_raw // state.virtual_base


def price_impact_bps(state: CurveState, quote: CurveQuote) -> int:
    """How much worse than the spot price the trade's own price is, before fees, in basis points, rounded up."""
    at_spot = quote.base_raw * state.virtual_quote
    paid = quote.quote_net * state.virtual_base
    return -(-abs(paid - at_spot) * BPS // at_spot)


def max_multiple(state: CurveState) -> float:
    """The last coin's price on the curve over the spot price: the most a holder can make before the pool."""
    return (state.virtual_base / (state.virtual_base - state.real_base)) ** 2
