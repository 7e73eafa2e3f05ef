"""A journal without files: the ledger is what it is live, and each decision goes to a listener and into one hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import orjson

from executor.control import ACTIVE, Control, Switch
from executor.wal import Wal

Line = Mapping[str, Any]


class Memory:
    """What a `Journal` needs of a `Wal`, kept nowhere. `heard` gets every line."""

    def __init__(self, heard: Callable[[Line], None]) -> None:
        self.snapshot: Line = {}
        self.is_long = False
        self.seq = 0
        self._heard = heard
        self._hash = hashlib.sha256()

    def replay(self) -> Iterator[Line]:
        """Nothing happened before."""
        return iter(())

    def append(self, line: dict[str, Any]) -> int:
        """Takes a line."""
        self.seq += 1
        if line["kind"] == "DECISION":
            self._hash.update(decision_text(line))
        self._heard(line)
        return self.seq

    def take_back(self) -> None:
        """The ledger refused the line: it is raised, and the backtest ends."""

    def sync(self) -> None:
        """Nothing is on a disk."""

    def rotate(self, snapshot: Line) -> None:
        """Never long."""

    @property
    def decision_hash(self) -> str:
        """SHA-256 over every decision with all of its inputs, in order."""
        return self._hash.hexdigest()

    def as_wal(self) -> Wal:
        """The same, for those who ask for files and never look at them."""
        return cast(Wal, self)


class Unattended(Switch):
    """Nobody presses a button in a backtest."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))

    @property
    def control(self) -> Control:
        """ACTIVE, always."""
        return ACTIVE


def decision_text(line: Line) -> bytes:
    """One text for a decision and its inputs: equal for equal ones, whenever and wherever they were taken.

    How long it took, and which run and release it was, are no part of it.
    """
    payload = line["payload"]
    document = {"inputs": payload["inputs"], "decision": payload["decision"]}
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY, default=dict) + b"\n"
