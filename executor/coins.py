"""What our transactions must know of the coins we trade: copied from the leader's instruction or read from accounts.

No requests are made here and nothing is built: `copytrader_core.solana.coins` knows how, `executor.live` when.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final

from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.policy.market import MarketState
from copytrader_core.pump import addresses as a
from copytrader_core.pump.instructions import PumpPool
from copytrader_core.records import Event
from copytrader_core.solana.coins import Coin, coin_from_leader_instruction
from copytrader_core.solana.transaction import RawInstruction, RawTransaction

# A spend that takes this share of what a curve has left may turn out to complete it.
_NEARLY: Final = 2


class CoinBook:
    """Coins by mint, as long as they may be traded."""

    def __init__(self) -> None:
        self._coins: dict[str, Coin] = {}

    def hear(self, tx: RawTransaction, event: Event) -> None:
        """Takes the coin of a trade that has just gone through, unless it is known."""
        if event.mint in self._coins:
            return
        ix = _instruction(tx, event)
        keys = tx.account_keys
        creator = event.meta.get("creator")
        try:
            coin = coin_from_leader_instruction(
                Pubkey(keys[ix.program_index]),
                bytes(ix.data),
                [Pubkey(keys[at]) for at in ix.accounts],
                creator=Pubkey.from_string(creator) if creator else a.ZERO_KEY,
                is_cashback=bool(event.meta.get("cashback_raw")),
                is_mayhem=bool(event.meta.get("mayhem")),
            )
        except (DecodeError, IndexError):
            return
        if coin is not None and str(coin.mint) == event.mint:
            self._coins[event.mint] = coin

    def learn(self, coin: Coin) -> None:
        """Takes a coin as its accounts say it is."""
        self._coins[str(coin.mint)] = coin

    def forget(self, but: Container[str]) -> None:
        """Drops all coins except those that are needed still."""
        for mint in [mint for mint in self._coins if mint not in but]:
            del self._coins[mint]

    @property
    def newest(self) -> str | None:
        """The coin that was heard of last."""
        return next(reversed(self._coins), None)

    def document(self, mint: str, market: MarketState | None = None, quoted_raw: int = 0) -> dict[str, Any] | None:
        """A coin as JSON values, to be traded on `market`; None where it is not known. `quoted_raw`: what is bought."""
        coin = self._coins.get(mint)
        if coin is None:
            return None
        on_curve = market is None or market.venue == "curve"
        return {
            "creator": str(coin.creator),
            "token_program": str(coin.base_token_program),
            "is_cashback": coin.is_cashback,
            "is_mayhem": coin.is_mayhem,
            "venue": "curve" if on_curve else "amm",
            "may_complete": bool(on_curve and market is not None and _NEARLY * quoted_raw > market.real_base_raw),
        }

    def coin(self, mint: str, document: Mapping[str, Any]) -> Coin:
        """The coin of an order's document, on the venue that it names."""
        known = self._coins.get(mint)
        is_pool = document["venue"] == "amm"
        if known is not None and (known.pool is not None) == is_pool and known.is_cashback == document["is_cashback"]:
            return known
        key, program = Pubkey.from_string(mint), Pubkey.from_string(document["token_program"])
        creator = Pubkey.from_string(document["creator"])
        cashback, mayhem = document["is_cashback"], document["is_mayhem"]
        pool = PumpPool(a.canonical_pool(key), key, creator, program, is_cashback=cashback) if is_pool else None
        return Coin(key, creator, program, is_cashback=cashback, is_mayhem=mayhem, pool=pool)


def _instruction(tx: RawTransaction, event: Event) -> RawInstruction:
    return tx.outer[event.outer_ix] if event.inner_ix < 0 else tx.inner[event.outer_ix][event.inner_ix]
