"""Fees and quotes against the official kits, over many states; where a kit only estimates, its estimate stands here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from copytrader_core.errors import QuoteError
from copytrader_core.pump import amm, curve
from copytrader_core.pump.amm import PoolState
from copytrader_core.pump.curve import CurveState
from copytrader_core.pump.fees import (
    BPS,
    DEFAULT_SUPPLY_RAW,
    FeeConfig,
    Fees,
    FeeTier,
    curve_fees,
    fee,
    pool_fees,
    quote_kind,
)

Vector = dict[str, Any]


def fee_config(document: Vector | None, fallback: Fees) -> FeeConfig:
    if document is None:
        return FeeConfig.uniform(fallback)
    return FeeConfig(
        _fees(document["flatFees"]),
        _tiers(document["feeTiers"]),
        _tiers(document["stableFeeTiers"]),
        _fees(document["exoticFlatFees"]),
    )


def _fees(document: Vector) -> Fees:
    return Fees(int(document["lpFeeBps"]), int(document["protocolFeeBps"]), int(document["creatorFeeBps"]))


def _tiers(documents: list[Vector]) -> tuple[FeeTier, ...]:
    return tuple(FeeTier(int(one["marketCapLamportsThreshold"]), _fees(one["fees"])) for one in documents)


def _document(shared: Path, name: str) -> Vector:
    document: Vector = json.loads((shared / "vectors" / name).read_text())
    return document


# --- curve -----------------------------------------------------------------------------------------------------------


def curve_state(vector: Vector) -> CurveState:
    return CurveState(*(int(vector[name]) for name in ("vt", "vq", "rt", "rq")))


def curve_fees_of(document: Vector, vector: Vector, market_cap: int, *, zeroed: bool) -> Fees:
    config = fee_config(document["fee_configs"][vector["fee_config"]], Fees(0, 95, 30))
    own = int(vector["curve_creator_fee_bps"]) if vector["creator_fee_configurable"] else 0
    kind = quote_kind(Pubkey.from_string(vector["quote_mint"]))
    has_creator = not (zeroed and vector["creator_zero"])
    fees = curve_fees(config, kind, market_cap, has_creator=has_creator, creator_bps=own)
    return Fees(0, fees.protocol_bps, fees.creator_bps)


def priced(document: Vector) -> list[Vector]:
    """The vectors whose curve still has a price; the kit refuses the others too."""
    vectors = [one for one in document["vectors"] if int(one["vt"])]
    assert len(vectors) > 240
    assert all("error" in one["market_cap"] for one in document["vectors"] if not int(one["vt"]))
    return vectors


def test_market_cap_and_fee_choice_on_the_curve_equal_the_kits(shared: Path) -> None:
    document = _document(shared, "pump_quotes.json")
    for vector in priced(document):
        market_cap = curve.market_cap(curve_state(vector), int(vector["mint_supply"]))
        assert market_cap == int(vector["market_cap"])
        fees, expected = curve_fees_of(document, vector, market_cap, zeroed=False), vector["fees_bps"]
        assert [fees.protocol_bps, fees.creator_bps] == [
            int(expected["protocolFeeBps"]),
            int(expected["creatorFeeBps"]),
        ]


def kit_estimate(state: CurveState, fees: Fees, spend: int) -> int:
    """The kit's exact-in estimate: a few units above what the program gives, so never a minimum without slippage."""
    if spend == 0:
        return 0
    net = (spend - 1) * BPS // (BPS + fees.total_bps)
    return min(net * state.virtual_base // (state.virtual_quote + net), state.real_base)


def test_the_kits_exact_in_estimate_is_reproduced_and_ours_is_never_more_than_it_plus_one_lamports_worth(
    shared: Path,
) -> None:
    document = _document(shared, "pump_quotes.json")
    for vector in priced(document):
        state, spend = curve_state(vector), int(vector["amount_quote"])
        market_cap = curve.market_cap(state, int(vector["mint_supply"]))
        fees = curve_fees_of(document, vector, market_cap, zeroed=True)
        assert kit_estimate(state, fees, spend) == int(vector["buy_token_from_quote"])
        ours = _or_none(lambda state=state, fees=fees, spend=spend: curve.buy_exact_in(state, fees, spend))
        if ours is not None:
            assert ours.base_raw <= kit_estimate(state, fees, spend + 1)


def test_exact_out_buys_and_sells_on_the_curve_equal_the_kits(shared: Path) -> None:
    document = _document(shared, "pump_quotes.json")
    quoted = 0
    for vector in priced(document):
        state, amount = curve_state(vector), int(vector["amount_token"])
        supply = int(vector["mint_supply"]) if vector["mayhem"] else DEFAULT_SUPPLY_RAW
        fees = curve_fees_of(document, vector, curve.market_cap(state, supply), zeroed=True)
        assert _cost(state, fees, amount) == vector["buy_quote_from_token"]
        assert _proceeds(state, fees, amount) == vector["sell_quote_from_token"]
        sold = _or_none(lambda state=state, fees=fees, amount=amount: curve.sell(state, fees, amount))
        if sold is not None:
            quoted += 1
            assert str(sold.user_quote) == vector["sell_quote_from_token"]
    assert quoted > 140


def _cost(state: CurveState, fees: Fees, amount: int) -> object:
    if amount == 0:
        return "0"
    amount = min(amount, state.real_base)
    if amount >= state.virtual_base:
        return {"error": "Assertion failed"}
    net = curve.cost_for(state.virtual_base, state.virtual_quote, amount)
    total = net + fee(net, fees.protocol_bps) + fee(net, fees.creator_bps)
    ours = _or_none(lambda: curve.buy_exact_out(state, fees, amount))
    assert ours is None or ours.user_quote == total
    return str(total)


def _proceeds(state: CurveState, fees: Fees, amount: int) -> str:
    net = curve.proceeds_for(state.virtual_base, state.virtual_quote, amount)
    return str(net - fee(net, fees.protocol_bps) - fee(net, fees.creator_bps))


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except QuoteError:
        return None


# --- PumpSwap --------------------------------------------------------------------------------------------------------


def pool_state(vector: Vector) -> PoolState:
    return PoolState(*(int(vector[name]) for name in ("base_reserve", "quote_reserve", "virtual_quote_reserves")))


def pool_fees_of(document: Vector, vector: Vector, *, zeroed: bool = True) -> Fees:
    """The kit ignores a coin's own creator fee where it has no fee config at all, and takes 1e15 on mayhem coins."""
    supply = DEFAULT_SUPPLY_RAW if vector["mayhem"] else int(vector["base_mint_supply"])
    config = fee_config(document["fee_configs"][vector["fee_config"]], Fees(20, 5, 5))
    has_own = vector["creator_fee_configurable"] and vector["fee_config"] != "none"
    return pool_fees(
        config,
        quote_kind(Pubkey.from_string(vector["quote_mint"])),
        amm.market_cap(pool_state(vector), supply),
        is_canonical=vector["canonical"],
        has_creator=not (zeroed and vector["coin_creator_zero"]),
        creator_bps=int(vector["pool_creator_fee_bps"]) if has_own else 0,
    )


def test_fee_choice_on_pumpswap_equals_the_kits(shared: Path) -> None:
    document = _document(shared, "amm_quotes.json")
    assert len(document["vectors"]) >= 250
    for vector in document["vectors"]:
        assert pool_fees_of(document, vector, zeroed=False) == _fees(vector["fees_bps"])


@pytest.mark.parametrize(
    ("rule", "name", "amount", "results"),
    [
        (amm.buy_exact_out, "buy_base", "amount_base", {"quote_net": "internalQuoteAmount", "user_quote": "uiQuote"}),
        (amm.sell, "sell_base", "amount_base", {"quote_net": "internalQuoteAmountOut", "user_quote": "uiQuote"}),
        (amm.buy_exact_in, "buy_quote", "amount_quote", {"quote_net": "internalQuoteWithoutFees", "base_raw": "base"}),
    ],
)
def test_quotes_on_pumpswap_equal_the_kits_and_refuse_where_it_refuses(
    shared: Path, rule: Callable[..., Any], name: str, amount: str, results: dict[str, str]
) -> None:
    document = _document(shared, "amm_quotes.json")
    for vector in document["vectors"]:
        state, fees, expected = pool_state(vector), pool_fees_of(document, vector), vector[name]
        quote = _or_none(lambda s=state, f=fees, v=vector: rule(s, f, int(v[amount])))
        if quote is None:
            assert "error" in expected or int(expected["base"]) <= 0
        else:
            assert {field: getattr(quote, field) for field in results} == {
                field: int(expected[key]) for field, key in results.items()
            }


def test_the_kits_inverse_sell_is_reproduced_from_the_same_fees(shared: Path) -> None:
    document = _document(shared, "amm_quotes.json")
    checked = 0
    for vector in document["vectors"]:
        expected, state, fees = vector["sell_quote"], pool_state(vector), pool_fees_of(document, vector)
        if "error" not in expected:
            checked += 1
            raw = -(-int(vector["amount_quote"]) * BPS // (BPS - fees.total_bps))
            assert raw == int(expected["internalRawQuote"])
            assert -(-state.base * raw // (state.effective_quote - raw)) == int(expected["base"])
    assert checked > 200
