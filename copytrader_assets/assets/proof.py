"""`shadow_book` and `parity`: what refusals avoided or missed, and whether the record is what a replay gives."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa

from copytrader_assets.analysis.parity import Parity, parities
from copytrader_assets.analysis.shadow import FOLLOWED, Shadow, audit, shadows_of
from copytrader_assets.partitions import POSTGRES, daily, days_of
from copytrader_assets.proof_schemas import PARITY, SHADOW_BOOK
from copytrader_assets.publish import Publication, Result, refuse, rules_check
from copytrader_assets.resources import LakeFolder, Warehouse
from copytrader_assets.retries import retried
from copytrader_assets.schemas import Table
from copytrader_assets.tape_reader import read_tape
from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_core.policy.record import JournalledDecision
from copytrader_core.policy.values import ACCEPTED
from copytrader_core.settings import Settings
from copytrader_core.store.journal_days import decisions_of

_SAME = "same_decisions"


def _spec(table: Table) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name, deps=[TAPE.name, TAPE_SLOTS.name], description=table.about, kinds={"parquet"}, skippable=True
    )


@dg.multi_asset(
    name="proof",
    specs=[_spec(SHADOW_BOOK), _spec(PARITY)],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
    pool=POSTGRES,
    check_specs=[
        rules_check(SHADOW_BOOK),
        rules_check(PARITY),
        dg.AssetCheckSpec(_SAME, asset=PARITY.name, description="Every decision taken again is the one on record."),
    ],
)
@retried
def proof(context: dg.AssetExecutionContext, lake_folder: LakeFolder, warehouse: Warehouse) -> Iterator[Result]:
    """A day on which no executor ran has empty tables."""
    lake = lake_folder.lake
    with Publication(context, lake) as publication:
        for day in days_of(context):
            for table in (TAPE, TAPE_SLOTS):
                if not lake.has(table.name, day):
                    raise refuse(f"{table.name} {day} is missing: run `copytrader materialize --from {day} --to {day}`")
            with warehouse.connection() as connection:
                decisions = decisions_of(connection, day)
            tape = read_tape(lake, day, {one.leader for one in decisions})
            shadows = [(one, found) for mode in ("paper", "live") for one, found in _shadows(tape, decisions, mode)]
            rows = _table(SHADOW_BOOK, [_shadow_row(one, found) for one, found in shadows])
            guards = {f"{one.code}_sol": one.pnl_lamports / 1e9 for one in audit([found for _, found in shadows])}
            publication.add(SHADOW_BOOK, day, rows, {}, shown=guards)
            found = parities(tape, decisions)
            publication.add(PARITY, day, _table(PARITY, [asdict(one) for one in found]), {}, shown=_causes(found))
            if others := [one.sig for one in found if one.cause == "decision"]:
                publication.warning(
                    PARITY.name, _SAME, f"{day}: {len(others)} decisions come out otherwise now, first {others[:3]}: "
                    "`copytrader explain SIG` shows how"
                )  # fmt: skip
        yield from publication.finish()


def _shadows(tape: Any, decisions: Sequence[JournalledDecision], mode: str) -> list[tuple[JournalledDecision, Shadow]]:
    """Refused signals of one mode, each settings by themselves."""
    refused = [one for one in decisions if one.mode == mode and one.code != ACCEPTED and one.settings is not None]
    found: list[tuple[JournalledDecision, Shadow]] = []
    for settings in {str(one.settings): one.settings for one in refused}.values():
        mine = [one for one in refused if one.settings == settings]
        config = Settings(**{name: part for name, part in (settings or {}).items() if name != "guards"})
        found += zip(mine, shadows_of(tape, mine, config), strict=True)
    return found


def _shadow_row(one: JournalledDecision, found: Shadow) -> dict[str, Any]:
    followed = found.outcome in FOLLOWED
    return {
        "mode": one.mode,
        "leader": found.leader,
        "mint": found.mint,
        "sig": found.leader_sig,
        "code": found.code,
        "also": ",".join(found.also),
        "outcome": found.outcome,
        "pnl_lamports": found.pnl_lamports if followed else None,
        "spend_lamports": found.spend_lamports if followed else None,
        "exit_reason": found.reason if found.outcome == "LANDED" else None,
    }


def _causes(found: Sequence[Parity]) -> dict[str, int]:
    return {f"cause_{cause}": sum(one.cause == cause for one in found) for cause in {one.cause for one in found}}


def _table(table: Table, rows: Sequence[dict[str, Any]]) -> pa.Table:
    loose = pa.schema([field.with_nullable(True) for field in table.arrow])
    return pa.Table.from_pylist(list(rows), loose)
