"""Whatever happens, and however the day is cut into buckets, parts and orders: the independent ledger's integers."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytrader_assets.analysis.coin_facts import CoinFacts
from copytrader_assets.analysis.moves import in_chain_order
from copytrader_core.records import WSOL
from copytrader_core.settings import LedgerSettings
from tests.assets.books import Books, lake_events
from tests.assets.conftest import plain
from tests.assets.oracle import expected
from tests.assets.planted import SLOTS_PER_DAY, USDC, Market, Row, day, event

DAYS = 5
LARGEST = 2**64 - 1
AMOUNTS = st.sampled_from([0, 1, 2, 3, 7, 999, 1000, 1001, 10**6, 10**12, 2**53 + 1, 2**63, LARGEST - 1, LARGEST])
WALLETS = ["wallet-a", "wallet-b", "wallet-c"]
QUOTES = [WSOL, WSOL, USDC, "dollar-2"]


@st.composite
def transactions(draw: st.DrawFn) -> list[Row]:
    """Transactions of one to three events each, on random days, of several wallets, coins and quotes."""
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 14))):
        slot = draw(st.integers(0, DAYS - 1)) * SLOTS_PER_DAY + draw(st.integers(0, 3)) * 50_000 + number
        payer = draw(st.sampled_from(WALLETS))
        sig = f"{draw(st.integers(0, 9))}-{number}"
        fee, tip = draw(st.sampled_from([0, 5_000, 2**62])), draw(st.sampled_from([0, 7, 2**62]))
        for place in range(draw(st.integers(1, 3))):
            rows.append(
                event(
                    slot,
                    draw(st.sampled_from(["BUY", "BUY", "SELL", "SELL", "SWAP"])),
                    draw(AMOUNTS),
                    draw(AMOUNTS),
                    wallet=draw(st.sampled_from([payer, payer, *WALLETS])),
                    mint=draw(st.sampled_from(["coin-a", "coin-b"])),
                    quote_mint=draw(st.sampled_from(QUOTES)),
                    fee_payer=payer,
                    tx_index=number,
                    sig=sig,
                    outer_ix=draw(st.sampled_from([place, place + 9])) if place else 0,
                    event_seq=place,
                    tx_fee_lamports=fee,
                    tip_lamports=tip,
                    reserve_base_raw=draw(st.sampled_from([10**9, LARGEST])),
                    reserve_quote_raw=draw(st.sampled_from([0, 10**5, 10**7, LARGEST])),
                )
            )
    return rows


@settings(max_examples=60, deadline=None)
@given(transactions(), st.sampled_from([1, 3, 16]), st.randoms(use_true_random=False))
def test_any_history_in_any_order_and_any_number_of_buckets_equals_the_independent_ledger(
    rows: list[Row], buckets: int, shuffle: random.Random
) -> None:
    rows = sorted(rows, key=lambda row: (row["slot"], row["outer_ix"], row["event_seq"]))
    truth = expected(rows, [day(n) for n in range(DAYS)])
    shuffle.shuffle(rows)
    books = Books(rows, DAYS, buckets=buckets)
    for number in range(DAYS):
        assert plain(books.trades[number]) == truth[day(number)][0]
        assert plain(books.open[number]) == truth[day(number)][1]


@pytest.mark.parametrize("buckets", [3, 16])
def test_buckets_change_no_row_and_no_order(buckets: int) -> None:
    rows = Market(11, days=3, events_per_day=300, wallets=40).rows
    whole, cut = Books(rows, 3), Books(rows, 3, buckets=buckets)
    assert whole.trades == cut.trades
    assert whole.open == cut.open
    assert whole.carry.stored() == cut.carry.stored()


@pytest.mark.parametrize("seed", range(3))
def test_days_that_end_anywhere_give_the_same_round_trips_as_one_long_day(seed: int) -> None:
    """Without the end of a day nothing dies; what closes, closes alike wherever the days are cut."""
    rows = Market(seed, days=1, events_per_day=300).rows
    cut = random.Random(seed).choices(range(SLOTS_PER_DAY), k=3)
    later = [row | {"ts_ns": row["ts_ns"] + sum(row["slot"] > c for c in cut) * 86_400 * 10**9} for row in rows]
    one, four = Books(rows), Books(later, 4)
    assert [unclocked(row) for row in one.finished] == [unclocked(row) for row in four.finished]
    assert len(one.held) == len(four.held)


def unclocked(row: Row) -> Row:
    return {
        name: value
        for name, value in row.items()
        if not name.endswith("ts_ns") and name not in ("hold_ms", "meta_json")
    }


def test_a_market_of_seventy_thousand_events_equals_the_independent_ledger() -> None:
    rows = Market(70, days=3, events_per_day=15_000, wallets=12, coins=6).rows
    assert len(rows) > 70_000
    books = Books(rows, 3, buckets=3)
    truth = expected(rows, [day(n) for n in range(3)])
    for number in range(3):
        assert plain(books.trades[number]) == truth[day(number)][0]
        assert plain(books.open[number]) == truth[day(number)][1]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_coin_facts_do_not_depend_on_the_parts_in_which_the_events_are_read(size: int) -> None:
    rows = Market(2, days=1, events_per_day=200).rows
    for row in rows:
        row["swap_fee_raw"] = None if row["slot"] % 3 else (row["quote_raw"] or 0) // 80
    events = in_chain_order(lake_events(rows))
    whole, facts = CoinFacts.nothing().after(events), CoinFacts.nothing()
    for start in range(0, events.num_rows, size):
        facts = facts.after(events.slice(start, size))
    for table, other in ((whole.trades, facts.trades), (whole.marks, facts.marks)):
        assert sorted(map(str, table.to_pylist())) == sorted(map(str, other.to_pylist()))


def test_texts_that_need_escapes_stand_in_the_json_as_they_are() -> None:
    odd = 'a "quoted"\\ \t\n sig é'
    rows = [event(1, "BUY", 10, 100), event(2, "SELL", 4, 70, sig=odd), event(3, "SELL", 2, 9, quote_mint='q"\\')]
    meta = json.loads(Books(rows).held[0]["meta_json"])
    assert meta["legs"][0]["sig"] == odd and meta["other_quotes"] == ['q"\\']


def bag(**other: object) -> Row:
    return event(1, "BUY", 10**9, 10**9, reserve_base_raw=10**12, reserve_quote_raw=30 * 10**9, **other)


def mark_of(rows: list[Row], **rules: float) -> int | None:
    meta = json.loads(Books(rows, rules=LedgerSettings(**rules)).held[0]["meta_json"])
    return meta["mark_quote_raw"]


def test_an_open_position_is_marked_at_what_it_would_bring_after_the_fee_that_its_coin_last_paid() -> None:
    gross = 30 * 10**9 * 10**9 // (10**12 + 10**9)
    assert mark_of([bag(swap_fee_raw=0)]) == gross
    assert mark_of([bag(swap_fee_raw=10**7)]) == gross - -(-gross * 10_102 // 10**6)
    assert mark_of([bag(swap_fee_raw=None)], mark_fee_ppm=20_000) == gross - -(-gross * 2 // 100)


def test_a_trade_of_next_to_nothing_does_not_tell_the_fee() -> None:
    rows = [
        bag(swap_fee_raw=0),
        event(2, "BUY", 1, 10, swap_fee_raw=3, reserve_base_raw=10**12, reserve_quote_raw=10**9),
    ]
    assert mark_of(rows) == 10**9 * (10**9 + 1) // (10**12 + 10**9 + 1)


def test_a_position_whose_reserves_nobody_saw_has_no_mark() -> None:
    assert mark_of([bag() | {"reserve_base_raw": None}]) is None


def test_the_stored_state_is_read_back_as_it_was() -> None:
    books = Books(Market(8, days=3, events_per_day=200).rows, 3)
    again = type(books.carry).read(books.open[-1], books.carry.stored())
    assert again.held.to_pylist() == books.carry.held.to_pylist()
    assert again.written_off.to_pylist() == books.carry.written_off.to_pylist()


def test_the_stored_state_does_not_say_twice_what_the_positions_say() -> None:
    stored = Books([event(1, "BUY", 10, 100)]).carry.stored()
    assert isinstance(stored, pa.Table) and "open_sig" not in stored.column_names
