"""Is the worker well, and would a restart help it: a pure function of what was last seen and when."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Limits", "Pulse", "State", "Verdict", "judge"]


class State(StrEnum):
    """What the worker is doing, or why it cannot."""

    STARTING = "starting"
    STANDBY = "standby"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    STALLED = "stalled"
    DATABASE_AWAY = "database_away"
    COMMITS_LATE = "commits_late"
    STUCK = "stuck"
    STOPPING = "stopping"


@dataclass(slots=True)
class Pulse:
    """When what was last seen, in seconds of one monotonic clock; None for never.

    `data_at`: the stream spoke of a slot that it had not spoken of before. `waiting_since`: the oldest closed slot that
    is not committed came then.
    """

    alive_at: float
    standby: bool = False
    stopping: bool = False
    ready_at: float | None = None
    data_at: float | None = None
    waiting_since: float | None = None
    database_away_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds: silence of the stream, a commit, one round of the worker's loop.

    A commit that neither ends nor fails for `hang_seconds` never will.
    """

    stall_seconds: float = 30.0
    commit_seconds: float = 15.0
    hang_seconds: float = 120.0
    round_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is None if all is well. `lives`: a restart would mend nothing that the worker cannot mend itself."""

    state: State
    reason: str | None
    lives: bool

    @property
    def healthy(self) -> bool:
        """Whether the worker does what it is there for, or stands ready to."""
        return self.reason is None


def judge(pulse: Pulse, now: float, limits: Limits) -> Verdict:
    """The state at `now`, the gravest first.

    While the database is away the worker lives: it holds rows that a provider may not replay again. A silent stream
    leaves it nothing to lose, so that there the watchdog may do what watchdogs do.
    """
    round_seconds = now - pulse.alive_at
    if round_seconds > limits.round_seconds:
        return Verdict(State.STUCK, f"the worker's loop has not come round for {round_seconds:.0f} s", lives=False)
    if pulse.stopping:
        return Verdict(State.STOPPING, "the worker is ending", lives=True)
    if pulse.database_away_seconds > 0:
        away = f"the database has been away for {pulse.database_away_seconds:.0f} s"
        return Verdict(State.DATABASE_AWAY, away, lives=True)
    if pulse.standby:
        return Verdict(State.STANDBY, None, lives=True)
    if pulse.ready_at is None:
        return Verdict(State.STARTING, "the worker does not have the database yet", lives=True)
    return _judge_stream(pulse, pulse.ready_at, now, limits)


def _judge_stream(pulse: Pulse, ready_at: float, now: float, limits: Limits) -> Verdict:
    # Late commits first: they hold the reader back, so that the stream looks silent too.
    late = 0.0 if pulse.waiting_since is None else now - pulse.waiting_since
    if late > limits.commit_seconds:
        waits = f"a slot that is complete has waited {late:.0f} s for its commit"
        return Verdict(State.COMMITS_LATE, waits, lives=late <= limits.hang_seconds)
    silent = now - (ready_at if pulse.data_at is None else pulse.data_at)
    if silent > limits.stall_seconds:
        return Verdict(State.STALLED, f"no new slot has come for {silent:.0f} s", lives=False)
    if pulse.data_at is None:
        return Verdict(State.CONNECTING, f"nothing has come yet, {silent:.0f} s after the start", lives=True)
    return Verdict(State.STREAMING, None, lives=True)
