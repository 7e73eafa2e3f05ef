"""Which events of a transaction are a tracked leader's buys and sells. No decisions."""

from __future__ import annotations

from collections.abc import Container, Iterable

from copytrader_core.policy.market import MarketState
from copytrader_core.policy.values import LeaderBuy
from copytrader_core.records import WSOL, Event
from executor.glance import Glance


def leader_buys(shown: Iterable[tuple[Event, MarketState | None]], leaders: Container[str]) -> list[LeaderBuy]:
    """One signal for each leader and coin bought: sizes summed, the market as the transaction's last buy left it.

    A buy that completes a curve is two events, and routers buy in several steps; both are one wish of the leader.
    """
    found: dict[tuple[str, str], LeaderBuy] = {}
    for event, market in shown:
        if event.action != "BUY" or event.wallet not in leaders:
            continue
        before = found.get((event.wallet, event.mint))
        found[(event.wallet, event.mint)] = LeaderBuy(
            leader=event.wallet,
            mint=event.mint,
            sig=event.sig,
            slot=event.slot,
            tx_index=-1 if event.tx_index is None else event.tx_index,
            size_lamports=(before.size_lamports if before else 0) + int(event.quote_raw or 0),
            quote_mint=event.quote_mint or "",
            market=market or (before.market if before else None),
        )
    return list(found.values())


def leader_buy(buy: Glance, market: MarketState | None) -> LeaderBuy:
    """The signal of a transaction that is one buy and nothing else, read the short way."""
    return LeaderBuy(buy.wallet, buy.trade.mint, buy.sig, buy.slot, buy.tx_index, buy.size_lamports, WSOL, market)


def leader_sells(events: Iterable[Event], leaders: Container[str]) -> set[tuple[str, str]]:
    """The (wallet, coin) pairs that tracked leaders sold."""
    return {(event.wallet, event.mint) for event in events if event.action == "SELL" and event.wallet in leaders}
