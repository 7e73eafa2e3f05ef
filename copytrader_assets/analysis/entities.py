"""One actor behind several wallets: the merge that comes before any counting, with the evidence for it.

Evidence, each enough by itself:
- `fee_payer`: one wallet paid at least half of the other's transactions (three at least), or both had theirs paid by a
  third. A payer of more than HUB_DEGREE wallets is a terminal and proves nothing.
- `one_transaction`: both traded in the same transaction, three times at least, which both must have signed. A wallet
  that did so with more than HUB_DEGREE others is a router's and proves nothing.
- `same_slot`: a cohort (`cohorts`), whatever pays for it.
Not evidence: following somebody, however fast; using the same program; being of one size. The links make groups; a
group of more than MAX_ENTITY wallets is a chain of coincidences and stays unmerged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.cohorts import Cohorts, cohorts
from copytrader_assets.analysis.columns import ints
from copytrader_assets.analysis.first_buys import FirstBuys
from copytrader_assets.analysis.grouped import Flags, Floats, Ints
from copytrader_assets.analysis.habits import Habits
from copytrader_assets.analysis.payers import FEE_PAYER, ONE_TRANSACTION

HUB_DEGREE = 20
"""Wallets that one owner plausibly pays for; a trading terminal pays for thousands."""
MIN_TRANSACTIONS = 3
PAID_SHARE = 0.5
MAX_ENTITY = 64
SAME_SLOT = "same_slot"
ENTITY_SCHEMA = pa.schema(
    [
        pa.field("wallet", pa.string(), nullable=False),
        pa.field("entity", pa.string(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
        ("partner", pa.string()),
        pa.field("n_evidence", pa.int64(), nullable=False),
        ("strength", pa.float64()),
        ("first_slot", pa.int64()),
        ("last_slot", pa.int64()),
        pa.field("n_wallets", pa.int64(), nullable=False),
        pa.field("as_of", pa.date32(), nullable=False),
    ]
)
"""One row for each wallet of an entity of two or more: the entity is named after its most active wallet."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Pairs of names that have one owner, how that is known, how often and when it was seen; strength is 0..1."""

    one: list[str]
    other: list[str]
    kind: list[str]
    count: Ints
    strength: Floats
    first_slot: Ints
    last_slot: Ints

    @classmethod
    def joined(cls, parts: list[Evidence]) -> Evidence:
        """All pairs, one part after the other."""
        one, other, kind = (
            [value for part in parts for value in getattr(part, name)] for name in ("one", "other", "kind")
        )
        strength = np.concatenate([part.strength for part in parts])
        count, first, last = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("count", "first_slot", "last_slot")
        )
        return cls(one, other, kind, count, strength, first, last)


def find_entities(buys: FirstBuys, links: pa.Table, horizon: int, slot_ms: float, base_slot: int) -> Evidence:
    """Every pair of wallets with one owner, from the window's first buys and links (LINK_SCHEMA)."""
    found = cohorts(buys, Habits.of(buys, slot_ms), horizon)
    return Evidence.joined([_of_links(links), _of_cohorts(buys, found, base_slot)])


def _of_cohorts(buys: FirstBuys, found: Cohorts, base_slot: int) -> Evidence:
    one, other = (buys.wallets.take(pa.array(codes)).to_pylist() for codes in (found.one, found.other))
    slots = (found.first_slot + base_slot, found.last_slot + base_slot)
    return Evidence(one, other, [SAME_SLOT] * len(one), found.together, found.share, *slots)


def _of_links(links: pa.Table) -> Evidence:
    """The links that prove something: often enough, not a hub's, and for payers most of what the wallet did."""
    count, of_wallet = ints(links, "n_transactions"), ints(links, "n_of_wallet")
    share = count / np.maximum(of_wallet, 1)
    paid = np.asarray(pc.equal(links["kind"], FEE_PAYER).to_numpy(zero_copy_only=False), dtype=np.bool_)
    enough = (count >= MIN_TRANSACTIONS) & (~paid | (share >= PAID_SHARE))
    keep = enough & ~_is_hub(links, FEE_PAYER) & ~_is_hub(links, ONE_TRANSACTION)
    rows = links.filter(pa.array(keep))
    one, other, kind = (rows[name].to_pylist() for name in ("wallet", "partner", "kind"))
    slots = (ints(rows, "first_slot"), ints(rows, "last_slot"))
    return Evidence(one, other, kind, count[keep], share[keep], *slots)


def _is_hub(links: pa.Table, kind: str) -> Flags:
    """Links of `kind` whose partner has too many wallets. Every link counts, however weak."""
    mine = np.asarray(pc.equal(links["kind"], kind).to_numpy(zero_copy_only=False), dtype=np.bool_)
    partner = np.unique(np.asarray(links["partner"].to_pylist(), dtype=object), return_inverse=True)[1]
    degree = np.bincount(partner[mine], minlength=int(partner.max(initial=-1)) + 1)
    return np.asarray(mine & (degree[partner] > HUB_DEGREE), dtype=np.bool_)


def owners(buys: FirstBuys, evidence: Evidence) -> tuple[Ints, dict[str, str]]:
    """For each wallet code that of its entity's name; and for each name in a group of two or more its entity's.

    Names that only paid and never bought belong to a group without being counted in it.
    """
    groups = _groups(evidence)
    activity = _activity(buys, groups)
    head: dict[str, str] = {}
    for members in groups:
        most = max(members, key=lambda name: (activity.get(name, (-1, 0))[0], name))
        if len(members) <= MAX_ENTITY and most in activity:
            head.update(dict.fromkeys(members, most))
    owner = np.arange(len(buys.wallets), dtype=np.int64)
    for name, chief in head.items():
        if name in activity:
            owner[activity[name][1]] = activity[chief][1]
    return owner, head


def _groups(evidence: Evidence) -> list[list[str]]:
    """The connected groups of the pairs, members by name."""
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    for one, other in zip(evidence.one, evidence.other, strict=True):
        above[top(one)] = top(other)
    members: dict[str, list[str]] = {}
    for name in sorted(above):
        members.setdefault(top(name), []).append(name)
    return list(members.values())


def _activity(buys: FirstBuys, groups: list[list[str]]) -> dict[str, tuple[int, int]]:
    """(number of first buys, code) of every grouped wallet that bought anything."""
    names = pa.array([name for members in groups for name in members], pa.string())
    codes = pc.fill_null(pc.index_in(names, buys.wallets), -1).to_numpy()
    counts = buys.per_wallet
    rows = zip(names.to_pylist(), codes.tolist(), strict=True)
    return {name: (int(counts[code]), code) for name, code in rows if code >= 0}


def entity_rows(evidence: Evidence, head: Mapping[str, str], as_of: date) -> pa.Table:
    """The merge as a table: each wallet with the strongest evidence that ties it to another of its entity."""
    best: dict[str, int] = {}
    for row in np.argsort(-evidence.strength * np.minimum(evidence.count, 50), kind="stable").tolist():
        for name in (evidence.one[row], evidence.other[row]):
            best.setdefault(name, row)
    size = dict.fromkeys(head.values(), 0)
    for chief in head.values():
        size[chief] += 1
    rows: list[dict[str, Any]] = [_row(evidence, best[name], name, head[name], size, as_of) for name in sorted(head)]
    return pa.Table.from_pylist(rows, schema=ENTITY_SCHEMA)


def _row(evidence: Evidence, at: int, name: str, entity: str, size: Mapping[str, int], as_of: date) -> dict[str, Any]:
    partner = evidence.other[at] if evidence.one[at] == name else evidence.one[at]
    return {
        "wallet": name,
        "entity": entity,
        "evidence": evidence.kind[at],
        "partner": partner,
        "n_evidence": int(evidence.count[at]),
        "strength": min(1.0, float(evidence.strength[at])),
        "first_slot": int(evidence.first_slot[at]),
        "last_slot": int(evidence.last_slot[at]),
        "n_wallets": size[entity],
        "as_of": as_of,
    }
