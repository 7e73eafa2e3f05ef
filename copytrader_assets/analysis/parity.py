"""Whether the record of a day is what a replay of it gives, decision by decision, and where a difference comes from.

A decision is taken again from its journalled inputs and must be the same text. A buy that went through is executed
again on the tape, as many slots late as it really was. Causes, the first that applies: `decision` (other text),
`landing` (an order that never went through, or was refused by its own bound), `price` (other coins than the tape gives
for that slot), `latency` (the market had moved between quote and landing), `none`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from copytrader_assets.analysis.copies import exits_of, signals_of
from copytrader_core.policy.record import JournalledDecision, canonical, decision_document, decision_from, replay
from copytrader_core.policy.values import ACCEPTED
from copytrader_core.replay.clock import SlotClock
from copytrader_core.replay.copies import Jobs, simulate
from copytrader_core.replay.day import TapeDay
from copytrader_core.settings import Settings

CAUSES: Final = ("none", "latency", "price", "landing", "decision", "unknown")
_ANY_PRICE: Final = 10_000_000
_GUARDS: Final = "guards"


@dataclass(frozen=True, slots=True)
class Parity:
    """One decision beside its replay. Tokens are raw: quoted at the decision, by the tape at the landing, and got.

    Profits are lamports; the replayed one is of the same buy under the same exit, alone on its coin. None: there is
    nothing to compare.
    """

    mode: str
    leader: str
    mint: str
    sig: str
    slot: int
    code: str
    code_again: str | None
    cause: str
    slots_late: int | None
    quoted_tokens_raw: int | None
    replayed_tokens_raw: int | None
    tokens_raw: int | None
    pnl_lamports: int | None
    replayed_pnl_lamports: int | None


def parities(day: TapeDay, decisions: Sequence[JournalledDecision]) -> list[Parity]:
    """Every decision of the day, in its order."""
    signals = signals_of(day.tape, {one.leader: None for one in decisions})
    places = {(day.text(int(row))[0], day.tape.mints[day.tape.coin[row]]): at for at, row in enumerate(signals.row)}
    return [_parity(day, signals, places.get((one.leader_sig, one.mint)), one) for one in decisions]


def _parity(day: TapeDay, signals: Any, place: int | None, one: JournalledDecision) -> Parity:
    again, is_same = _again(one)
    bought = one.bought if one.bought is not None and one.bought["kind"] == "FILL" else None
    late = None if bought is None else int(bought["slot"]) - one.slot
    quoted = None if bought is None else int(bought["payload"]["expected"]["base_raw"])
    tokens = None if bought is None else int(bought["payload"]["base_raw"])
    sold = None if one.sold is None else one.sold["payload"]
    replayed, pnl = (None, None)
    if bought is not None and place is not None and one.settings is not None and late is not None:
        exit_late = 0 if sold is None else int(sold["slots_late"])
        replayed, pnl = _replayed(day, signals, place, one, bought["payload"], (late, exit_late))
    return Parity(
        mode=one.mode,
        leader=one.leader,
        mint=one.mint,
        sig=one.leader_sig,
        slot=one.slot,
        code=one.code,
        code_again=again,
        cause=_cause(one, is_same, quoted, replayed, tokens),
        slots_late=late,
        quoted_tokens_raw=quoted,
        replayed_tokens_raw=replayed,
        tokens_raw=tokens,
        pnl_lamports=None if sold is None else sold.get("pnl_lamports"),
        replayed_pnl_lamports=pnl if sold is not None else None,
    )


def _again(one: JournalledDecision) -> tuple[str | None, bool | None]:
    """The code of the decision taken again, and whether all of it is the same; None where its settings are lost."""
    if one.settings is None:
        return None, None
    decision = replay(one.inputs, one.settings)
    same = canonical(decision_document(decision)) == canonical(decision_document(decision_from(one.decision)))
    return decision.code, same


def _cause(
    one: JournalledDecision, is_same: bool | None, quoted: int | None, replayed: int | None, tokens: int | None
) -> str:
    if is_same is None:
        return "unknown"
    if not is_same:
        return "decision"
    if one.code != ACCEPTED:
        return "none"
    if tokens is None:
        return "landing" if one.bought is not None else "unknown"
    if replayed is None:
        return "unknown"
    if replayed != tokens:
        return "price"
    return "none" if quoted == tokens else "latency"


def _replayed(
    day: TapeDay,
    signals: Any,
    place: int,
    one: JournalledDecision,
    fill: Mapping[str, Any],
    late: tuple[int, int],
) -> tuple[int | None, int | None]:
    """(coins, profit) of the same buy on the tape, as late as it was, under the same exit."""
    plan = decision_from(one.decision).exit
    if plan is None:
        return None, None
    settings = Settings(**{name: part for name, part in (one.settings or {}).items() if name != _GUARDS})
    row = signals.row[place : place + 1]
    entry = np.array([one.slot + late[0] - int(day.tape.slot[row[0]])], np.int64)
    spend = np.array([int(fill["quote_lamports"])], np.int64)
    jobs = Jobs(row, spend, entry, np.array([_ANY_PRICE], np.int64), signals.leader_sale[place : place + 1])
    clock = SlotClock.of(day.slots, day.seconds)
    exits = exits_of([[plan]], np.zeros(1, np.int64), day.tape.slot[row] + entry, clock)
    found = simulate(day.tape, jobs, exits, settings, late[1])
    if found.outcome[0] != 0:
        return None, None
    return int(found.bought[0]), int(found.pnl[0, 0])
