"""One alert: what is told, and what a line of the journal is worth telling. Nothing is sent here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from copytrader_core.records import LAMPORTS_PER_SOL

__all__ = ["Alert", "Kind", "Line", "Said", "clock_of", "told_by"]

Kind = Literal["state", "executor", "stuck", "chain", "ingest", "failed", "trades", "release", "more"]
Line = Mapping[str, Any]
Said = tuple[Kind, str]
_SHORT: Final = 14
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Alert:
    """`identity` is the same for the same fact, also after a restart. A `loud` one makes a sound.

    `again`: the process ended while this one was under way, so that it may have arrived already.
    """

    identity: str
    kind: Kind
    at_ns: int
    text: str
    loud: bool
    again: bool = False

    @property
    def line(self) -> str:
        """As people read it, on one line."""
        return f"{clock_of(self.at_ns)} {self.text}" + (" (perhaps a repeat)" if self.again else "")


def told_by(line: Line, names: Mapping[str, str]) -> Said | None:
    """What a line of the journal is worth telling: kind and words; None for most, and for kinds that are not known."""
    teller = _TELLERS.get(line["kind"])
    return teller(line, line.get("payload") or {}, names) if teller is not None else None


def clock_of(at_ns: int) -> str:
    """The time of day, UTC."""
    seconds = at_ns // 1_000_000_000 % _DAY_SECONDS
    return f"{seconds // 3_600:02d}:{seconds % 3_600 // 60:02d}:{seconds % 60:02d}"


def _stated(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    flatten = ", selling everything" if payload.get("flatten") else ""
    why = f": {payload['reason']}" if payload.get("reason") else ""
    return "state", f"{payload.get('state')}{flatten}{why}"


def _tripped(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    return "state", f"The executor stopped buying by itself: {payload.get('reason')}"


def _flattened(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    return "state", "Flattened: nothing is held any more"


def _started(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    return "executor", f"The executor started: {payload.get('state')}, {payload.get('positions', 0)} open positions"


def _filled(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    coin = _short(line.get("mint"))
    if payload.get("side") == "BUY":
        return "trades", f"Bought {coin} after {_name(line, names)} for {_sol(payload.get('cost_lamports', 0))} SOL"
    pnl = payload.get("pnl_lamports")
    result = "" if pnl is None else f": {_sol(pnl, sign=True)} SOL"
    return "trades", f"Sold {coin} ({payload.get('reason')}){result}"


def _reverted(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    return "failed", f"A {_side(payload)} of {_short(line.get('mint'))} failed: {payload.get('error')}"


def _expired(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    return "failed", f"An order for {_short(line.get('mint'))} never landed: {payload.get('reason')}"


def _waiting(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    why = f" ({payload['why']})" if payload.get("why") else ""
    coin = _short(line.get("mint"))
    return "stuck", f"The exit of {coin} ({payload.get('reason')}) waits: {payload.get('waiting')}{why}"


def _rolled_back(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    return "chain", f"A transaction of ours in {_short(line.get('mint'))} was rolled back with its block"


def _quarantined(line: Line, payload: Line, names: Mapping[str, str]) -> Said | None:
    if not payload.get("amount_raw"):
        return None
    return "chain", f"The wallet holds {_short(payload.get('mint'))} that no position accounts for"


def _lost(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    return "chain", f"The wallet holds nothing of {_short(line.get('mint'))} any more: the position is closed as lost"


def _drifted(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    return "chain", f"The programs answer otherwise than expected: {payload.get('reason')}"


def _released(line: Line, payload: Line, names: Mapping[str, str]) -> Said:
    return "release", f"Following a new release as of {payload.get('as_of')}: {payload.get('patterns')} wallets"


_TELLERS: Final[Mapping[str, Callable[[Line, Line, Mapping[str, str]], Said | None]]] = {
    "STATE": _stated,
    "TRIPPED": _tripped,
    "FLATTENED": _flattened,
    "RUN": _started,
    "FILL": _filled,
    "REVERTED": _reverted,
    "EXPIRED": _expired,
    "WAIT": _waiting,
    "ROLLED_BACK": _rolled_back,
    "QUARANTINED": _quarantined,
    "LOST": _lost,
    "DRIFT": _drifted,
    "RELEASE": _released,
}


def _name(line: Line, names: Mapping[str, str]) -> str:
    leader = line.get("leader") or ""
    return names.get(leader) or _short(leader)


def _side(payload: Line) -> str:
    return {"BUY": "buy", "SELL": "sale"}.get(payload.get("side", ""), "transaction")


def _short(address: str | None) -> str:
    if not address:
        return "?"
    return address if len(address) <= _SHORT else f"{address[:5]}…{address[-4:]}"


def _sol(lamports: int, *, sign: bool = False) -> str:
    return f"{lamports / LAMPORTS_PER_SOL:{'+' if sign else ''}.4f}"
