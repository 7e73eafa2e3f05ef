"""Who buys after whom: validated (leader, follower) edges and the scores of the leaders, as of the end of a day.

Pure: Arrow in, Arrow out. The methods live in `seed_network` and `conditional_network`; this module cuts the window,
chooses, and writes rows. The formulas are in docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import ints
from copytrader_assets.analysis.conditional_network import conditional_edges
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.found_edges import FoundEdges
from copytrader_assets.analysis.grouped import Floats
from copytrader_assets.analysis.scores import scores
from copytrader_assets.analysis.seed_network import seed_edges
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
        ("n_leader_buys", pa.int64()),
        ("n_followed", pa.int64()),
        ("q_value", pa.float64()),
        ("avg_follower_size_sol", pa.float64()),
        pa.field("as_of", pa.date32(), nullable=False),
    ]
)
"""The columns of `follow_edges` without the release's."""

_METHODS = {"seed": seed_edges, "conditional": conditional_edges}


def follow_edges(
    buys: pa.Table,
    *,
    leaders: Mapping[str, str | None],
    as_of: date,
    settings: NetworkSettings,
    slot_ms: float,
) -> tuple[pa.Table, pa.Table]:
    """The validated edges of `leaders` (address to alias) and the scores of those of them that bought anything.

    `buys`: the BUY rows of every wallet (slot, tx_index, outer_ix, inner_ix, event_seq, ts_ns, wallet, mint,
    quote_mint, quote_raw); what lies outside the window that ends with `as_of` is left out. `slot_ms`: the measured
    slot duration.
    Returns (EDGE_SCHEMA by leader and follower, SCORE_SCHEMA by wallet).
    """
    window = Window.ending(as_of, settings.window_days)
    at = ints(buys, "ts_ns")
    first = FirstBuys.of(buys.filter(pa.array((at >= window.start_ns) & (at < window.end_ns))))
    codes = first.codes_of(leaders)
    found = _METHODS[settings.method](first, codes, settings, slot_ms)
    return _rows(first, found, leaders, as_of), scores(first, found, codes)


def _rows(buys: FirstBuys, edges: FoundEdges, leaders: Mapping[str, str | None], as_of: date) -> pa.Table:
    """The edges as rows of EDGE_SCHEMA."""
    counts = edges.counts
    leader, follower = (buys.wallets.take(pa.array(codes)) for codes in (counts.leader, counts.follower))
    probability = {f"follow_prob_{seconds}s": counts.probability(seconds) for seconds in counts.followed}
    columns = probability | {
        "leader": leader,
        "follower": follower,
        "leader_alias": _aliases(leader, leaders),
        "follower_alias": _aliases(follower, leaders),
        "lag_ms_p50": _whole(counts.lag_p50_ms),
        "lag_ms_p90": _whole(counts.lag_p90_ms),
        "follow_prob": counts.probability(5) - edges.baseline_5s,
        "baseline_prob": edges.baseline_5s,
        "n_leader_buys": counts.opportunities,
        "n_followed": counts.followed[30],
        "q_value": edges.q_value,
        "avg_follower_size_sol": pa.array(counts.size_sol, from_pandas=True),
        "as_of": pa.array([as_of] * len(leader), pa.date32()),
    }
    table = pa.table([columns[field.name] for field in EDGE_SCHEMA], schema=EDGE_SCHEMA)
    return table.sort_by([("leader", "ascending"), ("follower", "ascending")])


def _aliases(wallets: pa.Array, aliases: Mapping[str, str | None]) -> pa.Array:
    """The tracked name of each wallet, NULL where it has none."""
    return pa.array([aliases.get(name) for name in wallets.to_pylist()], pa.string())


def _whole(values: Floats) -> pa.Array:
    """Milliseconds as whole numbers, rounded half to even; NaN as NULL."""
    return pc.cast(pa.array(np.rint(values), from_pandas=True), pa.int64())
