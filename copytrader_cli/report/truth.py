"""What was learned against what was planted, where the market was planted. Reads a truth file; draws nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from copytrader_cli.report.collect import Edge, Leader, ReportFacts, short
from copytrader_core.errors import DataError

__all__ = ["Comparison", "EdgeResult", "LeaderResult", "compare", "read_planted"]


@dataclass(frozen=True, slots=True)
class LeaderResult:
    """A planted leader and what was learned of it; `learned` is None where nothing was."""

    name: str
    planted: Mapping[str, Any]
    learned: Leader | None

    @property
    def style_is_right(self) -> bool:
        """Whether the planted exit style was found."""
        return self.learned is not None and self.learned.pattern["typical_exit_style"] == self.planted["style"]

    @property
    def hold_ms(self) -> tuple[float, float | None]:
        """(planted, median learned). The planted one is a time stop's wait, for other styles an upper bound."""
        return self.planted["hold_ms"], self.learned.pattern["p50_hold_ms"] if self.learned else None

    @property
    def size_sol(self) -> tuple[float, float | None]:
        """(planted, median learned). The learned one includes the fees that the planted one comes to."""
        return self.planted["size_lamports"] / 1e9, self.learned.pattern["p50_entry_sol"] if self.learned else None

    @property
    def target_x(self) -> tuple[float | None, float | None]:
        """(planted, median multiple of the won trips): lost ones tell nothing of where one wanted to sell."""
        won = (
            sorted(t.multiple for t in self.learned.trips if t.multiple and t.pnl_lamports > 0) if self.learned else []
        )
        return self.planted["target_x"], won[len(won) // 2] if won else None


@dataclass(frozen=True, slots=True)
class EdgeResult:
    """An edge that was planted, found, or both."""

    leader_name: str
    follower_name: str
    planted: Mapping[str, Any] | None
    found: Edge | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The whole comparison. Precision and recall count edges."""

    leaders: Sequence[LeaderResult]
    edges: Sequence[EdgeResult]

    @property
    def hits(self) -> int:
        """Planted edges that were found."""
        return sum(edge.planted is not None and edge.found is not None for edge in self.edges)

    @property
    def n_found(self) -> int:
        """Edges that were found."""
        return sum(edge.found is not None for edge in self.edges)

    @property
    def n_planted(self) -> int:
        """Edges that were planted."""
        return sum(edge.planted is not None for edge in self.edges)

    @property
    def precision(self) -> float | None:
        """Share of found edges that were planted; None where none was found."""
        return self.hits / self.n_found if self.n_found else None

    @property
    def recall(self) -> float | None:
        """Share of planted edges that were found."""
        return self.hits / self.n_planted if self.n_planted else None


def read_planted(path: Path) -> Mapping[str, Any]:
    """The truth file's lists `planted` and `edges`. Raises DataError if it is no truth file."""
    try:
        content = path.read_bytes()
        if content[:4] == zstandard.MAGIC_NUMBER.to_bytes(4, "little"):
            content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
        document = json.loads(content)
    except (OSError, ValueError, zstandard.ZstdError) as error:
        raise DataError(
            f"the truth file {path} cannot be read ({error}): name the .truth.json.zst beside the tape"
        ) from error
    if not isinstance(document, dict) or not {"planted", "edges"} <= document.keys():
        raise DataError(f"{path} is no truth file: it should hold 'planted' and 'edges'; name the one beside the tape")
    return document


def compare(facts: ReportFacts, truth: Mapping[str, Any]) -> Comparison:
    """Puts planted and learned side by side, in the order of planting; found edges that nobody planted come last."""
    known = {leader.wallet: leader for leader in facts.leaders}
    names = {row["wallet"]: row["name"] for row in truth["planted"]}
    leaders = [
        LeaderResult(row["name"], row, known.get(row["wallet"])) for row in truth["planted"] if row["style"] is not None
    ]
    found = {(edge.leader, edge.follower): edge for edge in facts.edges}
    planted = {(row["leader"], row["follower"]): row for row in truth["edges"]}
    edges = [
        EdgeResult(
            names.get(pair[0]) or short(pair[0]),
            names.get(pair[1]) or short(pair[1]),
            planted.get(pair),
            found.get(pair),
        )
        for pair in dict.fromkeys([*planted, *found])
    ]
    return Comparison(leaders, edges)
