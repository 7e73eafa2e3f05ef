"""The ledger against an independent one, and every rule of a round trip by itself."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytrader_assets.analysis.ledger import ledger_bucket, of_bucket
from copytrader_assets.analysis.moves import bucket_of, in_chain_order, moves
from copytrader_assets.analysis.trip_order import age_order, end_order, key_order, merged
from copytrader_assets.analysis.trip_rows import open_rows, trades_rows
from copytrader_assets.analysis.trip_tables import FINISHED, Carry
from copytrader_assets.partitions import day_bounds_ns
from copytrader_assets.schemas import EVENTS, OPEN_POSITIONS, TRADES
from copytrader_core.records import WSOL
from copytrader_core.settings import LedgerSettings
from tests.assets.conftest import plain
from tests.assets.oracle import expected
from tests.assets.planted import SLOTS_PER_DAY, USDC, Market, Row, day, event

RULES = LedgerSettings()


def lake_events(rows: list[Row]) -> pa.Table:
    loose = pa.schema([field.with_nullable(True) for field in EVENTS.arrow])
    return pa.Table.from_pylist([dict.fromkeys(EVENTS.names) | row for row in rows], loose)


def of_day(rows: list[Row], number: int) -> list[Row]:
    low, high = day_bounds_ns(day(number))
    return [row for row in rows if low <= row["ts_ns"] < high]


class Books:
    """The ledger run day by day, stored and read back between the days as the assets do."""

    def __init__(self, rows: list[Row], days: int = 1, *, stored: bool = True, buckets: int = 1) -> None:
        self.trades: list[pa.Table] = []
        self.open: list[pa.Table] = []
        self.carry = Carry.nothing()
        for number in range(days):
            if stored and self.open:
                self.carry = Carry.read(self.open[-1], self.carry.stored())
            self._day(lake_events(of_day(rows, number)), day_bounds_ns(day(number))[1], buckets)

    def _day(self, events: pa.Table, day_end_ns: int, buckets: int) -> None:
        facts = self.carry.facts().after(in_chain_order(events))
        found, owner = moves(events), bucket_of(moves(events)["wallet"], buckets)
        folded = [
            ledger_bucket(
                found.filter(pa.array(owner == bucket)),
                of_bucket(self.carry, bucket, buckets),
                facts,
                day_end_ns,
                RULES,
            )
            for bucket in range(buckets)
        ]
        finished = merged([one.finished for one in folded], end_order, 50)
        held = pa.concat_tables(merged([one.carry.held for one in folded], age_order, 50))
        written_off = pa.concat_tables(one.carry.written_off for one in folded)
        self.carry = Carry(held, written_off.take(pa.array(key_order(written_off))))
        self.trades.append(
            pa.concat_tables(
                [trades_rows(FINISHED.empty_table(), day_end_ns), *(trades_rows(part, day_end_ns) for part in finished)]
            )
        )
        self.open.append(open_rows(held, RULES.mark_fee_ppm))

    @property
    def finished(self) -> list[Row]:
        return [row for table in self.trades for row in table.to_pylist()]

    @property
    def held(self) -> list[Row]:
        return self.open[-1].to_pylist()


@pytest.mark.parametrize("seed", range(12))
def test_equals_the_independent_ledger_on_random_markets(seed: int) -> None:
    market = Market(seed, days=5, events_per_day=400)
    rows = list(market.rows)
    random.Random(seed).shuffle(rows)
    books = Books(rows, 5)
    truth = expected(rows, [day(n) for n in range(5)])
    for number in range(5):
        assert plain(books.trades[number]) == truth[day(number)][0]
        assert plain(books.open[number]) == truth[day(number)][1]
    assert {row["basis"] for row in books.finished} == {"COMPLETE", "INCOMPLETE"}


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """One or two wallets, one coin, small numbers: where rounding and dust decide."""
    rows = []
    # Of every event or of none: what was seen of a coin that nobody held is forgotten.
    reserve = draw(st.sampled_from([None, 10**9]))
    for place in range(draw(st.integers(1, 25))):
        slot = draw(st.integers(0, 9)) * (SLOTS_PER_DAY // 2) + place
        who = draw(st.sampled_from(["wallet-a", "wallet-b"]))
        rows.append(
            event(
                slot,
                draw(st.sampled_from(["BUY", "BUY", "SELL", "SELL", "SWAP"])),
                draw(st.sampled_from([0, 1, 2, 3, 7, 999, 1000, 1001, 10**6])),
                draw(st.integers(0, 20_000)),
                wallet=who,
                quote_mint=draw(st.sampled_from([WSOL, WSOL, USDC])),
                fee_payer=draw(st.sampled_from(["wallet-a", "wallet-b"])),
                tx_index=draw(st.sampled_from([None, 5])),
                outer_ix=place,
                reserve_base_raw=reserve,
                reserve_quote_raw=10**7,
            )
        )
    return sorted(rows, key=lambda row: row["slot"])


@settings(max_examples=150, deadline=None)
@given(histories())
def test_equals_the_independent_ledger_where_single_coins_count(rows: list[Row]) -> None:
    books = Books(rows, 6)
    truth = expected(rows, [day(n) for n in range(6)])
    for number in range(6):
        assert plain(books.trades[number]) == truth[day(number)][0]
        assert plain(books.open[number]) == truth[day(number)][1]


@pytest.mark.parametrize("seed", [3, 4])
def test_a_carry_in_memory_gives_the_same_rows_as_one_that_was_stored(seed: int) -> None:
    rows = Market(seed, days=6, events_per_day=150, wallets=20, coins=30).rows
    stored, kept = Books(rows, 6), Books(rows, 6, stored=False)
    assert stored.trades == kept.trades
    assert stored.open == kept.open
    assert stored.carry.held.to_pylist() == kept.carry.held.to_pylist()
    assert stored.carry.written_off.to_pylist() == kept.carry.written_off.to_pylist()


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = Market(9, days=1, events_per_day=500).rows
    shuffled = random.Random(1).sample(rows, len(rows))
    assert Books(rows).trades == Books(shuffled).trades


def test_every_row_keeps_the_published_rules() -> None:
    books = Books(Market(5, days=3, events_per_day=500).rows, 3)
    assert [TRADES.violations(table) for table in books.trades] == [(), (), ()]
    assert [OPEN_POSITIONS.violations(table) for table in books.open] == [(), (), ()]


def test_a_trip_opens_with_the_first_buy_and_closes_with_the_last_sell() -> None:
    books = Books(
        [event(10, "BUY", 600, 1_000_000), event(20, "BUY", 400, 500_000), event(35, "SELL", 1000, 2_000_000)]
    )
    (trip,) = books.finished
    assert (trip["open_sig"], trip["open_path"], trip["close_sig"]) == ("sig10", "0.-1.0", "sig35")
    assert (trip["open_cost_lamports"], trip["close_proceeds_lamports"]) == (1_510_000, 1_995_000)
    assert (trip["pnl_lamports"], trip["was_win"], trip["n_buys"], trip["n_sells"]) == (485_000, True, 2, 1)
    assert trip["hold_ms"] == 10_000
    assert trip["pnl_x"] == 1_995_000 / 1_510_000


def test_an_open_trip_has_running_sums_and_no_end() -> None:
    books = Books([event(10, "BUY", 1000, 1_000_000, fee_payer="x"), event(20, "SELL", 250, 400_000, fee_payer="x")])
    (trip,) = books.held
    assert (trip["status"], trip["close_sig"], trip["close_ts_ns"], trip["hold_ms"], trip["was_win"]) == (
        "OPEN",
        None,
        None,
        None,
        None,
    )
    assert (trip["close_qty_raw"], trip["close_proceeds_raw"], trip["pnl_raw"]) == (250, 400_000, 150_000)
    assert json.loads(trip["meta_json"])["lots"] == [{"cost_raw": 1_000_000, "left_raw": 750, "qty_raw": 1000}]


def test_a_legs_cost_is_rounded_down_and_the_last_leg_takes_the_rest() -> None:
    rows = [event(1, "BUY", 3, 100, fee_payer="x")] + [event(10 + n, "SELL", 1, 50, fee_payer="x") for n in range(2)]
    (trip,) = Books(rows).finished
    legs = json.loads(trip["meta_json"])["legs"]
    assert [leg["cost_raw"] for leg in legs] == [33, 67]
    assert trip["pnl_raw"] == 0


def test_a_tenth_of_a_percent_is_dust_and_a_little_more_is_not() -> None:
    assert Books([event(1, "BUY", 10_000, 100), event(2, "SELL", 9_990, 100)]).held == []
    assert len(Books([event(1, "BUY", 10_000, 100), event(2, "SELL", 9_989, 100)]).held) == 1
    assert Books([event(1, "BUY", 10, 100), event(2, "SELL", 9, 100)]).held == []


def test_dust_that_is_sold_later_opens_nothing_even_on_another_day() -> None:
    rows = [event(1, "BUY", 10_000, 100), event(2, "SELL", 9_995, 100), event(SLOTS_PER_DAY + 9, "SELL", 5, 100)]
    books = Books(rows, 2)
    assert [table.num_rows for table in books.trades] == [1, 0]
    assert books.held == [] and books.carry.written_off.num_rows == 0


def test_dust_of_an_earlier_day_backs_a_sale_of_everything() -> None:
    rows = [event(1, "BUY", 10_000, 100), event(2, "SELL", 9_995, 100)]
    rows += [event(SLOTS_PER_DAY + 1, "BUY", 10_000, 100), event(SLOTS_PER_DAY + 2, "SELL", 10_005, 10_000)]
    second = Books(rows, 2).finished[1]
    assert (second["basis"], second["status"]) == ("COMPLETE", "CLOSED")
    assert second["close_proceeds_raw"] == 5_000


def test_more_sold_than_bought_is_incomplete_and_only_the_backed_share_counts() -> None:
    (trip,) = Books([event(1, "BUY", 100, 1_000), event(2, "SELL", 300, 1_000, fee_payer="x")]).finished
    assert (trip["basis"], trip["close_qty_raw"], trip["close_proceeds_raw"]) == ("INCOMPLETE", 100, 333)
    assert json.loads(trip["meta_json"])["unbacked"] == {"proceeds_raw": 667, "qty_raw": 200}


def test_a_sale_of_coins_never_seen_bought_gives_no_row() -> None:
    books = Books([event(1, "SELL", 300, 1_000)])
    assert (books.finished, books.held) == ([], [])


def test_one_transaction_pays_its_fee_once() -> None:
    same = {"sig": "one", "fee_payer": "wallet-a", "tip_lamports": 100}
    rows = [event(1, "BUY", 10, 1_000, outer_ix=n, mint=f"coin-{n}", **same) for n in range(2)]
    rows += [event(1, "BUY", 10, 1_000, outer_ix=2, wallet="wallet-b", **same)]
    costs = [row["open_cost_raw"] for row in Books(rows).held]
    assert sorted(costs) == [1_000, 1_000, 6_100]


def test_a_wallet_that_did_not_pay_bears_no_fee() -> None:
    (trip,) = Books([event(1, "BUY", 10, 1_000, fee_payer="somebody")]).held
    assert trip["open_cost_raw"] == 1_000


def test_a_coin_paid_in_dollars_has_no_sol_columns_and_notes_its_fees() -> None:
    rows = [event(1, "BUY", 10, 1_000, quote_mint=USDC), event(2, "SELL", 10, 1_500, quote_mint=USDC)]
    (trip,) = Books(rows).finished
    assert (trip["open_cost_raw"], trip["close_proceeds_raw"], trip["pnl_raw"]) == (1_000, 1_500, 500)
    assert [trip[f"{name}_lamports"] for name in ("open_cost", "close_proceeds", "pnl")] == [None] * 3
    assert json.loads(trip["meta_json"])["fee_lamports"] == 10_000


def test_quotes_are_kept_apart() -> None:
    rows = [event(1, "BUY", 10, 1_000), event(2, "BUY", 10, 1_500, quote_mint=USDC)]
    assert [row["quote_mint"] for row in Books(rows).held] == [WSOL, USDC]


def test_coins_sold_for_another_quote_leave_their_trip_incomplete_and_without_proceeds() -> None:
    rows = [event(1, "BUY", 100, 1_000, fee_payer="x"), event(2, "SELL", 40, 7_000, quote_mint=USDC)]
    books = Books([*rows, event(SLOTS_PER_DAY, "SELL", 60, 900, fee_payer="x")], 2)
    (half,) = books.open[0].to_pylist()
    assert (half["status"], half["basis"], half["close_qty_raw"], half["pnl_raw"]) == ("OPEN", "INCOMPLETE", 40, -400)
    (trip,) = books.finished
    assert (trip["status"], trip["basis"], trip["n_sells"], trip["pnl_raw"]) == ("CLOSED", "INCOMPLETE", 2, -100)
    assert json.loads(trip["meta_json"])["other_quotes"] == [USDC]


def test_a_bag_sold_for_another_quote_closes_and_never_dies() -> None:
    rows = [worthless(1), event(2, "SELL", 1_000, 9, quote_mint=USDC, reserve_base_raw=10**9, reserve_quote_raw=1)]
    books = Books(rows, 4)
    (trip,) = books.finished
    assert (trip["status"], trip["basis"], trip["close_sig"]) == ("CLOSED", "INCOMPLETE", "sig2")
    assert (books.held, TRADES.violations(books.trades[0])) == ([], ())


def test_only_what_the_own_quote_cannot_back_is_taken_from_another_oldest_first() -> None:
    others = [event(n, "BUY", 100, 1_000, quote_mint=quote) for n, quote in ((1, USDC), (2, "dollar-2"))]
    rows = [*others, event(3, "BUY", 50, 1_000), event(4, "SELL", 170, 3_000)]
    books = Books(rows)
    assert [(row["quote_mint"], row["close_qty_raw"], row["basis"]) for row in books.finished] == [
        (WSOL, 50, "INCOMPLETE"),
        (USDC, 100, "INCOMPLETE"),
    ]
    assert [(row["quote_mint"], row["close_qty_raw"], row["basis"]) for row in books.held] == [
        ("dollar-2", 20, "INCOMPLETE")
    ]


def test_events_of_no_coins_count_inside_an_open_trip_and_open_none() -> None:
    assert Books([event(1, "BUY", 0, 1_000), event(2, "SELL", 0, 10)]).held == []
    rows = [event(1, "BUY", 100, 1_000), event(2, "BUY", 0, 300), event(3, "SELL", 0, 70), event(4, "SELL", 100, 5_000)]
    (trip,) = Books([row | {"fee_payer": "x"} for row in rows]).finished
    assert (trip["n_buys"], trip["n_sells"], trip["open_cost_raw"], trip["close_proceeds_raw"]) == (2, 2, 1_300, 5_070)


@pytest.mark.parametrize("action", ["CREATE", "ADD", "REMOVE", "SWAP"])
def test_only_buys_and_sells_move_the_ledger(action: str) -> None:
    books = Books([event(1, action, 10, 10), event(2, "BUY", 10, 10), event(3, action, 10, 10)])
    assert [(row["n_buys"], row["open_qty_raw"]) for row in books.held] == [(1, 10)]


def test_venues_are_one_position() -> None:
    rows = [
        event(1, "BUY", 10, 1_000),
        event(2, "SELL", 10, 1_500, program="pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA"),
    ]
    assert len(Books(rows).finished) == 1


def worthless(slot: int, **other: object) -> Row:
    return event(slot, "BUY", 1_000, 5_000_000, reserve_base_raw=10**9, reserve_quote_raw=10**9, **other)


def test_a_bag_that_nobody_trades_and_nothing_bids_for_dies_as_a_loss() -> None:
    books = Books([worthless(1)], 4)
    assert [table.num_rows for table in books.trades] == [0, 0, 1, 0]
    (trip,) = books.finished
    assert (trip["status"], trip["was_win"], trip["pnl_lamports"]) == ("DEAD", False, -5_005_000)
    assert (trip["close_sig"], trip["close_ts_ns"], trip["hold_ms"]) == (None, None, None)
    assert books.held == []


@pytest.mark.parametrize(
    "alive",
    [
        {"reserve_quote_raw": 10**15},
        {"reserve_base_raw": None},
    ],
)
def test_a_bag_with_a_bid_or_an_unknown_pool_stays_open(alive: Row) -> None:
    assert [row["status"] for row in Books([worthless(1) | alive], 5).held] == ["OPEN"]


def test_somebody_elses_trade_keeps_a_coin_alive() -> None:
    rows = [worthless(1), worthless(2 * SLOTS_PER_DAY, wallet="wallet-z")]
    assert len(Books(rows, 4).held) == 2


def test_a_bag_that_died_and_is_bought_again_is_a_new_trip() -> None:
    rows = [
        worthless(1),
        event(4 * SLOTS_PER_DAY, "BUY", 7, 100, fee_payer="x"),
        event(4 * SLOTS_PER_DAY + 1, "SELL", 7, 300),
    ]
    statuses = [(row["status"], row["open_qty_raw"]) for row in Books(rows, 5).finished]
    assert statuses == [("DEAD", 1_000), ("CLOSED", 7)]


def test_transactions_without_an_index_come_first_and_are_not_mixed() -> None:
    unknown = [event(5, "BUY", 10, 100, sig=sig, tx_index=None, outer_ix=ix) for sig in ("b", "a") for ix in (1, 0)]
    ordered = in_chain_order(moves(lake_events([event(5, "SELL", 40, 400), *unknown]))).to_pylist()
    assert [(move["sig"], move["outer_ix"]) for move in ordered] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("b", 1),
        ("sig5", 0),
    ]
