"""Swap fees: which basis points a trade pays, and the fee of an amount. What is charged comes from `curve` and `amm`.

Sources: the fee program's FeeConfig account and the choices of the official kits, which the deployed programs confirm.
"""

from __future__ import annotations

from typing import Final, Literal

from solders.pubkey import Pubkey

from copytrader_core.pump.addresses import USDC_MINT, ZERO_KEY
from copytrader_core.quick import quick_record
from copytrader_core.solana.programs import WSOL_MINT

BPS: Final = 10_000
DEFAULT_SUPPLY_RAW: Final = 1_000_000_000_000_000
"""Every coin starts with a billion coins of six decimals."""

BUYBACK_BPS: Final = 5_000
"""Share of the protocol fee that goes to a buyback wallet (GlobalConfig.buyback_basis_points as of 2026-10)."""

QuoteKind = Literal["sol", "stable", "exotic"]


@quick_record
class Fees:
    """What one trade is charged, in basis points of the amount that moves the price."""

    lp_bps: int
    protocol_bps: int
    creator_bps: int

    @property
    def total_bps(self) -> int:
        """All three together."""
        return self.lp_bps + self.protocol_bps + self.creator_bps


NO_FEES: Final = Fees(0, 0, 0)
"""What the mayhem agent pays (trader = `addresses.MAYHEM_SOL_VAULT`)."""


@quick_record
class FeeTier:
    """The fees from a market cap (in raw units of the quote mint) upward."""

    market_cap_from: int
    fees: Fees


@quick_record
class FeeConfig:
    """One program's fee schedule, as in its FeeConfig account. Tiers stand in ascending order."""

    flat: Fees
    tiers: tuple[FeeTier, ...]
    stable_tiers: tuple[FeeTier, ...]
    exotic_flat: Fees

    @classmethod
    def uniform(cls, fees: Fees) -> FeeConfig:
        """A schedule that charges everyone the same."""
        tiers = (FeeTier(0, fees),)
        return cls(fees, tiers, tiers, fees)


def fee(amount: int, bps: int) -> int:
    """`amount * bps / 10000`, rounded up. Every fee is rounded by itself."""
    return -(-amount * bps // BPS)


def buyback_share(protocol_fee: int, buyback_bps: int = BUYBACK_BPS) -> int:
    """The part of a protocol fee that goes to a buyback wallet; it is inside the fee, never beside it."""
    return protocol_fee * buyback_bps // BPS


def quote_kind(quote_mint: Pubkey) -> QuoteKind:
    """Which schedule a quote mint falls under. Only USDC is charged as a stable coin."""
    if quote_mint in (ZERO_KEY, WSOL_MINT):
        return "sol"
    return "stable" if quote_mint == USDC_MINT else "exotic"


def curve_fees(
    config: FeeConfig, kind: QuoteKind, market_cap: int, *, has_creator: bool = True, creator_bps: int = 0
) -> Fees:
    """The fees of a trade on the curve. `creator_bps` is the coin's own creator fee, 0 where it has none of its own.

    On a cashback coin the same basis points are booked as cashback to the trader instead of as creator fee.
    """
    return _for_coin(_by_quote(config, kind, market_cap), has_creator, creator_bps)


def pool_fees(
    config: FeeConfig,
    kind: QuoteKind,
    market_cap: int,
    *,
    is_canonical: bool = True,
    has_creator: bool = True,
    creator_bps: int = 0,
) -> Fees:
    """The fees of a PumpSwap trade. A pool that did not come from the curve pays the flat ones."""
    base = _by_quote(config, kind, market_cap) if is_canonical else config.flat
    return _for_coin(base, has_creator, creator_bps)


def _for_coin(fees: Fees, has_creator: bool, creator_bps: int) -> Fees:
    if not has_creator:
        return fees if fees.creator_bps == 0 else Fees(fees.lp_bps, fees.protocol_bps, 0)
    return Fees(fees.lp_bps, fees.protocol_bps, creator_bps) if creator_bps else fees


def _by_quote(config: FeeConfig, kind: QuoteKind, market_cap: int) -> Fees:
    if kind == "exotic":
        return config.flat if config.exotic_flat == NO_FEES else config.exotic_flat
    if kind == "stable" and config.stable_tiers:
        return _tier(config.stable_tiers, market_cap)
    return _tier(config.tiers, market_cap)


def _tier(tiers: tuple[FeeTier, ...], market_cap: int) -> Fees:
    """The highest tier that is reached; below the first one, the first one."""
    for tier in reversed(tiers):
        if market_cap >= tier.market_cap_from:
            return tier.fees
    return tiers[0].fees


CURVE_FEES: Final = FeeConfig.uniform(Fees(lp_bps=0, protocol_bps=95, creator_bps=30))
"""The curve's schedule as of 2026-10: one tier, the same for every quote mint."""

_CREATOR_BPS = (95, 90, 85, 80, 75, 70, 65, 60, 55, 50, 45, 40, 35, 30, 28, 25, 23, 20, 18, 15, 13, 10, 8, 5)
_SOL_CAPS = (
    *(420, 1_470, 2_460, 3_440, 4_420, 9_820, 14_740, 19_650, 24_560, 29_470, 34_380, 39_300),
    *(44_210, 49_120, 54_030, 58_940, 63_860, 68_770, 73_681, 78_590, 83_500, 88_400, 93_330, 98_240),
)
_USDC_CAPS = (59, 300, 500, 700, 900, *(thousand * 1_000 for thousand in range(2, 21)))


def _canonical_tiers(caps: tuple[int, ...]) -> tuple[FeeTier, ...]:
    graduates = FeeTier(0, Fees(lp_bps=2, protocol_bps=93, creator_bps=30))
    pairs = zip(caps, _CREATOR_BPS, strict=True)
    return (graduates, *(FeeTier(cap * 1_000_000_000, Fees(20, 5, creator)) for cap, creator in pairs))


POOL_FEES: Final = FeeConfig(
    flat=Fees(lp_bps=25, protocol_bps=5, creator_bps=0),
    tiers=_canonical_tiers(_SOL_CAPS),
    stable_tiers=_canonical_tiers(_USDC_CAPS),
    exotic_flat=Fees(lp_bps=20, protocol_bps=5, creator_bps=5),
)
"""PumpSwap's schedule as of 2026-10: 25 tiers for pools that came from the curve."""
