"""The backtest that the report shows: the document that `copytrader backtest` keeps, or a walk over the last days."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from copytrader_assets.lake import Lake
from copytrader_assets.query import open_lake
from copytrader_assets.schemas import TAPE
from copytrader_cli.backtest import KEPT, walk_forward
from copytrader_cli.report.own_facts import wallet_returns
from copytrader_core.errors import DataError
from copytrader_core.settings import Settings

__all__ = ["MOST_DAYS", "LeaderResult", "Walked", "by_leader", "walked"]

MOST_DAYS: Final = 7
_NEEDED: Final = ("from", "to", "days", "equity", "baselines", "guards", "round_trips", "decisions")


@dataclass(frozen=True, slots=True)
class Walked:
    """A backtest's document, and whether the report walked itself.

    `stake_x`: the leaders' own returns on the same buys, by leader, coin and signature.
    """

    document: Mapping[str, Any]
    by_report: bool
    stake_x: Mapping[tuple[str, str, str], float]


@dataclass(frozen=True, slots=True)
class LeaderResult:
    """What copies of one leader brought, and its own trips at our stakes; None where no such trip is known."""

    leader: str
    alias: str | None
    n_closed: int
    n_open: int
    pnl_lamports: int
    wallet_lamports: int | None
    n_compared: int


def walked(home: Path, lake: Lake, settings: Settings, *, walk: bool = True) -> Walked | None:
    """The kept document, or a walk over the last days with a tape; None where there is neither.

    Raises DataError for a kept document that is none.
    """
    kept = home / KEPT
    if kept.exists():
        document, by_report = _read(kept), False
    elif walk and (days := _last_days(lake)):
        document, by_report = json.loads(walk_forward(lake, days, settings).text()), True
    else:
        return None
    return Walked(document, by_report, _own_returns(lake, document))


def _read(kept: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(kept.read_text(encoding="utf-8"))
    except ValueError:
        document = None
    if not isinstance(document, dict) or any(name not in document for name in _NEEDED):
        raise DataError(f"{kept} is no backtest: run `copytrader backtest --from DAY --to DAY` again, or remove it")
    return document


def _last_days(lake: Lake) -> list[dt.date]:
    return sorted(lake.days(TAPE.name))[-MOST_DAYS:]


def _own_returns(lake: Lake, document: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    with open_lake(lake) as duck:
        return wallet_returns(duck, [trip["leader_sig"] for trip in document["round_trips"]])


def by_leader(found: Walked) -> list[LeaderResult]:
    """One row a leader, the best result first."""
    trips: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for trip in found.document["round_trips"]:
        trips[trip["leader"]].append(trip)
    return sorted((_result(leader, mine, found.stake_x) for leader, mine in trips.items()), key=_best_first)


def _best_first(result: LeaderResult) -> tuple[int, str]:
    return -result.pnl_lamports, result.leader


def _result(
    leader: str, trips: Sequence[Mapping[str, Any]], stake_x: Mapping[tuple[str, str, str], float]
) -> LeaderResult:
    closed = [trip for trip in trips if trip["pnl_lamports"] is not None]
    known = [
        stake_x[key] * trip["cost_lamports"]
        for trip in closed
        if (key := (leader, trip["mint"], trip["leader_sig"])) in stake_x
    ]
    return LeaderResult(
        leader=leader,
        alias=trips[0].get("alias"),
        n_closed=len(closed),
        n_open=len(trips) - len(closed),
        pnl_lamports=sum(trip["pnl_lamports"] for trip in closed),
        wallet_lamports=round(sum(known)) if known else None,
        n_compared=len(known),
    )
