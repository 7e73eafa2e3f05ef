"""Decisions as JSON and back: what the journal keeps of one, and the same decision taken again from it.

The settings are kept once per run, not per decision: `settings_document` is their part. No I/O here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from copytrader_core.policy.decide import decide
from copytrader_core.policy.market import MarketState
from copytrader_core.policy.values import Book, Decision, ExitPlan, LeaderBuy, Now
from copytrader_core.records import Edge, Inflow, Pattern
from copytrader_core.settings import Settings


def canonical(document: Mapping[str, Any]) -> str:
    """One text for one content: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def decision_document(decision: Decision) -> dict[str, Any]:
    """A decision as plain JSON values."""
    return asdict(decision)


def inputs_document(
    signal: LeaderBuy,
    pattern: Pattern | None,
    edges: Sequence[Edge],
    book: Book,
    now: Now,
    inflow: Inflow | None = None,
) -> dict[str, Any]:
    """Everything but the settings that the decision depended on; of the book's coins only the signal's."""
    seen = asdict(book) | {"mint_count": {signal.mint: book.of_mint(signal.mint)}}
    return {
        "signal": asdict(signal),
        "pattern": asdict(pattern) if pattern else None,
        "edges": [asdict(edge) for edge in edges],
        "book": seen,
        "now": asdict(now),
        "inflow": asdict(inflow) if inflow else None,
    }


def settings_document(settings: Settings) -> dict[str, Any]:
    """The sections that a decision reads. They hold no secret."""
    return {name: getattr(settings, name).model_dump(mode="json") for name in ("policy", "risk", "executor")}


def replay(inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> Decision:
    """The decision taken again from what the journal kept of its inputs and of the run's settings."""
    signal = dict(inputs["signal"])
    market = signal.pop("market")
    return decide(
        LeaderBuy(**signal, market=MarketState(**market) if market else None),
        Pattern(**inputs["pattern"]) if inputs["pattern"] else None,
        tuple(Edge(**edge) for edge in inputs["edges"]),
        Book(**inputs["book"]),
        Settings(**settings),
        Now(**inputs["now"]),
        _inflow(inputs.get("inflow")),
    )


def _inflow(document: Mapping[str, Any] | None) -> Inflow | None:
    """A forecast from its JSON; what was journalled before there were any has none."""
    if document is None:
        return None
    curves = (tuple(document[name]) for name in ("slots", "ahead_sol", "behind_sol", "followers_ahead"))
    return Inflow(document["leader"], document["n_followers"], *curves)


def exit_plan(document: Mapping[str, Any]) -> ExitPlan:
    """An exit plan from its JSON."""
    return ExitPlan(**document)
