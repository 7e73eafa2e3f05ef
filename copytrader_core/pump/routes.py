"""A `multi_hop_swap` as one row: what the wallet gave at one end and got at the other. Its hops give no rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from copytrader_core.errors import DecodeError
from copytrader_core.pump.attribution import TransactionFacts
from copytrader_core.pump.emissions import Emission, Frame
from copytrader_core.pump.rows import MONEY, Swap, trade_row
from copytrader_core.records import WSOL, Action, Event


def route_row(facts: TransactionFacts, frame: Frame, hops: Sequence[Swap]) -> Event:
    """The row of one route, `hops` in execution order. Raises DecodeError where they do not join."""
    for before, after in pairwise(hops):
        if _got(before)[0] != _gave(after)[0] and not _same_pool(before, after):
            raise DecodeError("the hops of a multi_hop_swap do not join: an event between them is missing")
    ends = _ends(hops)
    gave, got = ends
    action, base, quote = _sides(gave, got)
    fees = _fees(hops)
    swap = Swap(
        buys=action != "SELL",
        base=base[0],
        quote=quote[0],
        base_amount=base[1],
        quote_amount=quote[1],
        fee=fees.pop(quote[0], 0),
        user=_user(facts, frame, hops),
        reserve_base=None,
        reserve_quote=None,
        meta=_meta(hops, fees),
    )
    if len(hops) == 1:
        swap = swap._replace(reserve_base=hops[0].reserve_base, reserve_quote=hops[0].reserve_quote)
        if hops[0].base != swap.base:
            swap = swap._replace(reserve_base=swap.reserve_quote, reserve_quote=swap.reserve_base)
    return trade_row(facts, Emission(frame, 0, b""), swap, action, swap.fee)


def _gave(hop: Swap) -> tuple[str, int]:
    return (hop.quote, hop.quote_amount) if hop.buys else (hop.base, hop.base_amount)


def _got(hop: Swap) -> tuple[str, int]:
    return (hop.base, hop.base_amount) if hop.buys else (hop.quote, hop.quote_amount)


def _same_pool(before: Swap, after: Swap) -> bool:
    """The two parts of a buy that completes its curve are one hop."""
    return (before.base, before.quote, before.buys, after.buys) == (after.base, after.quote, True, True)


def _ends(hops: Sequence[Swap]) -> tuple[tuple[str, int], tuple[str, int]]:
    """What was given at the first hop and got at the last one, each summed over the parts of that hop."""
    first = [hop for at, hop in enumerate(hops) if all(_same_pool(hops[0], other) for other in hops[1 : at + 1])]
    last = [
        hop for at, hop in enumerate(hops) if all(_same_pool(hops[-1], other) for other in hops[at : len(hops) - 1])
    ]
    return (
        (_gave(first[0])[0], sum(_gave(hop)[1] for hop in first)),
        (_got(last[-1])[0], sum(_got(hop)[1] for hop in last)),
    )


def _sides(gave: tuple[str, int], got: tuple[str, int]) -> tuple[Action, tuple[str, int], tuple[str, int]]:
    """Action, base and quote. SOL is the quote before a stable coin is; between coins it is what was given."""
    if gave[0] == WSOL and got[0] != WSOL:
        return "BUY", got, gave
    if got[0] == WSOL and gave[0] != WSOL:
        return "SELL", gave, got
    if gave[0] in MONEY and gave[0] != got[0]:
        return "BUY", got, gave
    if got[0] in MONEY and gave[0] != got[0]:
        return "SELL", gave, got
    return "SWAP", got, gave


def _fees(hops: Sequence[Swap]) -> dict[str, int]:
    fees: dict[str, int] = {}
    for hop in hops:
        fees[hop.quote] = fees.get(hop.quote, 0) + hop.fee
    return fees


def _user(facts: TransactionFacts, frame: Frame, hops: Sequence[Swap]) -> bytes:
    """The route's own user account; the hops may name others. The logs alone tell only the hops' user."""
    if frame.ix is not None and frame.ix.accounts:
        return facts.tx.account_keys[frame.ix.accounts[0]]
    return hops[0].user


def _meta(hops: Sequence[Swap], other_fees: dict[str, int]) -> dict[str, Any]:
    pools = [hop.meta["pool"] for hop in hops if "pool" in hop.meta]
    return {
        "venue": "amm",
        "hops": len(hops),
        "pools": pools,
        "other_fees": {mint: fee for mint, fee in other_fees.items() if fee} or None,
        "complete": True if any(hop.meta.get("complete") for hop in hops) else None,
        "timestamp": hops[0].meta["timestamp"],
    }
