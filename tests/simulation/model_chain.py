"""The model chain: blocks on forks, what is confirmed and final, which transaction can still land. No faults, no time.

A fork that will be left behind is said so when it begins (`doomed`): nothing of it is ever confirmed. A signature lands
once on a fork; on the fork that replaces it, it may land again, with another outcome.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from solders.hash import Hash

from tests.simulation.bank import Receipt, State, Trade, Wire, execute, trade

BLOCKHASH_BLOCKS: Final = 150
CONFIRMED_BLOCKS: Final = 2
FINALIZED_BLOCKS: Final = 32
FIRST_SLOT: Final = 1_000
_FIRST_HEIGHT: Final = 700

Commitment = Literal["processed", "confirmed", "finalized"]


@dataclass(slots=True)
class Block:
    """A block and the state after it. `time` is unix seconds."""

    slot: int
    parent_slot: int
    height: int
    blockhash: Hash
    time: int
    state: State
    doomed: bool = False
    receipts: list[Receipt] = field(default_factory=list)


class Chain:
    """The fork that a node shows as processed, newest block last."""

    def __init__(self, seed: int, time: int, state: State) -> None:
        self._seed = seed
        self._forks = 0
        self.blocks = [Block(FIRST_SLOT - 1, FIRST_SLOT - 2, _FIRST_HEIGHT, self._hash(FIRST_SLOT - 1), time, state)]
        self.landed: dict[bytes, tuple[int, Receipt]] = {}
        """Signature -> (index of its block, what it did), on this fork."""
        self._confirmed = self._finalized = 0

    @property
    def tip(self) -> Block:
        """The newest block."""
        return self.blocks[-1]

    def index_of(self, commitment: Commitment) -> int:
        """The index of the newest block at a commitment."""
        return {"processed": len(self.blocks) - 1, "confirmed": self._confirmed, "finalized": self._finalized}[
            commitment
        ]

    def commitment_at(self, index: int) -> Commitment:
        """How settled a block is."""
        if index <= self._finalized:
            return "finalized"
        return "confirmed" if index <= self._confirmed else "processed"

    def can_land(self, wire: Wire) -> bool:
        """Whether the next block would take it: a blockhash of this fork's newest 150, and not landed yet."""
        newest = self.blocks[-BLOCKHASH_BLOCKS:]
        return wire.signature not in self.landed and any(block.blockhash == wire.blockhash for block in newest)

    def produce(self, slot: int, time: int, items: Sequence[Trade | Wire], *, doomed: bool = False) -> Block:
        """The next block, of what can land of `items`, in their order."""
        parent = self.tip
        state = parent.state.copy()
        block = Block(slot, parent.slot, parent.height + 1, self._hash(slot), time, state, doomed)
        for item in items:
            receipt = self._land(block, item)
            if receipt is not None:
                self.landed[receipt.signature] = (len(self.blocks), receipt)
                block.receipts.append(receipt)
        self.blocks.append(block)
        if not doomed:
            self._confirmed = max(self._confirmed, len(self.blocks) - 1 - CONFIRMED_BLOCKS)
            self._finalized = max(self._finalized, len(self.blocks) - 1 - FINALIZED_BLOCKS)
        return block

    def _land(self, block: Block, item: Trade | Wire) -> Receipt | None:
        if isinstance(item, Trade):
            return None if item.signature in self.landed else trade(block.state, item)
        # Whoever cannot pay the fee is not taken into a block.
        if not self.can_land(item) or block.state.lamports < item.fee:
            return None
        block.state, receipt = execute(block.state, item)
        return receipt

    def leave_fork(self) -> list[Block]:
        """Leaves every doomed block behind, newest last in the answer."""
        left: list[Block] = []
        while self.tip.doomed:
            left.insert(0, self.blocks.pop())
            for receipt in left[0].receipts:
                del self.landed[receipt.signature]
        self._forks += bool(left)
        return left

    def _hash(self, slot: int) -> Hash:
        return Hash(hashlib.sha256(f"{self._seed}/{self._forks}/{slot}".encode()).digest())
