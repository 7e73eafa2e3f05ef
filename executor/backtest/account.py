"""What a backtest adds up to: decisions by code, round trips, equity. It reads the journal's lines as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from copytrader_core.policy.values import ACCEPTED

Line = Mapping[str, Any]
_ENDS: Final = ("REVERTED", "EXPIRED")


@dataclass(slots=True)
class RoundTrip:
    """A position from its buy to its sale; what is open has no end. Lamports, every cost in."""

    leader: str
    mint: str
    leader_sig: str
    open_ts_ns: int
    open_slot: int
    cost_lamports: int
    expected_tokens: int
    tokens: int
    slots_late: int
    close_ts_ns: int | None = None
    close_slot: int | None = None
    pnl_lamports: int | None = None
    reason: str | None = None
    exit_slots_late: int | None = None
    expected_lamports: int | None = None
    proceeds_lamports: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A signal that was not bought, with the inputs of its decision."""

    leader: str
    mint: str
    leader_sig: str
    code: str
    inputs: Mapping[str, Any]


@dataclass(slots=True)
class Account:
    """Takes lines; `keep_refusals` keeps what a shadow book follows."""

    keep_refusals: bool = True
    decisions: Counter[str] = field(default_factory=Counter)
    trips: list[RoundTrip] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    """Orders that did not go through, by side and how."""
    equity: list[tuple[int, int]] = field(default_factory=list)
    """(time in ns, realised lamports since the beginning) after every result."""
    _open: dict[tuple[str, str], RoundTrip] = field(default_factory=dict)

    def hear(self, line: Line) -> None:
        """Takes a line of the journal."""
        kind, payload = line["kind"], line["payload"]
        if kind == "DECISION":
            self._decided(line, payload)
        elif kind == "FILL":
            (self._bought if payload["side"] == "BUY" else self._sold)(line, payload)
        elif kind in _ENDS:
            side = payload.get("side") or ""
            self.lost[f"{side} {kind}".strip()] += 1
            self._result(line["at_ns"], -payload.get("cost_lamports", 0))

    @property
    def pnl_lamports(self) -> int:
        """Realised so far."""
        return self.equity[-1][1] if self.equity else 0

    @property
    def max_drawdown_lamports(self) -> int:
        """The deepest fall of realised equity below its highest value before."""
        top = deepest = 0
        for _, value in self.equity:
            top = max(top, value)
            deepest = max(deepest, top - value)
        return deepest

    def _decided(self, line: Line, payload: Mapping[str, Any]) -> None:
        code = payload["decision"]["code"]
        self.decisions[code] += 1
        if code != ACCEPTED and self.keep_refusals:
            self.refusals.append(Refusal(line["leader"], line["mint"], line["leader_sig"], code, payload["inputs"]))

    def _bought(self, line: Line, payload: Mapping[str, Any]) -> None:
        trip = RoundTrip(
            leader=line["leader"],
            mint=line["mint"],
            leader_sig=line["leader_sig"],
            open_ts_ns=line["at_ns"],
            open_slot=line["slot"],
            cost_lamports=payload["cost_lamports"],
            expected_tokens=payload["expected"]["base_raw"],
            tokens=payload["base_raw"],
            slots_late=payload["slots_late"],
        )
        self.trips.append(trip)
        self._open[line["leader_sig"], line["mint"]] = trip

    def _sold(self, line: Line, payload: Mapping[str, Any]) -> None:
        trip = self._open.pop((line["leader_sig"], line["mint"]))
        trip.close_ts_ns, trip.close_slot = line["at_ns"], line["slot"]
        trip.pnl_lamports, trip.reason = payload["pnl_lamports"], payload["reason"]
        trip.exit_slots_late = payload["slots_late"]
        trip.expected_lamports = payload["expected"]["quote_lamports"]
        trip.proceeds_lamports = payload["quote_lamports"]
        self._result(line["at_ns"], payload["pnl_lamports"])

    def _result(self, at_ns: int, lamports: int) -> None:
        self.equity.append((at_ns, self.pnl_lamports + lamports))
