"""How every asset is shown to Dagster's users: its stage, its owner, what a row is, when it must be fresh.

In one place, so that a new asset is shown like the others. Not here: what the tables are (schemas.py).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import dagster as dg

from copytrader_assets.proof_schemas import LANDINGS, PARITY, SHADOW_BOOK
from copytrader_assets.schemas import (
    EDGE_VALIDATION,
    ENTITIES,
    EVENTS,
    FIRST_BUYS,
    FOLLOW_EDGES,
    INFLOW_CALIBRATION,
    LEADER_INFLOW,
    LEADER_LINKS,
    LEADER_SCORES,
    OPEN_POSITIONS,
    TABLES,
    TRADES,
    WALLET_LINKS,
    WALLET_PATTERNS,
    WALLET_WINDOWS,
    Table,
)
from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_assets.value_schemas import (
    CALIBRATION,
    CALIBRATION_BINS,
    COPIES,
    COPY_EXITS,
    COPY_VALUE,
    EXIT_CURVES,
    LEADER_EXITS,
)
from copytrader_core.settings import settings

RAW_EVENTS: Final = "raw_events"
RELEASE: Final = "pattern_release"
_NETWORK: Final = (
    *(FIRST_BUYS, WALLET_LINKS, FOLLOW_EDGES, LEADER_SCORES),
    *(ENTITIES, EDGE_VALIDATION, LEADER_INFLOW, INFLOW_CALIBRATION),
)
# The stages in the order of the way of the data. An asset that stands in none keeps its own group.
STAGES: Final[Mapping[str, Sequence[str]]] = {
    "ingest": (RAW_EVENTS, EVENTS.name),
    "ledger": (TRADES.name, OPEN_POSITIONS.name),
    "network": [table.name for table in _NETWORK],
    "fingerprints": (WALLET_PATTERNS.name, WALLET_WINDOWS.name),
    "replay": (TAPE.name, TAPE_SLOTS.name, LANDINGS.name, COPIES.name, COPY_EXITS.name),
    "proof": (SHADOW_BOOK.name, PARITY.name),
    "value": (*(LEADER_EXITS.name, EXIT_CURVES.name, COPY_VALUE.name), CALIBRATION.name, CALIBRATION_BINS.name),
    "release": (RELEASE, LEADER_LINKS.name),
}
_STAGE_OF: Final = {asset: stage for stage, assets in STAGES.items() for asset in assets}
# What the work is done with, beside where the rows are kept.
_ENGINES: Final = {
    "ledger": {"numba"},
    "network": {"numpy"},
    "fingerprints": {"duckdb"},
    "replay": {"numba"},
    "proof": {"numba"},
    "value": {"numpy"},
}
_ROWS: Final = {
    RAW_EVENTS: "one event that moved a wallet's coins, or the creation of a coin",
    EVENTS.name: "one event that moved a wallet's coins, or the creation of a coin",
    TRADES.name: "one round trip of a wallet in a coin that ended on the day",
    OPEN_POSITIONS.name: "one round trip of a wallet in a coin that is still open at the end of the day",
    FIRST_BUYS.name: "one wallet's first buy of one coin",
    WALLET_LINKS.name: "two wallets and one kind of tie between them",
    FOLLOW_EDGES.name: "one leader and one follower",
    LEADER_SCORES.name: "one tracked wallet",
    ENTITIES.name: "one wallet of an entity",
    EDGE_VALIDATION.name: "one leader and one follower, found on the first half of the window",
    LEADER_INFLOW.name: "one leader and one number of slots after its buy",
    INFLOW_CALIBRATION.name: "one number of slots and one tenth of the leaders' buys",
    WALLET_PATTERNS.name: "one tracked wallet with a finished trip in the window",
    WALLET_WINDOWS.name: "one tracked wallet and one window",
    TAPE.name: "one trade, or a deposit or withdrawal of a coin's own pool",
    TAPE_SLOTS.name: "one slot of the day",
    COPIES.name: "one buy of a leader, copied so many slots late with so much SOL",
    COPY_EXITS.name: "one buy of a leader, copied and sold by one exit rule",
    LEADER_EXITS.name: "one leader and one exit rule",
    EXIT_CURVES.name: "one leader and one point of a survival curve",
    COPY_VALUE.name: "one leader, one latency and one size",
    CALIBRATION.name: "one leader",
    CALIBRATION_BINS.name: "one tenth of the expectations of one kind",
    LANDINGS.name: "one side and one number of slots, and how many of our live orders landed so late",
    SHADOW_BOOK.name: "one signal that was refused",
    PARITY.name: "one decision",
    LEADER_LINKS.name: "one buy of a follower",
    RELEASE: "one release: the fingerprints, edges and forecasts that the executor reads, whole",
}
# After 01:15 UTC the schedule asks every half hour whether yesterday is sealed; by three it should have run.
_FRESH: Final = dg.FreshnessPolicy.cron(deadline_cron="0 3 * * *", lower_bound_delta=dt.timedelta(hours=3))


def shown(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec],
) -> Sequence[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets as users see them."""
    return dg.map_asset_specs(_shown, assets)


def _shown(spec: dg.AssetSpec) -> dg.AssetSpec:
    name = spec.key.to_user_string()
    table = EVENTS if name == RAW_EVENTS else TABLES.get(name)
    stage = _STAGE_OF.get(name, spec.group_name)
    columns = {"dagster/column_schema": table.metadata()} if table is not None else {}
    return spec.replace_attributes(
        group_name=stage,
        owners=[settings().dagster.owner],
        kinds={*spec.kinds, *_ENGINES.get(stage or "", ())},
        description=_description(spec, table),
        metadata={**spec.metadata, **columns},
        code_version=code_version(table) if table is not None else spec.code_version,
        freshness_policy=_FRESH,
    )


def _description(spec: dg.AssetSpec, table: Table | None) -> str:
    row = _ROWS.get(spec.key.to_user_string(), f"one {' + '.join(table.key)}" if table is not None else "")
    return f"{(spec.description or '').strip()}\n\nA row is {row}." if row else spec.description or ""


def code_version(table: Table) -> str:
    """Changes with the table's columns, key and rules: a day of an older one is shown as outdated."""
    columns = [f"{column.name} {column.type}" for column in table.columns]
    parts = [*columns, *table.key, *(rule.name for rule in table.rules)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
