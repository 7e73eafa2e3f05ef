"""Which transactions are worth decoding: those that name a leader, a coin that we hold or have under way, or ourselves.

A transaction names every account that it touches, so a look at its keys is enough, and most are dropped by it.
"""

from __future__ import annotations

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.solana.base58 import address_bytes
from executor.engine import Engine


class Interests:
    """The keys that concern us now."""

    def __init__(self, engine: Engine, own: str | None) -> None:
        self._engine = engine
        self._own = {address_bytes(own)} if own is not None else set()
        self._keys: set[bytes] = set()
        self._release_id: str | None = None
        self._always: set[bytes] = set()
        self._mints: set[str] = set()
        self._is_old = True

    def changed(self) -> None:
        """Something was decided, bought or sold."""
        self._is_old = True

    def concern(self, info: pb.SubscribeUpdateTransactionInfo) -> bool:
        """Whether a transaction has to be read."""
        if self._is_old or self._release_id != self._engine.release.release_id:
            self._renew()
        meta, keys = info.meta, self._keys
        return not (
            keys.isdisjoint(info.transaction.message.account_keys)
            and keys.isdisjoint(meta.loaded_writable_addresses)
            and keys.isdisjoint(meta.loaded_readonly_addresses)
        )

    def _renew(self) -> None:
        release, desk = self._engine.release, self._engine.desk
        mints = desk.holdings.mints | {order.mint for order in desk.broker.orders}
        is_same = self._release_id == release.release_id
        if not is_same:
            self._release_id = release.release_id
            self._always = self._own | {address_bytes(wallet) for wallet in release.patterns}
        if not is_same or mints != self._mints:
            self._mints, self._keys = mints, self._always | {address_bytes(mint) for mint in mints}
        self._is_old = False
