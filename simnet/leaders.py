"""Who leads which slot: a schedule of invented identities, four slots each, as on the network."""

from __future__ import annotations

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from copytrader_core.errors import ConfigError
from simnet.desk import keypair

__all__ = ["SLOTS_PER_LEADER", "Leaders"]

SLOTS_PER_LEADER = 4


class Leaders:
    """`identities` take turns; the first `n_jito` of them run the block engine's client."""

    def __init__(self, seed: int, count: int, n_jito: int) -> None:
        if not 1 <= count <= 64 or not 0 <= n_jito <= count:
            raise ConfigError(f"1 to 64 leaders, and no more Jito leaders than leaders; found {count} and {n_jito}")
        self.keys: tuple[Keypair, ...] = tuple(keypair(seed, f"validator {n}") for n in range(count))
        self.identities: tuple[Pubkey, ...] = tuple(keys.pubkey() for keys in self.keys)
        self._jito = frozenset(self.identities[:n_jito])

    def at(self, slot: int) -> Pubkey:
        """The identity that leads a slot."""
        return self.identities[slot // SLOTS_PER_LEADER % len(self.identities)]

    def is_jito(self, slot: int) -> bool:
        """Whether bundles can land in this slot."""
        return self.at(slot) in self._jito

    def takes(self, identity: Pubkey, slot: int) -> bool:
        """Whether this identity takes transactions in at `slot`: it leads now or next."""
        return identity in (self.at(slot), self.at(slot + SLOTS_PER_LEADER))
