"""What a copy of one leader is worth at my latency, by size and state of the coin, and the size to buy with.

Everything here comes from the release and the settings; no event changes it, so it is computed once a leader and state
and remembered. Own impact is inside the replayed values: nothing of it is taken off again.

    mean(s)  = mean_x(latency, s) + state_x            linear between the cells of the grid; over the latencies that
                                                       were measured, where they were
    lower(s) = mean(s) - sqrt((mean_x - lower_x)^2 + state_half_x^2)
    value(s) = p s lower(s) - (1 - p) n                p: share that lands, n: fee of a transaction that fails

The size is alpha times the one of the highest value(s), within capacity and caps, at least `min_size_sol`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import hypot
from typing import Final, NamedTuple

from copytrader_core.policy.coin_state import STATE_NAMES
from copytrader_core.policy.entry import lamports, min_tokens, network_fee
from copytrader_core.policy.interpolation import between
from copytrader_core.policy.landing import lateness
from copytrader_core.policy.market import MarketState, after_buy, quote_buy
from copytrader_core.policy.values import EntryPlan
from copytrader_core.records import CopyValue
from copytrader_core.settings import ExecutorSettings, Settings

_BPS: Final = 10_000
_MAX_TERMS: Final = 8_192
_MOST_BEYOND: Final = 0.1
"""The share of our orders that may land later than the grid reaches."""


class CopyTerms(NamedTuple):
    """A buy after one leader in one state of the coin. Returns are shares of the spend, of a landed copy."""

    spend_lamports: int
    best_lamports: int
    """The size of the highest lower value, before alpha."""
    mean_x: float
    lower_x: float
    landing: float
    state: str
    state_x: float


class _Remembered(NamedTuple):
    value: CopyValue
    settings: Settings
    terms: CopyTerms | None


_terms: Final[dict[tuple[int, int, int], _Remembered]] = {}


def copy_terms(value: CopyValue, state: int, settings: Settings) -> CopyTerms | None:
    """The terms of a buy after `value.leader` with the coin in `state`; None where no size of the grid may be bought.

    Remembered by identity: values and settings are frozen, and what is remembered keeps them alive.
    """
    key = (id(value), id(settings), state)
    known = _terms.get(key)
    if known is None:
        if len(_terms) >= _MAX_TERMS:
            _terms.clear()
        known = _terms[key] = _Remembered(value, settings, _new_terms(value, state, settings))
    return known.terms


def worth(terms: CopyTerms, return_x: float, settings: Settings) -> float:
    """Lamports that a signal is worth if a landed copy returns `return_x`: what does not land costs its fee."""
    return _worth(terms.spend_lamports, return_x, terms.landing, network_fee(settings.executor))


def headroom_x(market: MarketState) -> float | None:
    """What a copy can return at most before the curve is complete, swap fees of both sides off; None in a pool.

    On a curve of constant product the price grows with the square of what its coins shrink by, and they end at what
    is not for sale.
    """
    left = market.base_raw - market.real_base_raw
    if market.venue != "curve" or left <= 0:
        return None
    return (market.base_raw / left) ** 2 * (_BPS - market.fee_bps) / (_BPS + market.fee_bps) - 1


def capped(return_x: float, headroom: float | None) -> float:
    """A return that the curve has room for."""
    return return_x if headroom is None else min(return_x, headroom)


def copy_entry(
    market: MarketState, terms: CopyTerms, mean_x: float, beta: float, ahead_lamports: int, settings: Settings
) -> EntryPlan:
    """The buy with the price bound at which nothing is left: behind `ahead_lamports` of others, times 1 + beta mean_x.

    Never beyond `max_slippage_bps` above today's quote. Raises QuoteError where the venue gives no quote.
    """
    quoted = quote_buy(market, terms.spend_lamports)
    behind = quote_buy(after_buy(market, ahead_lamports), terms.spend_lamports)
    dearest = quoted.tokens_raw / behind.tokens_raw * (1 + beta * max(mean_x, 0.0))
    bound_bps = max(0, min(int((dearest - 1) * _BPS), settings.policy.max_slippage_bps))
    return EntryPlan(
        spend_lamports=terms.spend_lamports,
        quoted_tokens_raw=quoted.tokens_raw,
        min_tokens_raw=min_tokens(quoted.tokens_raw, bound_bps),
        slippage_bps=bound_bps,
        network_lamports=network_fee(settings.executor) + settings.executor.tip_lamports,
    )


class _Curve(NamedTuple):
    """The grid at one latency, the coin's state added: returns by size."""

    sizes: Sequence[int]
    mean: Sequence[float]
    lower: Sequence[float]
    landing: Sequence[float]

    def at(self, values: Sequence[float], size: float) -> float:
        return between(self.sizes, values, size)


def _new_terms(value: CopyValue, state: int, settings: Settings) -> CopyTerms | None:
    curve = _curve(value, state, settings.executor)
    if curve is None:
        return None
    policy, risk = settings.policy, settings.risk
    least = max(lamports(policy.min_size_sol), curve.sizes[0])
    caps = (policy.max_size_sol, risk.max_trade_sol, value.capacity_sol)
    most = min(*(lamports(sol) for sol in caps), curve.sizes[-1])
    if most < least:
        return None
    fee = network_fee(settings.executor)
    best = max(_candidates(curve, least, most), key=lambda s: _value(curve, s, fee))
    spend = max(least, int(best * value.alpha))
    mean, lower, landing = (curve.at(values, spend) for values in (curve.mean, curve.lower, curve.landing))
    return CopyTerms(spend, best, mean, lower, landing, STATE_NAMES[state], value.state_x[state])


def _curve(value: CopyValue, state: int, executor: ExecutorSettings) -> _Curve | None:
    """None where we land beyond the grid: nobody knows what a copy that late is worth."""
    if not value.latencies:
        return None
    grid = _at_once(value, executor.paper_latency_slots) if executor.measured is None else _mixed(value, executor)
    if grid is None:
        return None
    mean, low, landing = grid
    offset, half = value.state_x[state], value.state_half_x[state]
    lower = [m + offset - hypot(m - least, half) for m, least in zip(mean, low, strict=True)]
    return _Curve(value.sizes_lamports, [m + offset for m in mean], lower, landing)


_Grid = tuple[list[float], list[float], list[float]]


def _at_once(value: CopyValue, latency: int) -> _Grid | None:
    """Means, lower bounds and shares that land by size, always `latency` slots late."""
    if latency > value.latencies[-1]:
        return None
    mean, low, landing = (_row(value.latencies, grid, latency) for grid in (value.mean_x, value.lower_x, value.landing))
    return mean, low, landing


def _mixed(value: CopyValue, executor: ExecutorSettings) -> _Grid | None:
    """The same over the latencies that were measured.

    What a copy returns is an expectation over when it lands, and falls off in a bent line: its value at the mean
    latency is another number. Latencies weigh by what lands of them. Bounds are mixed like means, as if all were wrong
    together: they rest on the same copies. The last latency of the grid stands for those few beyond it.
    """
    late = lateness(executor, "BUY")
    beyond = sum(share for slots, share in zip(late.slots, late.shares, strict=True) if slots > value.latencies[-1])
    if beyond > _MOST_BEYOND:
        return None
    rows = [
        [_row(value.latencies, grid, slots) for slots in late.slots]
        for grid in (value.mean_x, value.lower_x, value.landing)
    ]
    sizes = range(len(value.sizes_lamports))
    weights = [[share * row[at] for share, row in zip(late.shares, rows[2], strict=True)] for at in sizes]
    mean, low = ([_weighted([row[at] for row in grid], weights[at]) for at in sizes] for grid in (rows[0], rows[1]))
    return mean, low, [(1 - late.lost_share) * sum(weights[at]) for at in sizes]


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    total = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / total if total > 0 else values[0]


def _row(latencies: Sequence[int], grid: Sequence[Sequence[float]], at: int) -> list[float]:
    return [between(latencies, column, at) for column in zip(*grid, strict=True)]


def _value(curve: _Curve, size: int, fee: int) -> float:
    return _worth(size, curve.at(curve.lower, size), curve.at(curve.landing, size), fee)


def _worth(size: int, return_x: float, landing: float, fee: int) -> float:
    return landing * size * return_x - (1 - landing) * fee


def _candidates(curve: _Curve, least: int, most: int) -> Iterator[int]:
    """The ends, the cells between them, and where s x lower(s) is highest within a piece: it is a parabola there."""
    inner = [size for size in curve.sizes if least < size < most]
    edges = [least, *inner, most]
    yield from edges
    for left, right in pairwise(edges):
        if right == left:
            continue
        low, high = curve.at(curve.lower, left), curve.at(curve.lower, right)
        slope = (high - low) / (right - left)
        top = left / 2 - low / (2 * slope) if slope < 0 else float(right)
        if left < top < right:
            yield int(top)
