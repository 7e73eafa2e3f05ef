"""The ledger run day by day over planted rows, as the assets run it, but without a lake."""

from __future__ import annotations

import pyarrow as pa

from copytrader_assets.analysis.ledger import ledger_bucket, of_bucket
from copytrader_assets.analysis.moves import bucket_of, in_chain_order, moves
from copytrader_assets.analysis.trip_order import age_order, end_order, key_order, merged
from copytrader_assets.analysis.trip_rows import open_rows, trades_rows
from copytrader_assets.analysis.trip_tables import Carry
from copytrader_assets.partitions import day_bounds_ns
from copytrader_assets.schemas import EVENTS
from copytrader_core.settings import LedgerSettings
from tests.assets.planted import Row, day

RULES = LedgerSettings()


def lake_events(rows: list[Row]) -> pa.Table:
    loose = pa.schema([field.with_nullable(True) for field in EVENTS.arrow])
    return pa.Table.from_pylist([dict.fromkeys(EVENTS.names) | row for row in rows], loose)


def of_day(rows: list[Row], number: int) -> list[Row]:
    low, high = day_bounds_ns(day(number))
    return [row for row in rows if low <= row["ts_ns"] < high]


class Books:
    """The ledger run day by day, stored and read back between the days as the assets do."""

    def __init__(
        self,
        rows: list[Row],
        days: int = 1,
        *,
        stored: bool = True,
        buckets: int = 1,
        rules: LedgerSettings = RULES,
    ) -> None:
        self.trades: list[pa.Table] = []
        self.open: list[pa.Table] = []
        self.carry = Carry.nothing()
        self.rules = rules
        for number in range(days):
            if stored and self.open:
                self.carry = Carry.read(self.open[-1], self.carry.stored())
            self._day(lake_events(of_day(rows, number)), day_bounds_ns(day(number))[1], buckets)

    def _day(self, events: pa.Table, day_end_ns: int, buckets: int) -> None:
        facts = self.carry.facts().after(in_chain_order(events))
        found = moves(events)
        owner = bucket_of(found["wallet"], buckets)
        folded = [
            ledger_bucket(
                found.filter(pa.array(owner == bucket)),
                of_bucket(self.carry, bucket, buckets),
                facts,
                day_end_ns,
                self.rules,
            )
            for bucket in range(buckets)
        ]
        finished = merged([one.finished for one in folded], end_order, 50)
        held = pa.concat_tables(part.table() for part in merged([one.carry.held for one in folded], age_order, 50))
        written_off = pa.concat_tables(one.carry.written_off for one in folded)
        self.carry = Carry(held, written_off.take(pa.array(key_order(written_off))))
        self.trades.append(pa.concat_tables(trades_rows(part.table(), day_end_ns) for part in finished))
        self.open.append(open_rows(held, self.rules.mark_fee_ppm))

    @property
    def finished(self) -> list[Row]:
        return [row for table in self.trades for row in table.to_pylist()]

    @property
    def held(self) -> list[Row]:
        return self.open[-1].to_pylist()
