"""Which basis points a trade pays."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from copytrader_core.pump.addresses import USDC_MINT, USDT_MINT, ZERO_KEY
from copytrader_core.pump.fees import (
    CURVE_FEES,
    NO_FEES,
    POOL_FEES,
    FeeConfig,
    Fees,
    FeeTier,
    QuoteKind,
    buyback_share,
    curve_fees,
    fee,
    pool_fees,
    quote_kind,
)
from copytrader_core.solana.programs import WSOL_MINT

SOL = 1_000_000_000


@pytest.mark.parametrize(("amount", "bps", "expected"), [(0, 95, 0), (1, 1, 1), (10_000, 95, 95), (10_001, 95, 96)])
def test_a_fee_is_rounded_up(amount: int, bps: int, expected: int) -> None:
    assert fee(amount, bps) == expected


def test_the_buyback_share_is_half_of_the_protocol_fee_rounded_down() -> None:
    assert [buyback_share(amount) for amount in (37, 39_025, 3_323_220)] == [18, 19_512, 1_661_610]


@pytest.mark.parametrize(
    ("mint", "kind"),
    [(ZERO_KEY, "sol"), (WSOL_MINT, "sol"), (USDC_MINT, "stable"), (USDT_MINT, "exotic"), (Pubkey([7] * 32), "exotic")],
)
def test_a_quote_mint_falls_under_one_schedule(mint: Pubkey, kind: QuoteKind) -> None:
    assert quote_kind(mint) == kind


@pytest.mark.parametrize("kind", ["sol", "stable", "exotic"])
def test_the_curve_charges_every_quote_mint_the_same(kind: QuoteKind) -> None:
    assert curve_fees(CURVE_FEES, kind, 10**15) == Fees(0, 95, 30)


def test_a_coin_without_creator_pays_no_creator_fee() -> None:
    assert curve_fees(CURVE_FEES, "sol", 0, has_creator=False) == Fees(0, 95, 0)
    assert pool_fees(POOL_FEES, "sol", 0, has_creator=False, creator_bps=300) == Fees(2, 93, 0)


def test_a_coins_own_creator_fee_replaces_the_schedules() -> None:
    assert curve_fees(CURVE_FEES, "exotic", 0, creator_bps=125) == Fees(0, 95, 125)
    assert pool_fees(POOL_FEES, "exotic", 0, creator_bps=125) == Fees(20, 5, 125)


@pytest.mark.parametrize(
    ("market_cap_sol", "expected"),
    [
        (0, Fees(2, 93, 30)),
        (419.999999999, Fees(2, 93, 30)),
        (420, Fees(20, 5, 95)),
        (73_680, Fees(20, 5, 20)),
        (73_681, Fees(20, 5, 18)),
        (98_240, Fees(20, 5, 5)),
        (10**6, Fees(20, 5, 5)),
    ],
)
def test_a_canonical_pool_pays_by_market_cap_from_each_threshold_on(market_cap_sol: float, expected: Fees) -> None:
    assert pool_fees(POOL_FEES, "sol", round(market_cap_sol * SOL)) == expected


def test_a_usdc_pool_has_thresholds_of_its_own() -> None:
    assert len(POOL_FEES.tiers) == len(POOL_FEES.stable_tiers) == 25
    assert pool_fees(POOL_FEES, "stable", 59_000_000_000 - 1) == Fees(2, 93, 30)
    assert pool_fees(POOL_FEES, "stable", 59_000_000_000) == Fees(20, 5, 95)
    assert pool_fees(POOL_FEES, "stable", 20_000_000_000_000) == Fees(20, 5, 5)


def test_a_pool_that_did_not_come_from_the_curve_pays_the_flat_fees() -> None:
    assert pool_fees(POOL_FEES, "sol", 10**15, is_canonical=False) == Fees(25, 5, 0)


def test_below_the_first_tier_the_first_tier_holds() -> None:
    first = Fees(1, 2, 3)
    config = FeeConfig(NO_FEES, (FeeTier(100, first), FeeTier(200, NO_FEES)), (), NO_FEES)
    assert curve_fees(config, "sol", 99) == first


def test_without_stable_tiers_a_stable_coin_pays_as_sol_and_without_exotic_fees_an_exotic_pays_flat() -> None:
    flat, tier = Fees(25, 5, 0), Fees(1, 2, 3)
    config = FeeConfig(flat, (FeeTier(0, tier),), (), NO_FEES)
    assert curve_fees(config, "stable", 0) == tier
    assert curve_fees(config, "exotic", 0) == flat
