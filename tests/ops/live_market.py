"""A market that is traded as the test runs: a leader, others, blocks of now, and the truth about every trade."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from solders.signature import Signature

from copytrader_core.pump import curve
from simnet.tape import TapeWriter
from tests.executor.planted_market import LEADER, OTHER, World, address, signature_of

Trade = tuple[str, str, str, str, int]


@dataclass
class Market(World):
    """`trades` by slot: signature, wallet, action, coin, raw coins."""

    trades: dict[int, list[Trade]] = field(default_factory=dict)

    def buy(self, who: str, coin: str, sol: float) -> curve.CurveQuote:
        index = len(self._txs)
        return self._noted(index, who, "BUY", coin, super().buy(who, coin, sol))

    def sell(self, who: str, coin: str, tokens: int) -> curve.CurveQuote:
        index = len(self._txs)
        return self._noted(index, who, "SELL", coin, super().sell(who, coin, tokens))

    def truth(self, until_slot: int) -> list[Trade]:
        return sorted(trade for slot, trades in self.trades.items() if slot <= until_slot for trade in trades)

    def _noted(self, index: int, who: str, action: str, coin: str, quote: curve.CurveQuote) -> curve.CurveQuote:
        signature = str(Signature.from_bytes(signature_of(self.slot, index)))
        trade = (signature, address(who), action, address(coin), quote.base_raw)
        self.trades.setdefault(self.slot, []).append(trade)
        return quote


def record(path: Path, slots: int, seed: int) -> Market:
    """A tape of `slots` blocks of 400 ms that begins about now. Every few slots the leader buys a new coin."""
    dice, market, coins = random.Random(seed), Market(start_time=int(time.time())), list[str]()
    market.next()
    for slot in range(slots):
        if slot % 10 == 0:
            coins.append(f"coin {slot}")
            market.buy(LEADER, coins[-1], dice.choice([0.5, 1.0, 2.0]))
        for coin in dice.sample(coins[-12:], min(2, len(coins))):
            if dice.random() < 0.6:
                market.buy(OTHER, coin, dice.uniform(0.05, 1.0))
            else:
                market.sell(OTHER, coin, int(dice.uniform(0.5, 5) * 10**12))
        market.next()
    with TapeWriter(path, {"slot_ms": 400}, level=1) as writer:
        for block in market.blocks:
            writer.write(block)
    return market
