"""The last reserves of every coin, from the events of the stream. Quotes are `copytrader_core.policy.market`'s."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from typing import Final

from solders.pubkey import Pubkey

from copytrader_core.policy.market import MarketState, Venue
from copytrader_core.pump.addresses import AMM_PROGRAM, canonical_pool
from copytrader_core.pump.curve import INITIAL_SOL_CURVE
from copytrader_core.pump.fees import CURVE_FEES, POOL_FEES, Fees
from copytrader_core.records import WSOL, Event

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

    def hear(self, event: Event) -> MarketState | None:
        """Takes one event; returns the market that it shows, None where it shows none that we trade."""
        if event.quote_mint != WSOL or not event.reserve_base_raw or event.reserve_quote_raw is None:
            return None
        if event.action not in _MOVING or event.meta.get("ix") == "multi_hop_swap":
            return None
        if event.program == _AMM or event.meta.get("venue") == "amm":
            return self._keep(self._pools, event, self._pool(event))
        return self._keep(self._curves, event, _curve(event))

    def _pool(self, event: Event) -> MarketState | None:
        pool = event.meta.get("pool")
        if pool != pool_of(event.mint):
            return None
        known = self._pools.get(event.mint)
        vault = event.meta.get("vault_quote_raw") or event.reserve_quote_raw
        real = (int(event.reserve_base_raw or 0), int(vault or 0))
        # Deposits and withdrawals tell no fees: the last trade's stand.
        return _state("amm", event, str(pool), real, known.fees if known else _POOL_FEES)

    def _keep(self, kept: dict[str, MarketState], event: Event, new: MarketState | None) -> MarketState | None:
        old = kept.get(event.mint)
        if new is not None and (old is None or (new.slot, new.tx_index) >= (old.slot, old.tx_index)):
            kept[event.mint] = new
        return new


def _curve(event: Event) -> MarketState:
    real_base, real_quote = event.meta.get("real_base_raw"), event.meta.get("real_quote_raw")
    if real_base is None or real_quote is None:
        # A SOL curve starts from fixed reserves: what it has sold and taken follows from the virtual ones.
        start = INITIAL_SOL_CURVE
        real_base = int(event.reserve_base_raw or 0) - (start.virtual_base - start.real_base)
        real_quote = int(event.reserve_quote_raw or 0) - start.virtual_quote
    return _state("curve", event, None, (int(real_base), int(real_quote)), _CURVE_FEES)


def _state(venue: Venue, event: Event, pool: str | None, real: tuple[int, int], usual: Fees) -> MarketState:
    fees = _fees(event, usual)
    return MarketState(
        venue=venue,
        pool=pool,
        slot=event.slot,
        tx_index=-1 if event.tx_index is None else event.tx_index,
        base_raw=int(event.reserve_base_raw or 0),
        quote_raw=int(event.reserve_quote_raw or 0),
        real_base_raw=real[0],
        real_quote_raw=real[1],
        lp_fee_bps=fees.lp_bps,
        protocol_fee_bps=fees.protocol_bps,
        creator_fee_bps=fees.creator_bps,
        complete=venue == "curve" and (bool(event.meta.get("complete")) or real[0] <= 0),
    )


def _fees(event: Event, usual: Fees) -> Fees:
    """What the next trader pays, from what this one paid: the mayhem agent pays nothing, but everybody else does, and
    a cashback coin takes the creator's share for the trader to claim later.
    """
    meta = event.meta
    protocol = meta.get("protocol_fee_bps")
    if not protocol:
        return usual
    creator = int(meta.get("creator_fee_bps") or 0)
    if not creator and meta.get("cashback_raw"):
        creator = usual.creator_bps
    return Fees(int(meta.get("lp_fee_bps") or 0), int(protocol), creator)
