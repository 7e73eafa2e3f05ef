"""Where on the tape transactions and addresses are, made of what has been played when somebody asks; kept in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from copytrader_core.solana.base58 import signature_text
from simnet.json_blocks import error_json
from simnet.timeline import Ledger

__all__ = ["ChainIndex", "Place"]

# The position of a block on the tape, and of a transaction in it.
Place = tuple[int, int]
# Blocks that are indexed before somebody else may run: the same loop may be playing the tape.
_INDEX_STEP = 50


class ChainIndex:
    """Where each transaction is, and which name an address, in chain order. `briefs`: signature and error by place."""

    def __init__(self, timeline: Ledger) -> None:
        self.by_signature: dict[bytes, Place] = {}
        self.by_address: dict[bytes, list[Place]] = {}
        self.briefs: dict[Place, tuple[str, dict[str, Any] | None]] = {}
        self._timeline = timeline
        self._n_blocks = 0
        self._growing = asyncio.Lock()

    async def reach(self, n_blocks: int) -> None:
        """Takes in the blocks up to there."""
        async with self._growing:
            while self._n_blocks < n_blocks:
                self._add(self._n_blocks)
                self._n_blocks += 1
                if self._n_blocks % _INDEX_STEP == 0:
                    await asyncio.sleep(0)

    def _add(self, position: int) -> None:
        entry = self._timeline.entry(position)
        if entry is None or entry.is_dead:
            return
        for index, info in enumerate(self._timeline.block(position).transactions):
            place = (position, index)
            self.by_signature[info.signature] = place
            self.briefs[place] = (signature_text(info.signature), error_json(info.meta))
            keys = info.transaction.message.account_keys
            loaded = (*info.meta.loaded_writable_addresses, *info.meta.loaded_readonly_addresses)
            for key in {*keys, *loaded}:
                self.by_address.setdefault(key, []).append(place)
