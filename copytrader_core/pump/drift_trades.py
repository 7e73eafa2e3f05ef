"""Recomputes one trade from the reserves that its event names: do amounts, fees and fee rates follow the known rules?

Integers only; nothing is remembered between trades and nothing is decided here, only what differs is said. The rules
are those of `curve`, `amm` and `fees`, applied backwards, to events of any age.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from copytrader_core.pump.addresses import MAYHEM_SOL_VAULT, USDC_MINT
from copytrader_core.pump.curve import base_for, cost_for, proceeds_for
from copytrader_core.pump.fees import (
    BPS,
    CURVE_FEES,
    DEFAULT_SUPPLY_RAW,
    POOL_FEES,
    Fees,
    QuoteKind,
    buyback_share,
    pool_fees,
)
from copytrader_core.pump.rows import ZERO_KEY, Values
from copytrader_core.records import WSOL

AMOUNTS: Final = "amounts"
FEES: Final = "fees"
FEE_SCHEDULE: Final = "fee_schedule"

EXACT_OUT: Final = frozenset({"buy", "buy_v2", "buy_v3"})
EXACT_IN: Final = frozenset(
    {"buy_exact_sol_in", "buy_exact_quote_in", "buy_exact_quote_in_v2", "buy_exact_quote_in_v3", "multi_hop_swap"}
)
# A route charges each of its fees on some of its hops only.
_ROUTE: Final = frozenset({"multi_hop_swap", "multi_hop_curve_swap"})
# 2026-09-08: from this day the fee programs' accounts are known. Rates of before are taken as the event names them.
SCHEDULE_SINCE: Final = 1_788_825_600
# A coin that is not quoted in SOL may have a creator fee of its own, up to this.
MAX_CREATOR_BPS: Final = 300
_MAYHEM_AGENT: Final = bytes(MAYHEM_SOL_VAULT)
_USDC: Final = str(USDC_MINT)


class Finding(NamedTuple):
    """What differs from the rules; `detail` names the quantity."""

    kind: str
    expected: object
    found: object
    detail: str


# Name, rate and amount of each fee that an event charges. Plain tuples: this runs for every trade.
Charges = tuple[tuple[str, int, int], ...]
# Whether fees come on top of exact coins ("out"), out of an exact spend ("in"), or the event does not tell.
_Mode = Literal["out", "in", "either"]


def curve_trade(values: Values, ix: str | None, quote: str) -> list[Finding]:
    """A TradeEvent of the instruction `ix`. Its reserves are those after the trade."""
    in_sol = quote == WSOL
    net, coins = values["sol_amount" if in_sol else "quote_amount"], values["token_amount"]
    after_quote = values["virtual_sol_reserves" if in_sol else "virtual_quote_reserves"]
    after_base = values["virtual_token_reserves"]
    findings: list[Finding] = []
    rule: _Mode = "out"
    if values["is_buy"]:
        before = (after_base + coins, after_quote - net)
        # A spend that would buy more than the curve has is cut to what is left, at the price of exactly that.
        mode = None if values.get("real_token_reserves") == 0 and ix not in EXACT_OUT else ix
        rule = _bought(findings, mode, before, coins, net, cost_for)
    else:
        _sold(findings, (after_base - coins, after_quote + net), coins, net)
    if "fee" in values:
        charges = _charges(values, "fee", "creator_fee")
        _check_fees(findings, values, charges, net, rule)
        if values["timestamp"] >= SCHEDULE_SINCE:
            _check_curve_rates(findings, values, charges, in_sol, ix in _ROUTE)
    return findings


def pool_part(values: Values, ix: str | None) -> list[Finding]:
    """A PostCompleteBuyEvent: the part of a completing buy that the pool-to-be fills."""
    base, quote = values["pool_base_reserves_before"], values["pool_quote_reserves_before"]
    out, net = values["base_out"], values["quote_in"]
    findings: list[Finding] = []
    rule = _bought(findings, ix, (base, quote), out, net, _pool_cost)
    _expect(findings, AMOUNTS, base - out, values["pool_base_reserves_after"], "base reserve after")
    _expect(findings, AMOUNTS, quote + net, values["pool_quote_reserves_after"], "quote reserve after")
    charges = _charges(values, "fee", "creator_fee")
    _check_fees(findings, values, charges, net, rule)
    return findings


def pool_trade(values: Values, ix: str | None, quote: str) -> list[Finding]:
    """A BuyEvent or SellEvent of the instruction `ix`. Its reserves are those before the trade."""
    base = values["pool_base_token_reserves"]
    effective = values["pool_quote_token_reserves"] + values.get("virtual_quote_reserves", 0)
    charges = (
        ("lp_fee", values["lp_fee_basis_points"], values["lp_fee"]),
        *_charges(values, "protocol_fee", "coin_creator_fee"),
    )
    charged = sum([amount for _, _, amount in charges])
    lp_fee = values["lp_fee"]
    findings: list[Finding] = []
    rule: _Mode = "out"
    if "base_amount_out" in values:
        # Exact-in instructions name what was paid and what was swapped the other way round.
        net, paid = sorted((values["quote_amount_in"], values["user_quote_amount_in"]))
        rule = _bought(findings, ix, (base, effective), values["base_amount_out"], net, _pool_cost)
        _expect(findings, FEES, net + charged, paid, "paid by the user")
        _expect(findings, FEES, net + lp_fee, values["quote_amount_in_with_lp_fee"], "amount with LP fee")
    else:
        net = values["quote_amount_out"]
        _sold(findings, (base, effective), values["base_amount_in"], net)
        _expect(findings, FEES, net - charged, values["user_quote_amount_out"], "received by the user")
        _expect(findings, FEES, net - lp_fee, values["quote_amount_out_without_lp_fee"], "amount without LP fee")
    _check_fees(findings, values, charges, net, rule)
    if values["timestamp"] >= SCHEDULE_SINCE:
        _check_pool_rates(findings, values, charges, quote, (base, effective), ix in _ROUTE)
    return findings


def _charges(values: Values, protocol: str, creator: str) -> Charges:
    """What an event charges besides the LP fee; fees that its layout did not have yet are 0."""
    rate = "fee_basis_points" if protocol == "fee" else "protocol_fee_basis_points"
    found = (
        (protocol, values[rate], values[protocol]),
        (creator, values.get(f"{creator}_basis_points", 0), values.get(creator, 0)),
    )
    if values.get("cashback_fee_basis_points"):
        return (*found, ("cashback", values["cashback_fee_basis_points"], values["cashback"]))
    return found


def _expect(findings: list[Finding], kind: str, expected: int, found: int, detail: str) -> None:
    if expected != found:
        findings.append(Finding(kind, expected, found, detail))


def _pool_cost(base: int, quote: int, out: int) -> int:
    """A pool rounds the cost up, where the curve adds one."""
    return -(-quote * out // (base - out))


def _sold(findings: list[Finding], before: tuple[int, int], coins: int, net: int) -> None:
    base, quote = before
    if base <= 0 or quote <= 0:
        findings.append(Finding(AMOUNTS, "reserves above 0", f"{base}, {quote}", "reserves before"))
        return
    _expect(findings, AMOUNTS, proceeds_for(base, quote, coins), net, "proceeds of a sale")


def _bought(
    findings: list[Finding],
    ix: str | None,
    before: tuple[int, int],
    out: int,
    net: int,
    cost: Callable[[int, int, int], int],
) -> _Mode:
    """Checks a purchase, and tells by which rule its fees are due. An `ix` that does not tell may be either."""
    base, quote = before
    if quote <= 0 or out >= base:
        findings.append(Finding(AMOUNTS, "reserves that hold the trade", f"{base}, {quote}", "reserves before"))
        return "either"
    if ix in EXACT_OUT:
        _expect(findings, AMOUNTS, cost(base, quote, out), net, "cost of exactly so many coins")
        return "out"
    by_spend = base_for(base, quote, net)
    if ix in EXACT_IN:
        _expect(findings, AMOUNTS, by_spend, out, "coins for exactly so much money")
        return "in"
    by_coins = cost(base, quote, out)
    if by_spend == out:
        return "either" if by_coins == net else "in"
    _expect(findings, AMOUNTS, by_coins, net, "cost, by either rule")
    return "out"


def _check_fees(findings: list[Finding], values: Values, charges: Charges, net: int, mode: _Mode) -> None:
    if values["user"] == _MAYHEM_AGENT and not any(amount for _, _, amount in charges):
        return
    due = [-(-net * bps // BPS) for _, bps, _ in charges]
    charged = [amount for _, _, amount in charges]
    if mode == "in" or (mode == "either" and due != charged):
        net_due, due = _due_of_spend(net + sum(charged), charges)
        _expect(findings, FEES, net_due, net, "money that buys, of what was spent")
    if due != charged:
        findings.extend(
            Finding(FEES, expected, amount, label)
            for expected, (label, _, amount) in zip(due, charges, strict=True)
            if expected != amount
        )
    if values.get("buyback_fee_basis_points"):
        protocol = values["fee"] if "fee" in values else values["protocol_fee"]
        expected = buyback_share(protocol, values["buyback_fee_basis_points"])
        _expect(findings, FEES, expected, values["buyback_fee"], "buyback_fee")


def _due_of_spend(spend: int, charges: Charges) -> tuple[int, list[int]]:
    """What buys coins when exactly `spend` is spent, and the fees.

    The fees are those of the amount before it is lowered by what rounding up takes too much; where nothing is too much
    and a unit is left over, the protocol gets it. So did the deployed program in each of 5,400 exact-in trades.
    """
    net = spend * BPS // (BPS + sum([bps for _, bps, _ in charges]))
    fees = [-(-net * bps // BPS) for _, bps, _ in charges]
    excess = net + sum(fees) - spend
    if excess > 0:
        return net - excess, fees
    if excess < 0:
        protocol = 1 if charges[0][0] == "lp_fee" else 0
        fees[protocol] -= excess
    return net, fees


def _check_curve_rates(findings: list[Finding], values: Values, charges: Charges, in_sol: bool, in_route: bool) -> None:
    protocol, creator = charges[0][1], sum([bps for _, bps, _ in charges[1:]])
    due = CURVE_FEES.flat
    if protocol == due.protocol_bps and creator == due.creator_bps:
        return
    if values["user"] == _MAYHEM_AGENT and protocol + creator == 0:
        return
    protocol_is_right = protocol == due.protocol_bps or (in_route and protocol == 0)
    creator_is_right = (
        creator == due.creator_bps
        or (creator == 0 and (in_route or values["creator"] == ZERO_KEY))
        or (not in_sol and creator <= MAX_CREATOR_BPS)
    )
    if protocol_is_right and creator_is_right:
        return
    expected, found = f"{due.protocol_bps}+{due.creator_bps}", f"{protocol}+{creator}"
    findings.append(Finding(FEE_SCHEDULE, expected, found, "protocol+creator bps"))


def _check_pool_rates(
    findings: list[Finding],
    values: Values,
    charges: Charges,
    quote: str,
    reserves: tuple[int, int],
    in_route: bool,
) -> None:
    base, effective = reserves
    if base <= 0:
        return
    found = Fees(charges[0][1], charges[1][1], sum([bps for _, bps, _ in charges[2:]]))
    kind: QuoteKind = "sol" if quote == WSOL else "stable" if quote == _USDC else "exotic"
    due = pool_fees(POOL_FEES, kind, effective * DEFAULT_SUPPLY_RAW // base)
    # An event does not tell a pool that did not come from the curve; such a pool pays the flat rates.
    if found in (due, POOL_FEES.flat) or _is_permitted(found, due, values, kind, in_route):
        return
    supply = values.get("base_supply", 0)
    if supply > DEFAULT_SUPPLY_RAW and found == pool_fees(POOL_FEES, kind, effective * supply // base):
        return
    findings.append(Finding(FEE_SCHEDULE, _rates(due), _rates(found), "lp+protocol+creator bps"))


def _is_permitted(found: Fees, due: Fees, values: Values, kind: QuoteKind, in_route: bool) -> bool:
    """Rates that differ from the tier's by rule."""
    if values["user"] == _MAYHEM_AGENT and found.total_bps == 0:
        return True
    if in_route:
        pairs = zip(
            (found.lp_bps, found.protocol_bps, found.creator_bps),
            (due.lp_bps, due.protocol_bps, due.creator_bps),
            strict=True,
        )
        return all(rate in (0, right) for rate, right in pairs)
    if (found.lp_bps, found.protocol_bps) != (due.lp_bps, due.protocol_bps):
        return False
    if kind != "sol" and found.creator_bps <= MAX_CREATOR_BPS:
        return True
    return found.creator_bps == 0 and values.get("coin_creator", ZERO_KEY) == ZERO_KEY


def _rates(fees: Fees) -> str:
    return f"{fees.lp_bps}+{fees.protocol_bps}+{fees.creator_bps}"
