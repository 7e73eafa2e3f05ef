"""The others: leaders who buy and sell again, a crowd that trades around them. One script a seed."""

from __future__ import annotations

import hashlib
import random
from typing import Final

from solders.pubkey import Pubkey

from copytrader_core.pump import curve
from tests.simulation.bank import Side, State, Trade

N_LEADERS: Final = 3
_N_CROWD: Final = 5
_N_COINS: Final = 14


def key(name: str) -> Pubkey:
    """The address of a named wallet or coin: the same in every world."""
    return Pubkey(hashlib.sha256(f"simulation/{name}".encode()).digest())


LEADERS: Final = tuple(key(f"leader {at}") for at in range(N_LEADERS))
_CROWD: Final = tuple(key(f"somebody {at}") for at in range(_N_CROWD))
COINS: Final = tuple(key(f"coin {at}") for at in range(_N_COINS))


class Market:
    """Makes the others' trades of each slot, from what they hold.

    `leader_buys` and `completes` are the chances in a slot that a leader buys, and that a curve is bought empty.
    """

    def __init__(self, seed: int, *, leader_buys: float = 0.25, completes: float = 0.0001) -> None:
        self.rng = random.Random(f"{seed}/market")
        self.leader_buys = leader_buys
        self.completes = completes
        self._seed = seed
        self._serial = 0

    def opening(self) -> list[Trade]:
        """Every coin has been traded before the story begins."""
        return [self._trade(self.rng.choice(_CROWD), coin, "BUY", self._size(0.5, 8.0)) for coin in COINS]

    def trades(self, state: State) -> list[Trade]:
        """What the others send for the next block."""
        rng, found = self.rng, []
        if rng.random() < self.leader_buys:
            found.append(self._leader_buy(state))
        for (wallet, coin), held in state.crowd.items():
            patience = 0.05 if wallet in LEADERS else 0.02
            if held and rng.random() < patience:
                found.append(self._trade(wallet, coin, "SELL", max(1, int(held * rng.choice((0.5, 1.0, 1.0))))))
        while rng.random() < 0.2:
            found.append(self._trade(rng.choice(_CROWD), rng.choice(COINS), "BUY", self._size(0.02, 2.0)))
        if rng.random() < self.completes:
            found.append(self._trade(rng.choice(_CROWD), rng.choice(COINS), "BUY", 1, completes=True))
        rng.shuffle(found)
        return found

    def rival(self, coin: Pubkey) -> Trade:
        """Somebody who buys just before us, mostly more than our slippage bears."""
        return self._trade(self.rng.choice(_CROWD), coin, "BUY", self._size(0.5, 6.0))

    def _leader_buy(self, state: State) -> Trade:
        rng = self.rng
        open_coins = [
            coin for coin in COINS if state.curves.get(coin, curve.INITIAL_SOL_CURVE).real_base > 200 * 10**12
        ]
        coin = rng.choice(open_coins or list(COINS))
        return self._trade(rng.choice(LEADERS), coin, "BUY", self._size(0.3, 2.0))

    def _size(self, least: float, most: float) -> int:
        return int(self.rng.uniform(least, most) * 1e9)

    def _trade(self, wallet: Pubkey, coin: Pubkey, side: Side, amount: int, *, completes: bool = False) -> Trade:
        self._serial += 1
        signature = hashlib.sha512(f"{self._seed}/{self._serial}".encode()).digest()
        return Trade(signature, wallet, coin, side == "BUY", amount, completes)
