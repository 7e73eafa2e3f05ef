"""Decisions as JSON and back: what the journal keeps of one, and the same decision taken again from it.

The settings are kept once per run, not per decision: `settings_document` is their part. No I/O here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple

from copytrader_core.policy.decide import decide, is_usable, proposal_of
from copytrader_core.policy.guards import FIRST_CODES, GUARDS, Guard, Proposal, code, guards_named
from copytrader_core.policy.market import MarketState
from copytrader_core.policy.values import Book, Check, Decision, EntryPlan, ExitPlan, LeaderBuy, Lock, Now
from copytrader_core.records import CopyValue, Edge, Inflow, Pattern
from copytrader_core.settings import Settings

_GUARDS: Final = "guards"
_BY_MINT: Final = ("mint_count", "mint_exposure_lamports", "last_trade_ns", "stray_sales")
_BY_LEADER: Final = ("leader_count", "leader_exposure_lamports", "last_loss_ns")
"""What stands by coin and by leader in a `Book`."""
_getters: Final[dict[type, attrgetter[tuple[Any, ...]]]] = {}
"""By kind of record: all of its fields at once."""
_SECTIONS: Final = ("policy", "risk", "executor", "copies")


@dataclass(frozen=True, slots=True)
class JournalledDecision:
    """A decision of one day. `settings` were in force, None where they are lost; `bought` and `sold` are its last lines
    (kind, slot, payload), None where there is none.
    """

    mode: str
    leader: str
    mint: str
    leader_sig: str
    slot: int
    inputs: Mapping[str, Any]
    decision: Mapping[str, Any]
    settings: Mapping[str, Any] | None
    bought: Mapping[str, Any] | None
    sold: Mapping[str, Any] | None

    @property
    def code(self) -> str:
        """ACCEPTED, or why not."""
        return str(self.decision["code"])


def canonical(document: Mapping[str, Any]) -> str:
    """One text for one content: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def decision_document(decision: Decision) -> dict[str, Any]:
    """A decision as plain JSON values."""
    entry, plan = decision.entry, decision.exit
    return {
        "code": decision.code,
        "entry": None if entry is None else _flat(entry),
        "exit": None if plan is None else exit_plan_document(plan),
        "numbers": decision.numbers,
    }


def exit_plan_document(plan: ExitPlan) -> dict[str, Any]:
    """An exit plan as plain JSON values."""
    return _flat(plan)


def inputs_document(
    signal: LeaderBuy,
    pattern: Pattern | None,
    edges: Sequence[Edge],
    book: Book,
    now: Now,
    inflow: Inflow | None = None,
    value: CopyValue | None = None,
) -> dict[str, Any]:
    """Everything but the settings that the decision depended on; of the book's coins and leaders only the signal's."""
    signalled = _flat(signal)
    signalled["market"] = _flat(signal.market) if signal.market else None
    return {
        "signal": signalled,
        "pattern": _flat(pattern) if pattern else None,
        "edges": [_flat(edge) for edge in edges],
        "book": _seen(book, signal.leader, signal.mint),
        "now": _flat(now),
        "inflow": _flat(inflow) if inflow else None,
        "value": _flat(value) if value else None,
    }


def _seen(book: Book, leader: str, mint: str) -> dict[str, Any]:
    """A book as plain JSON values, without what other leaders and coins have in it."""
    seen = _flat(book)
    for names, key in ((_BY_MINT, mint), (_BY_LEADER, leader)):
        for name in names:
            of_all = seen[name]
            seen[name] = {key: of_all[key]} if key in of_all else {}
    seen["locks"] = [_flat(lock) for lock in book.locks if lock.concerns(leader, mint)]
    return seen


def _flat(record: Any) -> dict[str, Any]:
    """A record's fields. `asdict` copies every value that it meets, on the way between a signal and its order."""
    kind = type(record)
    getter = _getters.get(kind)
    if getter is None:
        getter = _getters[kind] = attrgetter(*kind.__slots__)
    return dict(zip(kind.__slots__, getter(record), strict=True))


def settings_document(settings: Settings) -> dict[str, Any]:
    """The sections that a decision reads, and the codes of the guards that are asked, in order. They hold no secret."""
    sections = {name: getattr(settings, name).model_dump(mode="json") for name in _SECTIONS}
    return sections | {_GUARDS: [code(guard) for guard in GUARDS]}


def replay(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Decision:
    """The decision taken again from what the journal kept of its inputs and of the run's settings.

    By the guards that were asked then, so that older journals tell the same as they did.
    """
    return _replay(inputs, settings, _guards(settings))


def checks(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Check, ...]:
    """What each guard said of a journalled decision, in the order of asking, up to the one that refused."""
    said: list[Check] = []

    def noting(guard: Guard) -> Guard:
        def ask(proposal: Proposal) -> Check:
            said.append(guard(proposal))
            return said[-1]

        return ask

    _replay(inputs, settings, [noting(guard) for guard in _guards(settings)])
    return tuple(said)


def _guards(settings: Mapping[str, Any]) -> tuple[Guard, ...]:
    return guards_named(settings.get(_GUARDS, FIRST_CODES))


def _replay(inputs: Mapping[str, Any], settings: Mapping[str, Any], guards: Sequence[Guard]) -> Decision:
    sections = {name: section for name, section in settings.items() if name != _GUARDS}
    return replay_with(inputs, Settings(**sections), guards)


def replay_with(inputs: Mapping[str, Any], settings: Settings, guards: Sequence[Guard]) -> Decision:
    """The decision on journalled inputs under other settings and guards than those of then."""
    kept = _kept(inputs)
    return decide(kept.signal, kept.pattern, kept.edges, kept.book, settings, kept.now, kept.inflow, guards, kept.value)


def refusers(inputs: Mapping[str, Any], settings: Settings, guards: Sequence[Guard] = GUARDS) -> tuple[str, ...]:
    """The codes of all that would refuse a journalled signal, each asked by itself, in the order of asking.

    What comes after the guards (NO_QUOTE, EXPECTED_VALUE) is asked as if none had refused. Without a usable
    fingerprint nothing else can be asked.
    """
    kept = _kept(inputs)
    last = decide(kept.signal, kept.pattern, kept.edges, kept.book, settings, kept.now, kept.inflow, (), kept.value)
    if kept.pattern is None or not is_usable(kept.pattern):
        return (last.code,)
    proposal = proposal_of(kept.signal, kept.pattern, kept.book, settings, kept.now, kept.value)
    codes = [check.code for check in (guard(proposal) for guard in guards) if not check.passed]
    return (*codes, *([] if last.accepted or last.code in codes else [last.code]))


class _Kept(NamedTuple):
    """The arguments of `decide` from their JSON."""

    signal: LeaderBuy
    pattern: Pattern | None
    edges: tuple[Edge, ...]
    book: Book
    now: Now
    inflow: Inflow | None
    value: CopyValue | None


def _kept(inputs: Mapping[str, Any]) -> _Kept:
    signal = dict(inputs["signal"])
    market = signal.pop("market")
    return _Kept(
        LeaderBuy(**signal, market=MarketState(**market) if market else None),
        Pattern(**inputs["pattern"]) if inputs["pattern"] else None,
        tuple(Edge(**edge) for edge in inputs["edges"]),
        _book(inputs["book"]),
        Now(**inputs["now"]),
        _inflow(inputs.get("inflow")),
        _value(inputs.get("value")),
    )


def decision_from(document: Mapping[str, Any]) -> Decision:
    """A decision from its JSON: what `replay` must equal. Plans of before there were trailing exits have none."""
    entry, plan = document["entry"], document["exit"]
    return Decision(
        document["code"],
        EntryPlan(**entry) if entry else None,
        exit_plan(plan) if plan else None,
        document["numbers"],
    )


def _book(document: Mapping[str, Any]) -> Book:
    return Book(**{**document, "locks": tuple(Lock(**lock) for lock in document.get("locks", ()))})


def _inflow(document: Mapping[str, Any] | None) -> Inflow | None:
    """A forecast from its JSON; what was journalled before there were any has none."""
    if document is None:
        return None
    curves = (tuple(document[name]) for name in ("slots", "ahead_sol", "behind_sol", "followers_ahead"))
    return Inflow(document["leader"], document["n_followers"], *curves)


def _value(document: Mapping[str, Any] | None) -> CopyValue | None:
    """A leader's copy value from its JSON; what was journalled before there were any has none."""
    return None if document is None else CopyValue(**{name: _tupled(field) for name, field in document.items()})


def _tupled(field: Any) -> Any:
    return tuple(_tupled(one) for one in field) if isinstance(field, list) else field


def exit_plan(document: Mapping[str, Any]) -> ExitPlan:
    """An exit plan from its JSON."""
    return ExitPlan(**document)
