"""The kernel that finds a leader's buy in an update's bytes, with its scratch space. Imported when there is time.

What a buy has to be is `copytrader_core.pump.scan`'s; what is made of it `executor.glance`'s.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np

from copytrader_core.pump import newest_pool_buy, newest_trade
from copytrader_core.pump.scan import (
    COLUMNS,
    FIELD_COLUMNS,
    MAX_CALLS,
    MAX_FIELDS,
    MAX_KEYS,
    N_EVENT_COLUMNS,
    OWNER_COLUMNS,
    scan,
)

__all__ = ["Scanner"]

_HEAD_BYTES: Final = 8
_PROGRAM, _IS_NEWEST, _N_KEYS, _N_OWNERS = map(COLUMNS.index, ("program", "is_newest", "n_keys", "n_owners"))
_IS_NEWEST_OF: Final = (newest_trade.IS_NEWEST, newest_pool_buy.IS_NEWEST)
_POOL: Final = 1
_KEYS_AT: Final = len(COLUMNS) + N_EVENT_COLUMNS


class Scanner:
    """The kernel with its scratch space."""

    def __init__(self) -> None:
        # What is found and where the keys are lie one behind the other: both are read at once.
        self._all = np.zeros(_KEYS_AT + MAX_KEYS, np.int64)
        found, keys = self._all[:_KEYS_AT], self._all[_KEYS_AT:]
        self._owners = np.zeros((MAX_FIELDS, len(OWNER_COLUMNS)), np.int64)
        calls, groups = np.zeros((MAX_CALLS, 6), np.int64), np.zeros((MAX_KEYS, 2), np.int64)
        message, meta = (np.zeros((MAX_FIELDS, len(FIELD_COLUMNS)), np.int64) for _ in range(2))
        self._scratch = (keys, calls, groups, _kinds(), message, meta, self._owners, found)
        self._leaders = np.zeros(0, np.uint64)

    def follow(self, leaders: Collection[bytes]) -> None:
        """From now on only what one of these keys has signed is found."""
        heads = {int.from_bytes(key[:_HEAD_BYTES], "little") for key in leaders}
        self._leaders = np.array(sorted(heads), np.uint64)

    def __call__(self, raw: bytes) -> tuple[list[int], list[int], list[list[int]]] | None:
        """The values of `COLUMNS` and behind them what the event says; the offsets of the keys; for a pool's buy also
        the rows of `OWNER_COLUMNS`.
        """
        if not scan(raw, self._leaders, self._scratch):
            return None
        found: list[int] = self._all[: _KEYS_AT + self._all.item(_N_KEYS)].tolist()
        if not _IS_NEWEST_OF[found[_PROGRAM]]:
            found[_IS_NEWEST] = 0
        owners = self._owners[: found[_N_OWNERS]].tolist() if found[_PROGRAM] == _POOL else []
        return found[:_KEYS_AT], found[_KEYS_AT:], owners


def _kinds() -> np.ndarray:
    """Scratch space, and the wire type of every field that may stand once in a message, by number; -1: any other."""
    work = np.full((15, 17), -1, np.int64)
    varint, length = 0, 2
    for row, kinds in {
        2: {1: varint, 2: length, 3: length, 4: varint},  # an instruction
        5: {1: varint},  # a group of inner instructions
        6: {1: varint, 2: length, 3: length, 4: length, 5: length},  # a token balance
        7: {2: varint, 3: length},  # its amount
        8: {3: length, 4: length, 5: length, 6: length, 7: length, 9: length, 10: length},  # an update
        9: {1: length, 2: varint},  # of a transaction
        10: {1: length, 2: varint, 3: length, 4: length, 5: varint},  # what it says of it
        11: {2: length},  # the transaction
        12: {1: length},  # its message
        13: {1: varint},  # its header
        14: {1: length, 3: length, 4: length, 10: varint, 11: varint},  # its meta
    }.items():
        for number, kind in kinds.items():
            work[row, number] = kind
    return work
