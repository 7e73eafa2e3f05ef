"""The observer of a worker: its numbers for Prometheus, its pulse for the health check, its clocks' witnesses.

Nothing here waits, listens or logs; `monitor` does. Label values come from small sets and never from the wire, so that
no stream can fill the memory, and no token can get in.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ingest_worker.health import Limits, Pulse, State, Verdict, judge
from ingest_worker.observer import Observer
from ingest_worker.skew import ClockSkew, Witness

__all__ = ["CONTENT_TYPE", "Telemetry"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
_PREFIX = "copytrader_ingest"
_MAX_WAITING_SLOTS = 4096
_LABEL_VALUE = re.compile(r"[a-z][a-z0-9_]{0,39}")
_COMMIT_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 15, 60)
# A block time is in whole seconds and 1.3 s behind: below 2 s there is nothing to tell apart.
_CHAIN_SECONDS = (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 20, 60, 300, 3600)
_ROWS = (1, 3, 10, 30, 100, 300, 1000, 2000, 5000, 20_000)


class Telemetry(Observer):
    """Counts what it hears. `wall_ns` and `monotonic` are the clocks, exchangeable for tests.

    The names of the metrics stand in docs/ingest.md; an operator's alerts depend on them.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        max_clock_offset_seconds: float = 2.0,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self.limits = limits or Limits()
        self.skew = ClockSkew(max_clock_offset_seconds)
        self.tip_slot = 0
        self.checkpoint_slot = 0
        self.open_gaps = 0
        self.pulse = Pulse(alive_at=monotonic())
        self._wall_ns = wall_ns
        self._monotonic = monotonic
        # Closed slots on their way into the database: their block time, and when they closed.
        self._waiting: dict[int, tuple[int | None, float]] = {}
        # A counter's lock costs more than parsing a small message: what every message brings is added up here first.
        self._new_bytes = self._new_messages = 0
        self._define_counters()
        self._define_histograms()
        self._define_gauges()
        ProcessCollector(registry=self.registry)

    def _define_counters(self) -> None:
        self._bytes = self._counter("received_bytes", "bytes of the stream's messages")
        self._messages = self._counter("received_messages", "messages of the stream, pings included")
        self._transactions = self._counter("transactions", "transactions decoded")
        self._slots = self._counter("slots", "slots committed, repeated ones included")
        self._events = self._counter("events", "new rows committed to raw_events")
        self._duplicates = self._counter("duplicate_events", "rows that were there already, harmlessly refused")
        self._reconnects = self._counter("reconnects", "subscriptions that ended", "reason")
        self._gaps_opened = self._counter("gaps_opened", "holes written down in ingest_gaps")
        self._gaps_filled = self._counter("gaps_filled", "holes of ingest_gaps that this worker found whole")
        self._letters = self._counter("dead_letters", "new rows of ingest_dead_letters")
        self._undecodable = self._counter("undecodable", "dead letters by kind, repeated ones included", "kind")
        self._other_blocks = self._counter("other_blockhash", "slots that came again with another block")
        self._drift = self._counter("protocol_drift", "signs that the programs have changed", "kind")

    def _define_histograms(self) -> None:
        self._lag = self._histogram(
            "slot_close_to_commit_seconds", "last message of a slot to its commit", _COMMIT_SECONDS
        )
        self._chain_lag = self._histogram("block_time_to_commit_seconds", "block time to commit", _CHAIN_SECONDS)
        self._commit_seconds = self._histogram("commit_seconds", "one commit", _COMMIT_SECONDS)
        self._commit_rows = self._histogram("commit_rows", "rows of one commit, repeated ones included", _ROWS)

    def _define_gauges(self) -> None:
        self._backlog_bytes = self._gauge("backlog_bytes", "bytes between the stream and the database")
        self._backlog_messages = self._gauge("backlog_messages", "messages between the stream and the database")
        asked: dict[str, tuple[str, Callable[[], float]]] = {
            "tip_slot": ("newest slot that the stream has spoken of", lambda: self.tip_slot),
            "checkpoint_slot": ("slot at which the next run would resume", lambda: self.checkpoint_slot),
            "slots_behind_tip": ("tip minus checkpoint, 0 until both are known", self.slots_behind),
            "gaps_open": ("holes in ingest_gaps that are not filled", lambda: self.open_gaps),
            "database_away_seconds": ("how long the database has been away", self._database_away),
            "data_age_seconds": ("since the newest new slot, NaN before the first", self._data_age),
            "healthy": ("1 if /healthz answers 200", lambda: float(self.verdict().healthy)),
            "standby": ("1 while another worker has the database", lambda: float(self.pulse.standby)),
            "clock_skewed": ("1 if the clocks cannot be trusted", lambda: float(self.clock_complaint() is not None)),
            "created_at_backwards": ("how often created_at ran backwards", lambda: self.skew.backwards),
        }
        for name, (text, ask) in asked.items():
            self._gauge(name, text).set_function(ask)
        offset = Gauge(
            f"{_PREFIX}_clock_offset_seconds",
            "local clock minus another, NaN while it is not known",
            ["against"],
            registry=self.registry,
        )
        for witness in Witness:
            offset.labels(witness).set_function(partial(self._offset, witness))
        state = Gauge(f"{_PREFIX}_state", "1 for the state that the worker is in", ["state"], registry=self.registry)
        for value in State:
            state.labels(value).set_function(partial(self._is_in, value))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", text, buckets=buckets, registry=self.registry)

    # What is asked of it.

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        self._bytes.inc(self._new_bytes)
        self._messages.inc(self._new_messages)
        self._new_bytes = self._new_messages = 0
        return generate_latest(self.registry)

    def verdict(self) -> Verdict:
        """How the worker is now."""
        return judge(self.pulse, self._monotonic(), self.limits)

    def clock_complaint(self) -> str | None:
        """What is wrong with the clocks now, None if nothing is known to be."""
        return self.skew.complaint(self._wall_ns())

    def slots_behind(self) -> int:
        """How far the checkpoint is behind the tip, in slots; 0 until both are known."""
        return max(0, self.tip_slot - self.checkpoint_slot) if self.tip_slot and self.checkpoint_slot else 0

    # What the worker tells it.

    def standby(self, waiting: bool) -> None:
        """Another worker has the database, or has let go of it."""
        self.pulse.standby = waiting

    def ready(self) -> None:
        """From here on data is expected."""
        self.pulse.standby = False
        self.pulse.ready_at = self._monotonic()

    def stopping(self) -> None:
        """The end has begun."""
        self.pulse.stopping = True

    def alive(self) -> None:
        """The loop went round."""
        self.pulse.alive_at = self._monotonic()

    def received(self, n_bytes: int, n_messages: int) -> None:
        """Counts messages."""
        self._new_bytes += n_bytes
        self._new_messages += n_messages

    def subscribed(self, endpoint: str, from_slot: int | None) -> None:
        """Another stream begins, perhaps another provider's."""
        self.skew.restart()

    def reconnect(self, reason: str, endpoint: str) -> None:
        """Counts the end of a subscription."""
        self._reconnects.labels(_label(reason)).inc()

    def tip(self, slot: int) -> None:
        """Notes progress; a replayed slot is none."""
        if slot > self.tip_slot:
            self.tip_slot = slot
            self.pulse.data_at = self._monotonic()

    def stamped(self, slot: int, created_at_ns: int, recv_ns: int, lane: int) -> None:
        """Hears the provider's clock."""
        self.skew.add_created_at(slot, created_at_ns, recv_ns, lane)

    def transactions(self, n: int) -> None:
        """Counts transactions."""
        self._transactions.inc(n)

    def slot_closed(self, slot: int, block_time: int | None, recv_ns: int) -> None:
        """Starts the slot's way to the database, and hears the chain's clock."""
        if block_time is not None:
            self.skew.add_block_time(block_time, recv_ns)
        if slot not in self._waiting:
            self._waiting[slot] = (block_time, self._monotonic())
        if len(self._waiting) > _MAX_WAITING_SLOTS:
            del self._waiting[next(iter(self._waiting))]
        self._note_waiting()

    def backlog(self, n_messages: int, n_bytes: int) -> None:
        """Notes what waits."""
        self._backlog_messages.set(n_messages)
        self._backlog_bytes.set(n_bytes)

    def committed(self, slots: int, rows: int, duplicates: int, seconds: float) -> None:
        """Counts a batch."""
        self._slots.inc(slots)
        self._events.inc(rows)
        self._duplicates.inc(duplicates)
        self._commit_seconds.observe(seconds)
        self._commit_rows.observe(rows + duplicates)

    def landed(self, slots: Mapping[int, int]) -> None:
        """Ends the slots' way to the database and measures it."""
        now_ns = self._wall_ns()
        for slot, recv_ns in slots.items():
            block_time, _ = self._waiting.pop(slot, (None, 0.0))
            self._lag.observe(max(0, now_ns - recv_ns) / 1e9)
            if block_time is not None:
                self._chain_lag.observe(max(0.0, now_ns / 1e9 - block_time))
        self._note_waiting()

    def _note_waiting(self) -> None:
        oldest = next(iter(self._waiting.values()), None)
        self.pulse.waiting_since = None if oldest is None else oldest[1]

    def checkpoint(self, slot: int) -> None:
        """Notes the checkpoint."""
        self.checkpoint_slot = slot

    def gaps_open(self, n: int) -> None:
        """Takes the database's word; in between `gap_opened` and `gap_filled` keep count."""
        self.open_gaps = n

    def gap_opened(self, from_slot: int, to_slot: int, reason: str) -> None:
        """Counts a hole."""
        self._gaps_opened.inc()
        self.open_gaps += 1

    def gap_filled(self, from_slot: int, to_slot: int) -> None:
        """Counts a hole that is none any more."""
        self._gaps_filled.inc()
        self.open_gaps = max(0, self.open_gaps - 1)

    def other_blockhash(self, slot: int) -> None:
        """Counts a slot that contradicts the one that is landed."""
        self._other_blocks.inc()

    def dead_letter(self, n: int) -> None:
        """Counts new dead letters."""
        self._letters.inc(n)

    def undecodable(self, reason: str) -> None:
        """Counts a dead letter under its kind."""
        self._undecodable.labels(_kind(reason)).inc()

    def drift(self, kind: str) -> None:
        """Counts a sign of protocol drift."""
        self._drift.labels(_label(kind)).inc()

    def database_away(self, seconds: float) -> None:
        """Notes that the database is away, or back."""
        self.pulse.database_away_seconds = seconds

    def _offset(self, witness: Witness) -> float:
        return _or_nan(self.skew.offset_seconds(witness))

    def _is_in(self, state: State) -> float:
        return float(self.verdict().state is state)

    def _database_away(self) -> float:
        return self.pulse.database_away_seconds

    def _data_age(self) -> float:
        return _or_nan(None if self.pulse.data_at is None else self._monotonic() - self.pulse.data_at)


# What the reasons of dead letters have in common, the first that fits.
_KINDS = (
    ("unreadable_message", re.compile(r"^not a SubscribeUpdate")),
    ("row_refused", re.compile(r"^the row cannot be stored")),
    ("decoder_error", re.compile(r"^\w+(Error|Exception): ")),
    ("unknown_event", re.compile(r"unknown discriminator")),
    ("contradiction", re.compile(r"no such event|contradict|differ")),
    ("incomplete", re.compile(r"missing|\bcut\b|truncated|neither")),
)


def _kind(reason: str) -> str:
    """The kind of a dead letter: a small set, whatever the reason quotes."""
    return next((kind for kind, pattern in _KINDS if pattern.search(reason)), "other")


def _label(text: str) -> str:
    """`text` as a label value: lower case with underscores, `other` for what is no short word."""
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s-]+", "_", text).lower()
    return word if _LABEL_VALUE.fullmatch(word) else "other"


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
