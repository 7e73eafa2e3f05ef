"""Records a planted market: the tape for whoever listens to the chain, and beside it the truth for whoever checks them.

The market itself is `simnet.market`'s, playing a tape is `simnet.yellowstone`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from copytrader_core.errors import ConfigError
from simnet.bytecode import PACKAGE, PROGRAM_SHA256
from simnet.market import Market
from simnet.plan import Session
from simnet.tape import TapeWriter
from simnet.truth import Truth, write_truth

__all__ = ["Recorded", "record", "schedule", "truth_beside"]

SMALL_SEED = 7
# The event layouts of the captured programs were in force from 2026-10-09 to the upgrade of 2026-10-19.
FIRST_DAY = datetime(2026, 10, 12, tzinfo=UTC)
MAX_DAYS = 7
_OPENING = ((13, 5), (14, 0), (20, 30), (16, 0), (15, 0), (18, 30), (12, 0))
_ENTRIES_PER_DAY = 19.4
_MINUTES_PER_DAY = 50.0
_LIVE_DAY_SHARE = 0.28
_LONGEST_MINUTES = 160.0
# Above this the best compression would take longer than the market itself.
_SMALL_SIZE = 2.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording produced."""

    tape: Path
    truth_path: Path
    truth: Truth

    @property
    def n_bytes(self) -> int:
        """Size of the tape and the truth together."""
        return self.tape.stat().st_size + self.truth_path.stat().st_size


def schedule(days: int, size: float) -> tuple[list[Session], list[int]]:
    """The sessions of so many days, and how often every leader enters a coin in each.

    `size` 1 is the committed tape's; of several days the last is shorter: it is there to be traded live.
    Raises ConfigError for a schedule that the market cannot keep.
    """
    if not 1 <= days <= MAX_DAYS or not 0.1 <= size <= 20:
        raise ConfigError(f"a recording has 1 to {MAX_DAYS} days and a size of 0.1 to 20, got {days} and {size:g}")
    sessions, entries = [], []
    for day in range(days):
        share = _LIVE_DAY_SHARE if day and day == days - 1 else 1.0
        start = FIRST_DAY.timestamp() + day * 86_400 + _OPENING[day][0] * 3600 + _OPENING[day][1] * 60
        minutes = min(_LONGEST_MINUTES, max(15.0, _MINUTES_PER_DAY * size * (0.5 if share < 1 else 1.0)))
        sessions.append(Session(int(start), minutes))
        wanted = _ENTRIES_PER_DAY * size * share
        entries.append(max(1, round(wanted * (day + 1)) - round(wanted * day)))
    return sessions, entries


def truth_beside(tape: Path) -> Path:
    """Where the truth of a tape lies."""
    return tape.with_name(tape.name.removesuffix(".zst").removesuffix(".tape") + ".truth.json.zst")


def record(
    tape: Path,
    *,
    seed: int = SMALL_SEED,
    days: int = 4,
    size: float = 1.0,
    progress: Callable[[str], None] = lambda _: None,
) -> Recorded:
    """Runs a market and writes its tape and truth; the same arguments give the same bytes.

    Raises ConfigError where the programs cannot be had or the schedule is impossible.
    """
    sessions, entries = schedule(days, size)
    market = Market(seed, sessions, entries)
    with TapeWriter(tape, _header(seed, days, size, sessions), level=19 if size <= _SMALL_SIZE else 9) as writer:
        for block in market.blocks():
            writer.write(block)
            if market.truth.n_blocks % 1000 == 0:
                when = datetime.fromtimestamp(block.block_time.timestamp, UTC)
                progress(f"{when:%Y-%m-%d %H:%M}  {market.truth.n_transactions} transactions")
    beside = truth_beside(tape)
    write_truth(market.truth, beside)
    return Recorded(tape, beside, market.truth)


def _header(seed: int, days: int, size: float, sessions: Sequence[Session]) -> dict[str, Any]:
    return {
        "what": "a planted market on the local chain; every transaction was executed by the deployed programs",
        "seed": seed,
        "days": days,
        "size": size,
        "sessions": [[session.start, session.end] for session in sessions],
        "programs": {"source": PACKAGE, "sha256": PROGRAM_SHA256},
    }
