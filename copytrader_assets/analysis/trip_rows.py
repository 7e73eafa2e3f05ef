"""Round trips as Arrow rows and back: what the ledger reads of events, what it publishes, what it carries on.

Not here: the arithmetic (ledger.py) and the files (lake.py).
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.ledger import Carry, Leg, Lot, Mark, Movement, Trip
from copytrader_assets.schemas import AMOUNT, OPEN_POSITIONS, TRADES
from copytrader_core.records import LAMPORTS_PER_SOL, WSOL

# A transaction without an index keeps its events together: sig comes before the path.
_CHAIN_ORDER = ("slot", "tx_index", "sig", "outer_ix", "inner_ix", "event_seq")
WRITTEN_OFF = pa.schema(
    [
        ("wallet", pa.string()),
        ("mint", pa.string()),
        ("quote_mint", pa.string()),
        ("qty_raw", AMOUNT),
        ("last_trade_ts_ns", pa.int64()),
    ]
)


def in_chain_order(events: pa.Table) -> pa.Table:
    """`events` sorted by (slot, tx_index, outer_ix, inner_ix, event_seq); an unknown tx_index comes first."""
    keys = events.select(_CHAIN_ORDER)
    known = pc.fill_null(keys["tx_index"], -1)
    keys = keys.set_column(keys.schema.get_field_index("tx_index"), "tx_index", known)
    indices = pc.sort_indices(keys, [(name, "ascending") for name in _CHAIN_ORDER])
    return events.take(indices)


def movements(events: pa.Table) -> Iterator[Movement]:
    """What the ledger reads of `events` (lake columns, any order), in chain order."""
    ordered = in_chain_order(events).select(list(Movement._fields))
    for batch in ordered.to_batches(max_chunksize=65_536):
        yield from map(Movement._make, zip(*(column.to_pylist() for column in batch.columns), strict=True))


def trades_table(finished: Sequence[Trip]) -> pa.Table:
    """The day's finished trips as rows of `trades`."""
    return TRADES.conform(_rows([_row(trip, _finished_meta(trip)) for trip in finished], TRADES.arrow))


def open_positions_table(carry: Carry) -> pa.Table:
    """What is held, as rows of `open_positions`; lots and the coin's last state stand in meta_json."""
    rows = [_row(trip, _open_meta(trip, carry)) for trip in carry.in_order()]
    return OPEN_POSITIONS.conform(_rows(rows, OPEN_POSITIONS.arrow))


def written_off_table(carry: Carry) -> pa.Table:
    """The coins that finished trips left behind and that are still traded."""
    rows = [
        {
            "wallet": key[0],
            "mint": key[1],
            "quote_mint": key[2],
            "qty_raw": qty,
            "last_trade_ts_ns": carry.last_trade_ns[key[1]],
        }
        for key, qty in sorted(carry.written_off.items())
    ]
    return _rows(rows, WRITTEN_OFF)


def read_carry(open_positions: pa.Table, written_off: pa.Table) -> Carry:
    """The carry that `open_positions_table` and `written_off_table` wrote."""
    carry = Carry()
    for row in open_positions.to_pylist():
        meta = json.loads(row["meta_json"])
        trip = _trip(row, meta)
        carry.trips[trip.key] = trip
        coin = meta["coin"]
        carry.last_trade_ns[trip.mint] = coin["last_trade_ts_ns"]
        if "reserve_base_raw" in coin:
            carry.marks[trip.mint, trip.quote_mint] = Mark(coin["reserve_base_raw"], coin["reserve_quote_raw"])
    for row in written_off.to_pylist():
        carry.written_off[row["wallet"], row["mint"], row["quote_mint"]] = int(row["qty_raw"])
        carry.last_trade_ns[row["mint"]] = row["last_trade_ts_ns"]
    return carry


def _rows(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, names=schema.names)


def _row(trip: Trip, meta: dict[str, Any]) -> dict[str, Any]:
    pnl = trip.proceeds_raw - trip.matched_raw
    row: dict[str, Any] = {
        "wallet": trip.wallet,
        "alias": trip.alias,
        "mint": trip.mint,
        "quote_mint": trip.quote_mint,
        "open_sig": trip.open_sig,
        "open_path": trip.open_path,
        "open_ts_ns": trip.open_ts_ns,
        "open_slot": trip.open_slot,
        "open_qty": trip.bought_raw / 10**trip.decimals,
        "open_qty_raw": trip.bought_raw,
        "close_sig": trip.close_sig,
        "close_ts_ns": trip.close_ts_ns,
        "close_slot": trip.close_slot,
        "close_qty": trip.sold_raw / 10**trip.decimals,
        "close_qty_raw": trip.sold_raw,
        "hold_ms": (trip.close_ts_ns - trip.open_ts_ns) // 1_000_000 if trip.close_ts_ns is not None else None,
        "pnl_x": trip.proceeds_raw / trip.matched_raw if trip.matched_raw else None,
        "was_win": {"OPEN": None, "CLOSED": pnl > 0, "DEAD": False}[trip.status],
        "n_buys": trip.n_buys,
        "n_sells": len(trip.legs),
        "status": trip.status,
        "basis": "COMPLETE" if trip.is_complete else "INCOMPLETE",
        "meta_json": json.dumps(meta, separators=(",", ":"), sort_keys=True),
    }
    for name, amount in (("open_cost", trip.cost_raw), ("close_proceeds", trip.proceeds_raw), ("pnl", pnl)):
        row |= _money(name, amount, trip.quote_mint == WSOL)
    return row


def _money(name: str, amount: int, in_sol: bool) -> dict[str, Any]:
    return {
        f"{name}_raw": amount,
        f"{name}_lamports": amount if in_sol else None,
        f"{name}_sol": amount / LAMPORTS_PER_SOL if in_sol else None,
    }


def _meta(trip: Trip) -> dict[str, Any]:
    meta: dict[str, Any] = {"decimals": trip.decimals, "legs": [leg._asdict() for leg in trip.legs]}
    if trip.fee_lamports:
        meta["fee_lamports"] = trip.fee_lamports
    if trip.other_quotes:
        meta["other_quotes"] = trip.other_quotes
    return meta


def _finished_meta(trip: Trip) -> dict[str, Any]:
    meta = _meta(trip)
    if trip.unbacked_qty_raw:
        meta["unbacked"] = {"qty_raw": trip.unbacked_qty_raw, "proceeds_raw": trip.unbacked_proceeds_raw}
    if trip.held_raw:
        meta["left_qty_raw"] = trip.held_raw
    if trip.died_ts_ns is not None:
        meta["died_ts_ns"] = trip.died_ts_ns
    return meta


def _open_meta(trip: Trip, carry: Carry) -> dict[str, Any]:
    coin: dict[str, int] = {"last_trade_ts_ns": carry.last_trade_ns[trip.mint]}
    mark = carry.marks.get((trip.mint, trip.quote_mint))
    if mark is not None:
        coin |= {"reserve_base_raw": mark.base_raw, "reserve_quote_raw": mark.quote_raw}
    lots = [{"qty_raw": lot.qty_raw, "cost_raw": lot.cost_raw, "left_raw": lot.left_raw} for lot in trip.lots]
    return _meta(trip) | {"coin": coin, "lots": lots}


def _trip(row: dict[str, Any], meta: dict[str, Any]) -> Trip:
    same = ("wallet", "alias", "mint", "quote_mint", "open_sig", "open_path", "open_ts_ns", "open_slot", "n_buys")
    lots = deque(Lot(**lot) for lot in meta["lots"])
    return Trip(
        **{name: row[name] for name in same},
        decimals=meta["decimals"],
        bought_raw=int(row["open_qty_raw"]),
        cost_raw=int(row["open_cost_raw"]),
        held_raw=sum(lot.left_raw for lot in lots),
        sold_raw=int(row["close_qty_raw"]),
        proceeds_raw=int(row["close_proceeds_raw"]),
        fee_lamports=meta.get("fee_lamports", 0),
        other_quotes=meta.get("other_quotes", []),
        lots=lots,
        legs=[Leg(**leg) for leg in meta["legs"]],
    )
