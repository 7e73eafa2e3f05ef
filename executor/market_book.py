"""The last reserves of every coin, from the events of the stream. Quotes are `copytrader_core.policy.market`'s."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from solders.pubkey import Pubkey

from copytrader_core.policy.market import MarketState, Venue
from copytrader_core.pump.addresses import AMM_PROGRAM, canonical_pool
from copytrader_core.pump.curve import INITIAL_SOL_CURVE
from copytrader_core.pump.fees import CURVE_FEES, POOL_FEES, Fees
from copytrader_core.records import WSOL, Event
from executor.market_trade import MarketTrade, market_trade

if TYPE_CHECKING:
    from executor.broker import Landed
    from executor.orders import Order, Position

_AMM: Final = str(AMM_PROGRAM)
_CURVE_FEES: Final = CURVE_FEES.flat
_POOL_FEES: Final = POOL_FEES.tiers[0].fees
_MOVING: Final = ("BUY", "SELL", "ADD", "REMOVE")
_KEPT_ADDRESSES: Final = 65_536


@lru_cache(maxsize=_KEPT_ADDRESSES)
def pool_of(mint: str) -> str:
    """The pool that a coin migrates to. Other pools of the coin are not traded."""
    return str(canonical_pool(Pubkey.from_string(mint)))


class MarketBook:
    """Curves and canonical pools by coin. What is older than what is known (a reconnect's overlap) changes nothing."""

    def __init__(self) -> None:
        self._curves: dict[str, MarketState] = {}
        self._pools: dict[str, MarketState] = {}

    def state(self, mint: str) -> MarketState | None:
        """Where the coin trades now: its pool once that has traded, else its curve, which may be complete."""
        return self._pools.get(mint) or self._curves.get(mint)

    def forget(self, before_slot: int, held: Container[str]) -> None:
        """Drops coins that have not traded since, except those that are held: the next trade tells all again."""
        for kept in (self._curves, self._pools):
            for mint in [m for m, state in kept.items() if state.slot < before_slot and m not in held]:
                del kept[mint]

    def learn(self, mint: str, market: MarketState) -> None:
        """Takes a market as its accounts show it, unless a newer trade has been heard."""
        kept = self._pools if market.venue == "amm" else self._curves
        old = kept.get(mint)
        if old is None or (market.slot, market.tx_index) >= (old.slot, old.tx_index):
            kept[mint] = market

    def insert(self, order: Order, landed: Landed) -> None:
        """A trade of ours has gone through: the stream shows it like everybody's."""

    def restore(self, position: Position) -> None:
        """A position of an earlier run: its buy is in what the stream shows."""

    def leave(self, mint: str) -> None:
        """Nothing of ours is in the coin any more."""

    def hear(self, event: Event) -> MarketState | None:
        """Takes one event; returns the market that it shows, None where it shows none that we trade."""
        if event.quote_mint != WSOL or not event.reserve_base_raw or event.reserve_quote_raw is None:
            return None
        if event.action not in _MOVING or event.meta.get("ix") == "multi_hop_swap":
            return None
        index = -1 if event.tx_index is None else event.tx_index
        reserves = (int(event.reserve_base_raw), int(event.reserve_quote_raw))
        is_pool = event.program == _AMM or event.meta.get("venue") == "amm"
        return self.see(market_trade(event.mint, event.slot, index, reserves, event.meta, is_pool=is_pool))

    def see(self, trade: MarketTrade) -> MarketState | None:
        """The same for a trade that was read the short way."""
        kept, new = (self._curves, _curve(trade)) if trade.pool is None else (self._pools, self._pool(trade))
        if new is None:
            return None
        old = kept.get(trade.mint)
        if old is None or old.slot < new.slot or (old.slot == new.slot and old.tx_index <= new.tx_index):
            kept[trade.mint] = new
        return new

    def _pool(self, trade: MarketTrade) -> MarketState | None:
        if trade.pool != pool_of(trade.mint):
            return None
        known = self._pools.get(trade.mint)
        # Deposits and withdrawals tell no fees: the last trade's stand.
        usual = known.fees if known else _POOL_FEES
        return _state("amm", trade, (trade.base_raw, trade.real_quote_raw or trade.quote_raw), usual)


def _curve(trade: MarketTrade) -> MarketState:
    real_base, real_quote = trade.real_base_raw, trade.real_quote_raw
    if real_base is None or real_quote is None:
        # A SOL curve starts from fixed reserves: what it has sold and taken follows from the virtual ones.
        start = INITIAL_SOL_CURVE
        real_base = trade.base_raw - (start.virtual_base - start.real_base)
        real_quote = trade.quote_raw - start.virtual_quote
    return _state("curve", trade, (real_base, real_quote), _CURVE_FEES)


def _state(venue: Venue, trade: MarketTrade, real: tuple[int, int], usual: Fees) -> MarketState:
    """Fees are what the next trader pays, from what this one paid: the mayhem agent pays nothing, but everybody else
    does, and a cashback coin takes the creator's share for the trader to claim later.
    """
    _, slot, tx_index, base, quote, _, _, pool, lp, protocol, creator, has_cashback, is_complete = trade
    if not protocol:
        lp, protocol, creator = usual.lp_bps, usual.protocol_bps, usual.creator_bps
    elif not creator and has_cashback:
        creator = usual.creator_bps
    is_over = pool is None and (is_complete or real[0] <= 0)
    # In the order of the record: between a signal and its order twelve names cost as much as the values.
    return MarketState(venue, pool, slot, tx_index, base, quote, real[0], real[1], lp, protocol, creator, is_over)
