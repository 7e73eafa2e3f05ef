"""Who buys after whom: validated (leader, follower) edges, as of the end of a day, and everything that rests on them.

Pure: reduced days in, Arrow out. In order: the window's first buys, wallets of one actor merged, edges found, their
scores, their validation on the window's two halves, the inflow that they promise. The methods live in `seed_network`
and `conditional_network`; this module only puts the steps together and writes rows. The formulas: docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import ints
from copytrader_assets.analysis.conditional_network import conditional_edges
from copytrader_assets.analysis.day_buys import reduced
from copytrader_assets.analysis.entities import entity_rows, find_entities, owners
from copytrader_assets.analysis.first_buys import DaySource, FirstBuys, Held
from copytrader_assets.analysis.found_edges import FoundEdges
from copytrader_assets.analysis.grouped import Floats, Ints
from copytrader_assets.analysis.inflow import calibration_rows, inflow_rows
from copytrader_assets.analysis.pair_counts import count_pairs
from copytrader_assets.analysis.payers import LINK_COLUMNS, LINK_SCHEMA, day_links
from copytrader_assets.analysis.scores import scores
from copytrader_assets.analysis.seed_network import seed_edges
from copytrader_assets.analysis.split_half import validation_rows
from copytrader_assets.analysis.window import Window
from copytrader_core.settings import NetworkSettings

EDGE_SCHEMA = pa.schema(
    [
        pa.field("leader", pa.string(), nullable=False),
        pa.field("follower", pa.string(), nullable=False),
        ("leader_alias", pa.string()),
        ("follower_alias", pa.string()),
        ("lag_ms_p50", pa.int64()),
        ("lag_ms_p90", pa.int64()),
        ("follow_prob", pa.float64()),
        ("follow_prob_2s", pa.float64()),
        ("follow_prob_5s", pa.float64()),
        ("follow_prob_10s", pa.float64()),
        ("follow_prob_30s", pa.float64()),
        ("baseline_prob", pa.float64()),
        ("chance_prob_30s", pa.float64()),
        ("excess", pa.float64()),
        ("excess_lo", pa.float64()),
        ("excess_hi", pa.float64()),
        ("n_leader_buys", pa.int64()),
        ("n_followed", pa.int64()),
        ("p_value", pa.float64()),
        ("q_value", pa.float64()),
        ("avg_follower_size_sol", pa.float64()),
        pa.field("as_of", pa.date32(), nullable=False),
    ]
)
"""The columns of `follow_edges` without the release's."""

_METHODS = {"seed": seed_edges, "conditional": conditional_edges}
_INTERVAL = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Network:
    """One day's tables: edges, scores of the tracked wallets, entities, validation, inflow and its calibration."""

    edges: pa.Table
    scores: pa.Table
    entities: pa.Table
    validation: pa.Table
    inflow: pa.Table
    calibration: pa.Table


@dataclass(frozen=True, slots=True)
class _Actors:
    """The merged first buys; each tracked wallet's code; and the name of every code, tracked wallets first."""

    buys: FirstBuys
    tracked: dict[str, int]

    def codes(self) -> Ints:
        """The leaders' codes, ascending."""
        return np.unique(np.array(list(self.tracked.values()), dtype=np.int64))

    def wallets_of(self) -> dict[int, list[str]]:
        """The tracked wallets behind each code."""
        found: dict[int, list[str]] = {}
        for name, code in self.tracked.items():
            found.setdefault(code, []).append(name)
        return found

    def label(self, codes: Ints) -> dict[int, str]:
        """A name for each code: its own wallet where that is tracked or nobody of it is, else its first tracked one."""
        mine, own = self.wallets_of(), self.buys.wallets.take(pa.array(codes)).to_pylist()
        named = zip(codes.tolist(), own, strict=True)
        return {code: name if name in mine.get(code, [name]) else mine[code][0] for code, name in named}


def copy_network(
    days: Sequence[DaySource],
    links: pa.Table,
    *,
    leaders: Mapping[str, str | None],
    as_of: date,
    settings: NetworkSettings,
    slot_ms: float,
) -> Network:
    """Everything about the followers of `leaders` (address to alias) from the reduced days of the window, in order.

    `links` (LINK_SCHEMA) over the same days tell which wallets have one owner; `slot_ms`: the measured slot duration.
    """
    horizon = int(settings.horizon_seconds * 1000 / slot_ms)
    actors, entities = _merged(days, links, leaders, as_of, horizon, slot_ms)
    found = _METHODS[settings.method](actors.buys, actors.codes(), settings, slot_ms)
    return Network(
        edges=_rows(actors, found, leaders, as_of),
        scores=scores(found, actors.tracked),
        entities=entities,
        inflow=inflow_rows(
            actors.buys, found.counts.leader, found.counts.follower, horizon, actors.wallets_of(), as_of
        ),
        **_validated(actors, settings, slot_ms, horizon, as_of),
    )


def follow_edges(
    buys: pa.Table,
    *,
    leaders: Mapping[str, str | None],
    as_of: date,
    settings: NetworkSettings,
    slot_ms: float,
) -> tuple[pa.Table, pa.Table]:
    """The same from events that are in memory: edges (EDGE_SCHEMA) and scores (SCORE_SCHEMA) only.

    `buys`: the BUY rows of every wallet (BUY_COLUMNS, and fee_payer where known); what lies outside the window that
    ends with `as_of` is left out.
    """
    window = Window.ending(as_of, settings.window_days)
    at = ints(buys, "ts_ns")
    inside = buys.filter(pa.array((at >= window.start_ns) & (at < window.end_ns)))
    links = day_links(inside) if set(LINK_COLUMNS) <= set(inside.column_names) else LINK_SCHEMA.empty_table()
    network = copy_network(
        [Held(reduced(inside))], links, leaders=leaders, as_of=as_of, settings=settings, slot_ms=slot_ms
    )
    return network.edges, network.scores


def _merged(
    days: Sequence[DaySource],
    links: pa.Table,
    leaders: Mapping[str, str | None],
    as_of: date,
    horizon: int,
    slot_ms: float,
) -> tuple[_Actors, pa.Table]:
    """The window's actors and the rows of `entities`. The unmerged first buys end here: two copies would not fit."""
    first = FirstBuys.of_days(days)
    evidence = find_entities(first, links, horizon, slot_ms, first.base_slot)
    owner, head = owners(first, evidence)
    codes = {name: int(owner[code]) for name, code in _codes(first, leaders).items()}
    return _Actors(first.into_merged(owner), codes), entity_rows(evidence, head, as_of)


def _codes(buys: FirstBuys, leaders: Mapping[str, str | None]) -> dict[str, int]:
    """The code of each of `leaders` that bought anything, by name in order."""
    codes = buys.codes_of(leaders)
    return dict(sorted(zip(buys.wallets.take(pa.array(codes)).to_pylist(), codes.tolist(), strict=True)))


def _validated(
    actors: _Actors, settings: NetworkSettings, slot_ms: float, horizon: int, as_of: date
) -> dict[str, pa.Table]:
    """What the window's first half finds and promises, held against its second half."""
    buys, middle = actors.buys, actors.buys.n_slots // 2
    half = buys.select(buys.slot < middle)
    found = _METHODS[settings.method](half, actors.codes(), settings, slot_ms)
    leader, follower = found.counts.leader, found.counts.follower
    after = count_pairs(buys, leader, follower, slot_ms, since_slot=middle)
    label = actors.label(np.unique(np.concatenate([leader, follower])))
    return {
        "validation": validation_rows(found, after, label, as_of),
        "calibration": calibration_rows(half, buys, leader, follower, horizon, middle, as_of),
    }


def _rows(actors: _Actors, edges: FoundEdges, leaders: Mapping[str, str | None], as_of: date) -> pa.Table:
    """The edges as rows of EDGE_SCHEMA."""
    counts = edges.counts
    label = actors.label(np.unique(np.concatenate([counts.leader, counts.follower])))
    leader, follower = ([label[code] for code in codes.tolist()] for codes in (counts.leader, counts.follower))
    probability = {f"follow_prob_{seconds}s": counts.probability(seconds) for seconds in counts.followed}
    columns = probability | {
        "leader": leader,
        "follower": follower,
        "leader_alias": [leaders.get(name) for name in leader],
        "follower_alias": [leaders.get(name) for name in follower],
        "lag_ms_p50": _whole(counts.lag_p50_ms()),
        "lag_ms_p90": _whole(counts.lag_p90_ms),
        "follow_prob": counts.probability(5) - edges.baseline_5s,
        "baseline_prob": edges.baseline_5s,
        "chance_prob_30s": edges.baseline_30s,
        "excess": edges.excess,
        "excess_lo": edges.excess_quantile(_INTERVAL[0]),
        "excess_hi": edges.excess_quantile(_INTERVAL[1]),
        "n_leader_buys": counts.opportunities,
        "n_followed": counts.followed[30],
        "p_value": edges.p_value,
        "q_value": edges.q_value,
        "avg_follower_size_sol": pa.array(counts.size_sol, from_pandas=True),
        "as_of": pa.array([as_of] * len(leader), pa.date32()),
    }
    table = pa.table([columns[field.name] for field in EDGE_SCHEMA], schema=EDGE_SCHEMA)
    return table.sort_by([("leader", "ascending"), ("follower", "ascending")])


def _whole(values: Floats) -> pa.Array:
    """Milliseconds as whole numbers, rounded half to even; NaN as NULL."""
    return pc.cast(pa.array(np.rint(values), from_pandas=True), pa.int64())
