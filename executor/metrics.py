"""The executor's numbers for Prometheus: a fold over the journal's lines, and a few gauges of the moment.

Nothing on the way from a signal to an order comes here: `monitor` follows the files. Counters begin at 0 with each run
and count what the newest segment holds; a block that is left behind takes nothing back from them, but from results.
Label values come from small sets: the release's leaders and words, of each no more than so many, the rest is `other`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from copytrader_core.policy.values import TradingState

__all__ = ["ExecutorMetrics"]

_PREFIX: Final = "copytrader_executor"
_DAY_NS: Final = 86_400_000_000_000
_OTHER: Final = "other"
_WORD_CHARS: Final = 40
_WORD: Final = re.compile(rf"\w{{1,{_WORD_CHARS}}}", re.ASCII)
_NUMBER: Final = re.compile(r"0x[0-9a-f]+|\d+")
_BREAK: Final = re.compile(r"[:,]")
_MAX_WORDS: Final = 64
_MAX_LEADERS: Final = 500
_MAX_ORDERS: Final = 10_000
_SIDES: Final = ("BUY", "SELL", "MIGRATE")
_STATES: Final = ("ACTIVE", "REDUCING", "HALTED")
_DECISION_SECONDS: Final = (5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.5, 2)
_SEND_SECONDS: Final = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
_SLOTS: Final = (0, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 150)
_ALLOWED: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1)
# Gains are below 0; Prometheus keeps no sum where there is such a bucket.
_REALISED: Final = (-0.1, -0.03, -0.01, 0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5)
_ATTEMPTS: Final = (1, 2, 3, 4, 5, 8, 13)

Line = Mapping[str, Any]


class _Words:
    """Label values: the first so many words are themselves, whatever else comes is `other`."""

    def __init__(self, most: int = _MAX_WORDS) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, text: object) -> str:
        word = str(text)
        if word not in self._known:
            if len(self._known) >= self._most or not _WORD.fullmatch(word):
                return _OTHER
            self._known.add(word)
        return word


@dataclass(slots=True)
class _Order:
    """What later lines about an order need of the line that planned it. `expected` is (coins, lamports)."""

    side: str
    reason: str
    attempt: int
    expected: tuple[int, int] | None
    booked_lamports: int = 0


class ExecutorMetrics:
    """What the journal says, as metrics. Their names stand in docs/executor.md; alerts depend on them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._orders: OrderedDict[str, _Order] = OrderedDict()
        self._leaders: frozenset[str] = frozenset()
        self._day = 0
        self._codes, self._kinds, self._reasons, self._routes, self._errors, self._tripped_by = (
            _Words() for _ in range(6)
        )
        self._define_decisions()
        self._define_orders()
        self._define_money()
        self._define_live()
        ProcessCollector(registry=self.registry)

    def _define_decisions(self) -> None:
        self._lines = self._counter("journal_lines", "lines of the journal by kind", "kind")
        self._signals = self._counter("signals", "buys of leaders that were decided on", "leader")
        self._decisions = self._counter("decisions", "decisions by code: ACCEPTED, or the guard that refused", "code")
        self._latency = self._histogram(
            "decision_latency_seconds", "from the bytes of the leader's buy to the decision", _DECISION_SECONDS
        )
        self._trips = self._counter("trips", "times that the executor stopped buying by itself", "reason")
        self._rollbacks = self._counter("rollbacks", "own transactions whose block was left behind", "side")

    def _define_orders(self) -> None:
        self._intents = self._counter(
            "intents", "orders that came to an end: landed, failed, expired", "side", "outcome"
        )
        self._by_route = self._counter("route_intents", "the same by route that had sent the order", "route", "outcome")
        self._sends = self._counter("route_sends", "what routes said to orders: sent, or a code", "route", "result")
        self._send_seconds = self._histogram("route_send_seconds", "one order to one route", _SEND_SECONDS, "route")
        self._late = self._histogram("landing_slots", "slots from the decision to the landing", _SLOTS, "side")
        self._allowed = self._histogram(
            "slippage_allowed_ratio", "what an order may lose to its quote", _ALLOWED, "side"
        )
        self._realised = self._histogram(
            "slippage_realised_ratio", "what a fill lost to its quote, below 0 for a gain", _REALISED, "side"
        )
        self._failures = self._counter("failed_transactions", "landed with an error, by its code", "side", "code")
        self._attempted = self._counter("exit_attempts", "attempts to sell by reason", "reason")
        self._exits = self._counter("exits", "positions sold by reason", "reason")
        self._needed = self._histogram("exit_attempts_needed", "attempts that a sold position took", _ATTEMPTS)
        self._waits = self._counter("exit_waits", "due exits that could not be sent, by what they wait for", "waiting")

    def _define_money(self) -> None:
        self._fees = self._counter("network_fees_lamports", "network and priority fees, of failed ones too", "side")
        self._tips = self._counter("tips_lamports", "tips of landed orders", "side")
        self._swap_fees = self._counter("swap_fees_lamports", "swap fees of landed orders", "side")
        self._value = self._by_leader("expected_value_lamports", "expected value of planned buys since the start")
        self._value_today = self._by_leader("expected_value_today_lamports", "the same of the UTC day")
        self._pnl = self._by_leader("realised_pnl_lamports", "results since the start, failed transactions included")
        self._pnl_today = self._by_leader("realised_pnl_today_lamports", "the same of the UTC day")

    def _define_live(self) -> None:
        self._state = self._gauge("trading_state", "1 for the trading state in force", "state")
        self._stream_age = self._gauge("stream_age_seconds", "since the stream moved last")
        self._loop_lag = self._gauge("loop_lag_seconds", "how late the trading loop is")
        self._open = self._gauge("open_positions", "positions held")
        self._in_flight = self._gauge("orders_in_flight", "orders that may still land")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def _by_leader(self, name: str, text: str) -> Gauge:
        return self._gauge(name, text, "leader")

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"{_PREFIX}_{name}", text, labels, buckets=buckets, registry=self.registry)

    # What is told and asked.

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def set_leaders(self, leaders: Iterable[str]) -> None:
        """The leaders of the release in force: series of others end, what comes of them is under `other`."""
        kept = frozenset(sorted(leaders)[:_MAX_LEADERS])
        for metric in (self._signals, self._value, self._value_today, self._pnl, self._pnl_today):
            for leader in self._leaders - kept:
                metric.remove(leader)
        self._leaders = kept

    def set_live(
        self,
        *,
        state: TradingState,
        stream_age_s: float,
        loop_lag_s: float,
        open_positions: int,
        orders_in_flight: int = 0,
    ) -> None:
        """What the journal does not tell."""
        self._set_state(state)
        self._stream_age.set(stream_age_s)
        self._loop_lag.set(loop_lag_s)
        self._open.set(open_positions)
        self._in_flight.set(orders_in_flight)

    def begin(self, snapshot: Mapping[str, Any]) -> None:
        """A segment's snapshot: orders under way that later lines speak of. It counts nothing."""
        for intent in snapshot.get("intents", {}).values():
            self._remember(intent, {"payload": {}, "kind": ""})

    def apply(self, line: Line) -> None:
        """Takes one line. Kinds and fields that this version does not know count as lines, and no further."""
        self._lines.labels(self._kinds(line["kind"])).inc()
        self._turn_day(line.get("at_ns") or 0)
        planned = False
        for name, values in line.get("changes") or ():
            if name == "plan_intent":
                self._remember(values, line)
                planned = True
        handler = _HANDLERS.get(line["kind"])
        if handler is not None:
            handler(self, line, line.get("payload") or {})
        if planned and line["kind"] == "DECISION":
            self._expect(line)

    # One method a kind of line.

    def _decision(self, line: Line, payload: Mapping[str, Any]) -> None:
        self._signals.labels(self._leader(line)).inc()
        self._decisions.labels(self._codes(payload["decision"]["code"])).inc()
        self._latency.observe(max(0, payload.get("latency_us", 0)) / 1e6)

    def _exit(self, line: Line, payload: Mapping[str, Any]) -> None:
        self._attempted.labels(self._reasons(payload.get("reason"))).inc()

    def _fill(self, line: Line, payload: Mapping[str, Any]) -> None:
        order, side = self._end(line, payload, "landed")
        self._fees.labels(side).inc(payload.get("tx_fee_lamports", 0))
        self._tips.labels(side).inc(payload.get("tip_lamports", 0))
        self._swap_fees.labels(side).inc(payload.get("swap_fee_lamports", 0))
        self._note_slippage(side, payload, order)
        if side == "SELL":
            self._exits.labels(self._reasons(payload.get("reason"))).inc()
            self._needed.observe(payload.get("attempt") or (order.attempt if order else 1) or 1)
            self._book(line, order, payload.get("pnl_lamports", 0))

    def _reverted(self, line: Line, payload: Mapping[str, Any]) -> None:
        order, side = self._end(line, payload, "failed")
        self._failures.labels(side, self._error(payload)).inc()
        self._fees.labels(side).inc(payload.get("cost_lamports", 0))
        self._book(line, order, -payload.get("cost_lamports", 0))

    def _expired(self, line: Line, payload: Mapping[str, Any]) -> None:
        self._end(line, payload, "expired")

    def _migrated(self, line: Line, payload: Mapping[str, Any]) -> None:
        self._end(line, payload, "landed")

    def _rolled_back(self, line: Line, payload: Mapping[str, Any]) -> None:
        order = self._orders.get(line.get("intent_id") or "")
        self._rollbacks.labels(order.side if order else _OTHER).inc()
        if order is not None:
            self._book(line, order, -order.booked_lamports)

    def _waiting(self, line: Line, payload: Mapping[str, Any]) -> None:
        self._waits.labels(self._reasons(payload.get("waiting"))).inc()

    def _stated(self, line: Line, payload: Mapping[str, Any]) -> None:
        if payload.get("state") in _STATES:
            self._set_state(payload["state"])

    def _tripped(self, line: Line, payload: Mapping[str, Any]) -> None:
        self._trips.labels(self._tripped_by(_kind(payload.get("reason")))).inc()

    # What they share.

    def _end(self, line: Line, payload: Mapping[str, Any], outcome: str) -> tuple[_Order | None, str]:
        order = self._orders.get(line.get("intent_id") or "")
        told = payload.get("side") or (order.side if order else _OTHER)
        side = told if told in _SIDES else _OTHER
        self._intents.labels(side, outcome).inc()
        if payload.get("slots_late") is not None and outcome != "expired":
            self._late.labels(side).observe(max(0, payload["slots_late"]))
        for name, said in (payload.get("routes") or {}).items():
            route, result = self._routes(name), said.get("result")
            self._sends.labels(route, self._errors(result)).inc()
            if said.get("ms") is not None:
                self._send_seconds.labels(route).observe(max(0.0, said["ms"]) / 1e3)
            if result == "sent":
                self._by_route.labels(route, outcome).inc()
        return order, side

    def _remember(self, values: Mapping[str, Any], line: Line) -> None:
        document, payload = values["payload"], line["payload"]
        side, given = values["side"], document["amount_in"]
        quoted = document.get("expected_out") or _quoted(payload)
        expected = None if not quoted else (quoted, given) if side == "BUY" else (given, quoted)
        order = _Order(side, document.get("reason", ""), document.get("attempt", 0), expected)
        self._orders[values["intent_id"]] = order
        if len(self._orders) > _MAX_ORDERS:
            self._orders.popitem(last=False)
        if quoted and line["kind"]:
            self._allowed.labels(side).observe(1 - document["min_out"] / quoted)

    def _note_slippage(self, side: str, payload: Mapping[str, Any], order: _Order | None) -> None:
        told = payload.get("expected")
        expected = (told["base_raw"], told["quote_lamports"]) if told else order.expected if order else None
        real = (payload.get("base_raw", 0), payload.get("quote_lamports", 0))
        if expected is None or not all(expected) or not all(real):
            return
        price, hoped = real[1] / real[0], expected[1] / expected[0]
        self._realised.labels(side).observe(1 - (price / hoped if side == "SELL" else hoped / price))

    def _expect(self, line: Line) -> None:
        value = line["payload"]["decision"]["numbers"].get("expected_value_lamports") or 0
        for gauge in (self._value, self._value_today):
            gauge.labels(self._leader(line)).inc(value)

    def _book(self, line: Line, order: _Order | None, lamports: int) -> None:
        for gauge in (self._pnl, self._pnl_today):
            gauge.labels(self._leader(line)).inc(lamports)
        if order is not None:
            order.booked_lamports += lamports

    def _turn_day(self, at_ns: int) -> None:
        # In the journal's own time, so that a replayed market has its own days. Lines of before the clock is known
        # have none.
        if at_ns // _DAY_NS > self._day:
            self._day = at_ns // _DAY_NS
            self._value_today.clear()
            self._pnl_today.clear()

    def _set_state(self, state: TradingState) -> None:
        for name in _STATES:
            self._state.labels(name).set(float(name == state))

    def _leader(self, line: Line) -> str:
        leader = line.get("leader")
        return leader if leader in self._leaders else _OTHER

    def _error(self, payload: Mapping[str, Any]) -> str:
        code = payload.get("code")
        return self._errors(_kind(payload.get("error")) if code is None else code)


def _kind(text: object) -> str:
    """What messages of one kind have in common: their beginning, without its numbers, as one word."""
    beginning = _NUMBER.sub("n", _BREAK.split(str(text), maxsplit=1)[0]).strip()
    return beginning.replace(" ", "_")[:_WORD_CHARS]


def _quoted(payload: Mapping[str, Any]) -> int | None:
    """What a line that plans says of its quote: coins of a decision, lamports of an exit."""
    entry = (payload.get("decision") or {}).get("entry")
    quoted: int | None = entry["quoted_tokens_raw"] if entry else payload.get("quoted_lamports")
    return quoted


_Handler = Callable[[ExecutorMetrics, Line, Mapping[str, Any]], None]
_HANDLERS: Final[Mapping[str, _Handler]] = {
    "DECISION": ExecutorMetrics._decision,
    "EXIT": ExecutorMetrics._exit,
    "FILL": ExecutorMetrics._fill,
    "MIGRATED": ExecutorMetrics._migrated,
    "REVERTED": ExecutorMetrics._reverted,
    "EXPIRED": ExecutorMetrics._expired,
    "ROLLED_BACK": ExecutorMetrics._rolled_back,
    "WAIT": ExecutorMetrics._waiting,
    "RUN": ExecutorMetrics._stated,
    "STATE": ExecutorMetrics._stated,
    "TRIPPED": ExecutorMetrics._tripped,
}
