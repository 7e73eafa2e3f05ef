"""Do the edges last, and do they predict? Found on the first half of the window, held against the second.

Nothing of the second half reaches the finding: its opportunities, follows and SOL are what the first half's edges would
have predicted (share followed x opportunities, times the mean size). Sources: Challet et al. 2018 (persistence and
out-of-sample order flow as the test of a lead-lag network). Not here: the forecast by slots (`inflow`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from copytrader_assets.analysis.chance import binomial_tail
from copytrader_assets.analysis.found_edges import FoundEdges
from copytrader_assets.analysis.grouped import Floats
from copytrader_assets.analysis.pair_counts import PairCounts

MIN_OPPORTUNITIES = 5
"""Below this many the second half says nothing about an edge."""
MAX_P = 0.05
VALIDATION_SCHEMA = pa.schema(
    [
        pa.field("leader", pa.string(), nullable=False),
        pa.field("follower", pa.string(), nullable=False),
        pa.field("n_first_half", pa.int64(), nullable=False),
        pa.field("prob_first_half", pa.float64(), nullable=False),
        pa.field("n_second_half", pa.int64(), nullable=False),
        ("prob_second_half", pa.float64()),
        pa.field("chance_prob", pa.float64(), nullable=False),
        ("persisted", pa.bool_()),
        pa.field("predicted_follows", pa.float64(), nullable=False),
        pa.field("realised_follows", pa.int64(), nullable=False),
        pa.field("predicted_sol", pa.float64(), nullable=False),
        pa.field("realised_sol", pa.float64(), nullable=False),
        pa.field("as_of", pa.date32(), nullable=False),
    ]
)
"""One row for each edge of the first half. `persisted` is NULL where the second half had too few opportunities."""


def validation_rows(found: FoundEdges, after: PairCounts, label: Mapping[int, str], as_of: date) -> pa.Table:
    """`found` on the first half, `after` what the same pairs did in the second, as VALIDATION_SCHEMA."""
    before, chance = found.counts, found.baseline_30s
    second = after.probability(30)
    known = after.opportunities >= MIN_OPPORTUNITIES
    lasting = binomial_tail(after.followed[30], after.opportunities, chance) <= MAX_P
    predicted = before.probability(30) * after.opportunities
    columns = {
        "leader": [label[code] for code in before.leader.tolist()],
        "follower": [label[code] for code in before.follower.tolist()],
        "n_first_half": before.opportunities,
        "prob_first_half": before.probability(30),
        "n_second_half": after.opportunities,
        "prob_second_half": pa.array(second, from_pandas=True),
        "chance_prob": chance,
        "persisted": pa.array(lasting, mask=~known),
        "predicted_follows": predicted,
        "realised_follows": after.followed[30],
        "predicted_sol": predicted * np.nan_to_num(before.size_sol),
        "realised_sol": after.followed[30] * np.nan_to_num(after.size_sol),
        "as_of": pa.array([as_of] * len(second), pa.date32()),
    }
    table = pa.table([columns[field.name] for field in VALIDATION_SCHEMA], schema=VALIDATION_SCHEMA)
    return table.sort_by([("leader", "ascending"), ("follower", "ascending")])


@dataclass(frozen=True, slots=True)
class Persistence:
    """A day's validation in five numbers; None where nothing tells.

    `persistence` is the share of the first half's edges that still stand out in the second; `correlation` that of the
    two halves' probabilities; `slope` of realised on predicted follows through the origin (1 is calibrated); `r2` what
    the predicted follows explain of the realised ones beyond the mean.
    """

    edges: int
    persistence: float | None
    correlation: float | None
    slope: float | None
    r2: float | None

    @classmethod
    def of(cls, rows: pa.Table) -> Persistence:
        """From rows of VALIDATION_SCHEMA."""
        known = rows.filter(rows["persisted"].is_valid())
        if known.num_rows == 0:
            return cls(0, None, None, None, None)
        first, second = (known[f"prob_{half}_half"].to_numpy() for half in ("first", "second"))
        predicted, realised = (known[name].to_numpy() for name in ("predicted_follows", "realised_follows"))
        kept = known["persisted"].to_numpy(zero_copy_only=False)
        slope = float(predicted @ realised / (predicted @ predicted)) if predicted.any() else None
        return cls(known.num_rows, float(kept.mean()), _correlation(first, second), slope, _r2(predicted, realised))


def _correlation(one: Floats, other: Floats) -> float | None:
    return float(np.corrcoef(one, other)[0, 1]) if len(one) > 2 and one.std() > 0 and other.std() > 0 else None


def _r2(predicted: Floats, realised: Floats) -> float | None:
    spread = float(((realised - realised.mean()) ** 2).sum())
    return float(1 - ((realised - predicted) ** 2).sum() / spread) if spread > 0 else None
