"""What no line tells: the executor's end, a record that falls behind, a state that is set while nobody trades.

A condition is told when it changes, once; what it was stands in the process's file, so that a restart tells nothing
anew. Pure: facts in, words out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from copytrader_cli.alerts.alert import Said
from copytrader_cli.watch.ingest import Ingest
from copytrader_cli.watch.look import Facts

__all__ = ["Conditions", "changes"]

# What has fallen behind counts as caught up once it is this much better: else it would be told at every wobble.
_CAUGHT_UP = 0.5
_AWAY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """As they were told last; None: not known yet. `away_since`: when Postgres was missed first, unix seconds."""

    running: bool | None = None
    state: str | None = None
    late: bool | None = None
    missing_slots: int | None = None
    away: bool = False
    away_since: float | None = None

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """What `document` says; names that this version does not know are left out."""
        return cls(**{name: value for name, value in document.items() if name in cls.__slots__})


def changes(before: Conditions, facts: Facts, lag_seconds: float) -> tuple[Conditions, list[Said]]:
    """The conditions now, and what is worth telling of how they came about. `lag_seconds`: what counts as late."""
    said: list[Said] = []
    after = _process(before, facts, said)
    after = _database(after, facts, said)
    if facts.ingest is not None:
        after = _record(after, facts.ingest, lag_seconds, said)
    return after, said


def _process(before: Conditions, facts: Facts, said: list[Said]) -> Conditions:
    status = facts.status
    if status.source == "none" and facts.away is not None:
        # Its journal is elsewhere, and who could tell is away.
        return before
    if before.running and not status.running:
        held = f"; {len(status.positions)} positions are open and nobody sells them" if status.positions else ""
        said.append(("executor", f"The {facts.mode} executor is not running any more{held}"))
    state = f"{status.state}{', selling everything' if status.flatten else ''}"
    # While it runs its journal tells; while the row cannot be read nobody knows.
    known = status.row is not None
    if known and not status.running and before.state is not None and state != before.state:
        why = f": {status.reason}" if status.reason else ""
        said.append(("state", f"{state}{why}; no {facts.mode} executor is running"))
    return replace(before, running=status.running, state=state if known else before.state)


def _database(before: Conditions, facts: Facts, said: list[Said]) -> Conditions:
    if facts.away is None:
        if before.away:
            said.append(("ingest", "Postgres is back"))
        return replace(before, away=False, away_since=None)
    since = before.away_since or facts.at
    if not before.away and facts.at - since >= _AWAY_SECONDS:
        said.append(("ingest", f"Postgres is away: {facts.away}. Nothing is bought without it; exits go on"))
        return replace(before, away=True, away_since=since)
    return replace(before, away_since=since)


def _record(before: Conditions, ingest: Ingest, lag_seconds: float, said: list[Said]) -> Conditions:
    lag, late = ingest.lag_seconds, before.late
    if lag is not None:
        if lag > lag_seconds and not late:
            said.append(("ingest", f"Ingest is {_span(lag)} behind the chain, at slot {ingest.slot}"))
            late = True
        elif late and lag < lag_seconds * _CAUGHT_UP:
            said.append(("ingest", f"Ingest has caught up: {_span(lag)} behind"))
            late = False
    if ingest.missing_slots > (before.missing_slots or 0):
        newest = ingest.gaps[0]
        where = f"{newest.from_slot} to {newest.to_slot}"
        said.append(("ingest", f"{ingest.missing_slots} slots are missing, the newest {where}: {newest.reason}"))
    elif before.missing_slots and not ingest.missing_slots:
        said.append(("ingest", "No slot is missing any more"))
    return replace(before, late=bool(late), missing_slots=ingest.missing_slots)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
