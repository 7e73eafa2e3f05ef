"""What the report shows, read from the lake (DuckDB) and Postgres into plain values. Nothing is drawn here.

Every statement is bounded by what a page can hold; sums of money are sums of lamports.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import psycopg
from psycopg.rows import dict_row

from copytrader_assets.lake import Lake
from copytrader_assets.lake_release import settings_as_of
from copytrader_assets.query import open_lake
from copytrader_assets.value_schemas import COPY_VALUE
from copytrader_cli.report.measures import survival
from copytrader_cli.report.own_facts import OwnTrade, own_mode, own_trades
from copytrader_cli.report.proof_facts import ProofFacts, proof_facts
from copytrader_cli.report.value_facts import ValueFacts, rows_of, value_facts
from copytrader_cli.report.words import clean
from copytrader_core.settings import Settings

__all__ = ["Day", "Decisions", "Edge", "Leader", "Platform", "ReportFacts", "Trip", "collect"]

_NS_PER_MS = 1_000_000
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trip:
    """A finished round trip of a tracked wallet. `hold_ms` and `multiple` are None where the coin died in its hands."""

    closed_ns: int
    opened_ns: int
    hold_ms: int | None
    multiple: float | None
    pnl_lamports: int
    cost_lamports: int


@dataclass(frozen=True, slots=True)
class Leader:
    """One tracked wallet: its fingerprint row, the trips behind it, and its hold curve."""

    wallet: str
    name: str
    pattern: Row
    trips: Sequence[Trip]
    holds: Sequence[tuple[int, float]]

    @property
    def weight(self) -> float:
        """How much its numbers can be trusted by their count alone, 0.35 to 1: what plots are faded by."""
        return min(1.0, 0.35 + float(self.pattern["sample_trades"]) / 40)


@dataclass(frozen=True, slots=True)
class Edge:
    """A validated edge. Probabilities are shares of the leader's buys, lags in ms."""

    leader: str
    follower: str
    leader_name: str
    follower_name: str
    probability: float
    probability_30s: float
    baseline: float
    lag_p50_ms: int
    lag_p90_ms: int
    n_followed: int
    n_leader_buys: int
    q_value: float | None


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the lake."""

    day: dt.date
    events: int
    trips: int


@dataclass(frozen=True, slots=True)
class Decisions:
    """How often each code was the answer to a leader's buy."""

    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All decisions."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Platform:
    """What Postgres knows of the platform itself."""

    tracked: int
    release: Row | None
    trading_state: str
    gaps: Sequence[Row]
    dead_letters: int


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """Everything on the page. `as_of` is the newest day with fingerprints, `mode` that of our own trades."""

    as_of: dt.date | None
    days: Sequence[Day]
    n_wallets: int
    n_coins: int
    leaders: Sequence[Leader]
    edges: Sequence[Edge]
    mode: str
    own: Sequence[OwnTrade]
    reverted_lamports: int
    decisions: Decisions
    platform: Platform
    names: Mapping[str, str]
    value: ValueFacts = field(default_factory=ValueFacts)
    proof: ProofFacts = field(default_factory=ProofFacts)

    @property
    def n_events(self) -> int:
        """Events in the lake."""
        return sum(day.events for day in self.days)

    @property
    def own_pnl_lamports(self) -> int:
        """What our closed positions and reverted transactions brought together."""
        return sum(trade.pnl_lamports or 0 for trade in self.own) - self.reverted_lamports

    def name(self, wallet: str) -> str:
        """A wallet's name, or its address in short."""
        return self.names.get(wallet) or short(wallet)


def short(address: str) -> str:
    """An address as one says it: first and last characters."""
    return f"{address[:4]}…{address[-4:]}" if len(address) > 10 else address


def collect(lake: Lake, connection: psycopg.Connection[Any], config: Settings) -> ReportFacts:
    """Reads everything. An empty lake or database gives empty lists, no error."""
    postgres = _Postgres(connection)
    mode = own_mode(connection)
    names = {
        row["wallet"]: clean(row["alias"])
        for row in postgres.rows("SELECT wallet, alias FROM wallets WHERE alias IS NOT NULL")
    }
    valued = max(lake.days(COPY_VALUE.name), default=None)
    copies = config.copies if valued is None else settings_as_of(lake, valued, config).copies
    with open_lake(lake) as duck:
        as_of = _value(duck, "SELECT max(day) FROM wallet_patterns")
        return ReportFacts(
            as_of=as_of,
            days=_days(duck),
            n_wallets=_value(duck, "SELECT count(DISTINCT wallet) FROM events"),
            n_coins=_value(duck, "SELECT count(DISTINCT mint) FROM events"),
            leaders=_leaders(duck, as_of, names),
            edges=_edges(duck, as_of, names),
            mode=mode,
            own=own_trades(connection, duck, mode),
            reverted_lamports=_reverted(postgres, mode),
            decisions=Decisions({row["code"]: row["n"] for row in postgres.rows(_DECISIONS, mode=mode)}),
            platform=_platform(postgres),
            names=names,
            value=value_facts(duck, copies),
            proof=proof_facts(duck, mode),
        )


class _Postgres:
    """Reads rows as dictionaries in one transaction: the page shows one moment."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._cursor = connection.cursor(row_factory=dict_row)

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        return self._cursor.execute(query.encode(), values or None).fetchall()


_DECISIONS = """
SELECT payload #>> '{decision,code}' AS code, count(*) AS n FROM exec_journal
WHERE mode = %(mode)s AND kind = 'DECISION' GROUP BY 1 ORDER BY 2 DESC, 1
"""
_TRIPS = """
SELECT wallet, day, open_ts_ns, close_ts_ns, hold_ms, pnl_x, pnl_lamports, open_cost_lamports, status
FROM trades
WHERE basis = 'COMPLETE' AND pnl_lamports IS NOT NULL AND day > $as_of - 30 AND day <= $as_of
  AND wallet IN (SELECT wallet FROM wallet_patterns WHERE day = $as_of)
ORDER BY coalesce(close_ts_ns, open_ts_ns), open_sig
"""
_HELD = """
SELECT wallet, open_ts_ns FROM open_positions
WHERE day = $as_of AND basis = 'COMPLETE' AND wallet IN (SELECT wallet FROM wallet_patterns WHERE day = $as_of)
"""


def _value(duck: duckdb.DuckDBPyConnection, query: str) -> Any:
    row = duck.execute(query).fetchone()
    return row[0] if row else None


def _days(duck: duckdb.DuckDBPyConnection) -> list[Day]:
    events = {row["day"]: row["n"] for row in rows_of(duck, "SELECT day, count(*) AS n FROM events GROUP BY day")}
    trips = {row["day"]: row["n"] for row in rows_of(duck, "SELECT day, count(*) AS n FROM trades GROUP BY day")}
    return [Day(day, events.get(day, 0), trips.get(day, 0)) for day in sorted({*events, *trips})]


def _leaders(duck: duckdb.DuckDBPyConnection, as_of: dt.date | None, names: Mapping[str, str]) -> list[Leader]:
    if as_of is None:
        return []
    patterns = rows_of(duck, "SELECT * FROM wallet_patterns WHERE day = $as_of", as_of=as_of)
    trips, curves = _trips(duck, as_of)
    leaders = [
        Leader(
            wallet=row["wallet"],
            name=clean(row["alias"] or "") or names.get(row["wallet"]) or short(row["wallet"]),
            pattern=row,
            trips=trips[row["wallet"]],
            holds=survival(*curves[row["wallet"]]),
        )
        for row in patterns
    ]
    return sorted(
        leaders, key=lambda leader: (-_number(leader.pattern["leader_score"]), -_number(leader.pattern["pnl_sol"]))
    )


def _trips(
    duck: duckdb.DuckDBPyConnection, as_of: dt.date
) -> tuple[defaultdict[str, list[Trip]], defaultdict[str, tuple[list[int], list[bool]]]]:
    """Finished trips by wallet, and by wallet how long each coin was held and whether that had ended."""
    trips: defaultdict[str, list[Trip]] = defaultdict(list)
    curves: defaultdict[str, tuple[list[int], list[bool]]] = defaultdict(lambda: ([], []))
    for row in rows_of(duck, _TRIPS, as_of=as_of):
        ended = row["hold_ms"] is not None
        closed_ns = row["close_ts_ns"] or _end_of(row["day"])
        trips[row["wallet"]].append(
            Trip(
                closed_ns=closed_ns,
                opened_ns=row["open_ts_ns"],
                hold_ms=row["hold_ms"],
                multiple=row["pnl_x"] if ended else None,
                pnl_lamports=int(row["pnl_lamports"]),
                cost_lamports=int(row["open_cost_lamports"]),
            )
        )
        ages, flags = curves[row["wallet"]]
        ages.append(row["hold_ms"] if ended else (closed_ns - row["open_ts_ns"]) // _NS_PER_MS)
        flags.append(ended)
    for row in rows_of(duck, _HELD, as_of=as_of):
        ages, flags = curves[row["wallet"]]
        ages.append((_end_of(as_of) - row["open_ts_ns"]) // _NS_PER_MS)
        flags.append(False)
    return trips, curves


def _end_of(day: dt.date) -> int:
    midnight = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)
    return int(midnight.timestamp()) * 1_000_000_000


def _edges(duck: duckdb.DuckDBPyConnection, as_of: dt.date | None, names: Mapping[str, str]) -> list[Edge]:
    rows = rows_of(duck, "SELECT * FROM follow_edges WHERE day = $as_of", as_of=as_of) if as_of else []
    edges = [
        Edge(
            leader=row["leader"],
            follower=row["follower"],
            leader_name=clean(row["leader_alias"] or "") or names.get(row["leader"]) or short(row["leader"]),
            follower_name=clean(row["follower_alias"] or "") or names.get(row["follower"]) or short(row["follower"]),
            probability=_number(row["follow_prob_5s"]),
            probability_30s=_number(row["follow_prob_30s"]),
            baseline=_number(row["baseline_prob"]),
            lag_p50_ms=int(_number(row["lag_ms_p50"])),
            lag_p90_ms=int(_number(row["lag_ms_p90"])),
            n_followed=int(_number(row["n_followed"])),
            n_leader_buys=int(_number(row["n_leader_buys"])),
            q_value=row["q_value"],
        )
        for row in rows
    ]
    return sorted(edges, key=lambda edge: (-edge.probability_30s, edge.leader_name, edge.follower_name))


def _number(value: Any) -> float:
    return 0.0 if value is None else float(value)


def _reverted(postgres: _Postgres, mode: str) -> int:
    """What transactions that landed with an error cost."""
    rows = postgres.rows(
        "SELECT coalesce(sum((payload ->> 'cost_lamports')::bigint), 0)::bigint AS lamports "
        "FROM exec_intents WHERE mode = %(mode)s AND state = 'LANDED_ERR'",
        mode=mode,
    )
    return int(rows[0]["lamports"])


def _platform(postgres: _Postgres) -> Platform:
    release = postgres.rows("SELECT releases.* FROM release_current JOIN releases USING (release_id)")
    state = postgres.rows("SELECT state FROM exec_state")
    return Platform(
        tracked=postgres.rows("SELECT count(*) AS n FROM wallets WHERE is_tracked")[0]["n"],
        release=release[0] if release else None,
        trading_state=state[0]["state"] if state else "HALTED",
        gaps=postgres.rows("SELECT from_slot, to_slot, reason, filled_at FROM ingest_gaps ORDER BY from_slot DESC"),
        dead_letters=postgres.rows("SELECT count(*) AS n FROM ingest_dead_letters")[0]["n"],
    )
