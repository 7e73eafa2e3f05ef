"""A day's market in memory: its tape, its slots, and the texts of the rows in which leaders trade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from copytrader_core.replay.tape import Tape


@dataclass(frozen=True, slots=True)
class TapeDay:
    """`slots` in order with their block times `seconds`; `ts_ns` are the rows' block times.

    `texts` holds (signature, quote mint) of the rows that somebody may be told about.
    """

    tape: Tape
    slots: NDArray[np.int64]
    seconds: NDArray[np.int64]
    ts_ns: NDArray[np.int64]
    texts: Mapping[int, tuple[str, str]] = field(repr=False)

    def text(self, row: int) -> tuple[str, str]:
        """(signature, quote mint) of a row, empty where they are not in memory."""
        return self.texts.get(row, ("", ""))
