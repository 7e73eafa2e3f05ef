"""What one day tells of the tracked wallets, in the narrow columns that every window is summed up from.

One row a trip that ended on the day, one a buy, one a position held at its end, and the marked worth of what is held.
A day's facts depend on the day and what was before it, never on the window that asks: a later day uses them again.
Not here: windows and statistics (sample, fingerprint), and where the rows are read (day_reader).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import flags, floats, ints
from copytrader_assets.analysis.excursion import best_multiples
from copytrader_assets.analysis.exit_context import Falls, sold_in_parts
from copytrader_assets.analysis.grouped import Floats, Ints, ratio
from copytrader_assets.analysis.open_marks import open_marks
from copytrader_assets.analysis.price_path import PricePath, Spans
from copytrader_assets.analysis.slippage import entry_delay, entry_slippage
from copytrader_assets.analysis.window import NS_PER_DAY

TRIP_COLUMNS = (
    *("wallet", "mint", "quote_mint", "open_sig", "open_path", "open_ts_ns", "open_slot", "open_cost_lamports"),
    *("open_cost_raw", "close_sig", "close_ts_ns", "close_slot", "close_proceeds_raw", "hold_ms", "pnl_lamports"),
    *("pnl_raw", "n_sells", "status", "basis", "meta_json"),
)
"""The columns of `trades` that the facts are read from."""
TRIP_FACTS = pa.schema(
    [
        ("wallet", pa.string()),
        ("open_ts_ns", pa.int64()),
        ("open_slot", pa.int64()),
        ("end_ns", pa.int64()),
        ("closed", pa.bool_()),
        ("won", pa.bool_()),
        ("hold_ms", pa.float64()),
        ("held_slots", pa.float64()),
        ("cost_lamports", pa.float64()),
        ("pnl_lamports", pa.float64()),
        ("multiple", pa.float64()),
        ("best_x", pa.float64()),
        ("in_parts", pa.bool_()),
        ("fell", pa.bool_()),
        ("fell_known", pa.bool_()),
        ("fall_share", pa.float64()),
    ]
)
BUY_FACTS = pa.schema(
    [
        ("wallet", pa.string()),
        ("ts_ns", pa.int64()),
        ("whole", pa.float64()),
        ("fee", pa.float64()),
        ("impact", pa.float64()),
        ("delay", pa.float64()),
    ]
)
HELD_FACTS = pa.schema(
    [
        ("wallet", pa.string()),
        ("open_ts_ns", pa.int64()),
        ("in_sol", pa.bool_()),
        ("marked_pnl_raw", pa.float64()),
    ]
)
MARK_FACTS = pa.schema(
    [("wallet", pa.string()), ("day", pa.int64()), ("open_day", pa.int64()), ("pnl_lamports", pa.float64())]
)
"""`day` and `open_day` are days since 1970."""


@dataclass(frozen=True, slots=True)
class DayFacts:
    """The facts of one day, or of several in order of days (`held` then those of the last)."""

    trips: pa.Table
    buys: pa.Table
    held: pa.Table
    marks: pa.Table

    @classmethod
    def of(
        cls, trips: pa.Table, events: pa.Table, held: pa.Table, wallets: pa.Array, end_ns: int, slot_ms: float
    ) -> DayFacts:
        """`trips`: TRIP_COLUMNS of what ended on the day; `events`: price_path.EVENT_COLUMNS around the wallets' trades
        of the day and along the trips, at least those of their stretches; `held`: lake rows of the positions at the
        day's end, `end_ns`. Rows of other wallets and INCOMPLETE trips are left out.
        """
        path = PricePath.of(events, wallets)
        positions = held_facts(_countable(held, wallets))
        return cls(
            trips=trip_facts(_countable(trips, wallets), path, end_ns, slot_ms),
            buys=buy_facts(path, end_ns),
            held=positions,
            marks=mark_facts(positions, end_ns),
        )

    @classmethod
    def joined(cls, days: Iterable[DayFacts]) -> DayFacts:
        """The facts of several days; there must be one at least."""
        parts = list(days)
        tables = {
            name: pa.concat_tables([getattr(part, name) for part in parts]) for name in ("trips", "buys", "marks")
        }
        return cls(held=parts[-1].held, **tables)

    def of_wallets(self, wallets: pa.Array) -> DayFacts:
        """The facts of some wallets."""
        tables = {field.name: getattr(self, field.name) for field in fields(self)}
        return DayFacts(**{name: table.filter(pc.is_in(table["wallet"], wallets)) for name, table in tables.items()})


def trip_facts(trips: pa.Table, path: PricePath, end_ns: int, slot_ms: float) -> pa.Table:
    """TRIP_FACTS of the COMPLETE trips that ended, in an order that is theirs alone."""
    ended = pc.is_in(trips["status"], pa.array(["CLOSED", "DEAD"]))
    trips = trips.filter(ended).sort_by(
        [(name, "ascending") for name in ("wallet", "open_slot", "mint", "open_sig", "open_path")]
    )
    closed = flags(pc.equal(trips["status"], "CLOSED"))
    spans = Spans.of(path, trips)
    falls = Falls.of(path, spans, trips, slot_ms)
    in_sol = flags(pc.is_valid(trips["open_cost_lamports"]))
    columns = {
        "wallet": trips["wallet"],
        "open_ts_ns": trips["open_ts_ns"],
        "open_slot": trips["open_slot"],
        "end_ns": pa.array(_ends(trips, end_ns)),
        "closed": pa.array(closed),
        "won": pa.array((floats(trips, "pnl_raw") > 0) & closed),
        "hold_ms": _nullable(np.where(closed, floats(trips, "hold_ms"), np.nan)),
        "held_slots": _nullable(np.where(closed, floats(trips, "close_slot") - floats(trips, "open_slot"), np.nan)),
        "cost_lamports": _nullable(np.where(in_sol, floats(trips, "open_cost_lamports"), np.nan)),
        "pnl_lamports": _nullable(np.where(in_sol, floats(trips, "pnl_lamports"), np.nan)),
        "multiple": _nullable(ratio(floats(trips, "close_proceeds_raw"), floats(trips, "open_cost_raw"))),
        "best_x": _nullable(best_multiples(path, spans, trips)),
        "in_parts": pa.array(sold_in_parts(trips)),
        "fell": pa.array(falls.fell),
        "fell_known": pa.array(falls.known),
        "fall_share": _nullable(falls.share),
    }
    return pa.table({field.name: columns[field.name] for field in TRIP_FACTS}, schema=TRIP_FACTS)


def buy_facts(path: PricePath, end_ns: int) -> pa.Table:
    """BUY_FACTS of the wallets' buys on the day that ends with `end_ns`, where the reserves tell what they cost."""
    rows = path.own.rows
    cost = entry_slippage(rows)
    delay = entry_delay(path, cost)
    at = ints(rows, "ts_ns")
    keep = np.isfinite(cost.whole) & (at >= end_ns - NS_PER_DAY) & (at < end_ns)
    columns = {
        "wallet": rows["wallet"].filter(pa.array(keep)),
        "ts_ns": pa.array(at[keep]),
        "whole": pa.array(cost.whole[keep]),
        "fee": pa.array(cost.fee[keep]),
        "impact": pa.array(cost.impact[keep]),
        "delay": _nullable(delay[keep]),
    }
    return pa.table(columns, schema=BUY_FACTS)


def held_facts(held: pa.Table) -> pa.Table:
    """HELD_FACTS of COMPLETE open positions."""
    held = held.sort_by([(name, "ascending") for name in ("wallet", "open_slot", "mint", "open_sig", "open_path")])
    worth = open_marks(held)
    pnl = floats(held, "close_proceeds_raw") + worth - floats(held, "open_cost_raw")
    columns = {
        "wallet": held["wallet"],
        "open_ts_ns": held["open_ts_ns"],
        "in_sol": pa.array(flags(pc.is_valid(held["open_cost_lamports"]))),
        "marked_pnl_raw": _nullable(pnl),
    }
    return pa.table(columns, schema=HELD_FACTS)


def mark_facts(held: pa.Table, end_ns: int) -> pa.Table:
    """MARK_FACTS: the marked pnl of what is held at `end_ns`, in SOL, by wallet and day of opening."""
    known = held.filter(pc.and_(held["in_sol"], pc.is_valid(held["marked_pnl_raw"])))
    days = pc.divide(known["open_ts_ns"], NS_PER_DAY)
    known = known.append_column("open_day", days)
    sums = known.group_by(["wallet", "open_day"], use_threads=False).aggregate([("marked_pnl_raw", "sum")])
    sums = sums.sort_by([("wallet", "ascending"), ("open_day", "ascending")])
    day = np.full(sums.num_rows, (end_ns - 1) // NS_PER_DAY)
    columns = [sums["wallet"], pa.array(day, pa.int64()), sums["open_day"], sums["marked_pnl_raw_sum"]]
    return pa.Table.from_arrays(
        [_chunk(c, f.type) for c, f in zip(columns, MARK_FACTS, strict=True)], schema=MARK_FACTS
    )


def _countable(trips: pa.Table, wallets: pa.Array) -> pa.Table:
    return trips.filter(pc.and_(pc.is_in(trips["wallet"], wallets), pc.equal(trips["basis"], "COMPLETE")))


def _ends(trips: pa.Table, end_ns: int) -> Ints:
    """When each trip was closed or declared dead (the last nanosecond of that day); the day's end if unknown."""
    died = pc.extract_regex(trips["meta_json"], r'"died_ts_ns": ?(?P<ns>\d+)')
    died_ns = pc.subtract(pc.cast(pc.struct_field(died, "ns"), pa.int64()), 1)
    return np.asarray(pc.fill_null(pc.coalesce(trips["close_ts_ns"], died_ns), end_ns - 1).to_numpy(), dtype=np.int64)


def _nullable(values: Floats) -> pa.Array:
    return pa.array(values, from_pandas=True)


def _chunk(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.cast(kind)
