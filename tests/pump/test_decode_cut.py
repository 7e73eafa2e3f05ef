"""Cut, altered and extended material: an error or the right rows, never other rows."""

import base64
import random
from dataclasses import replace

import pytest

from copytrader_core.pump.decode import decode
from copytrader_core.pump.emissions import EVENT_CALL_PREFIX, programs_in
from copytrader_core.solana.transaction import RawTransaction
from tests.pump.planted import LONG_AGO, NOW, key, landed, pump_call, trade_event
from tests.pump.recorded import from_json, json_files

ROW_EVENTS = {"TradeEvent", "BuyEvent", "SellEvent", "CreateEvent"}
# The eight unnamed bytes of 2026-10-19 carry nothing, and the program of 2026-10-09 writes none: without them an event
# is whole by all that can be known.
UNNAMED = 8


def row_events(tx: RawTransaction):
    """(top-level index, inner index, event bytes) of every event that gives a row."""
    programs = programs_in(tx.account_keys)
    for outer, group in tx.inner.items():
        for at, ix in enumerate(group):
            program = programs.get(ix.program_index)
            if program and ix.data[:8] == EVENT_CALL_PREFIX:
                codec = program.interface.events[ix.data[8:16]]
                if codec.name in ROW_EVENTS:
                    yield outer, at, ix.data[8:]


def with_event(tx: RawTransaction, outer: int, at: int, data: bytes, *, logs: str) -> RawTransaction:
    """`tx` with other bytes for one event: in its call alone, in its log line too, or with no logs at all."""
    group = list(tx.inner[outer])
    old = "Program data: " + base64.b64encode(group[at].data[8:]).decode()
    new = "Program data: " + base64.b64encode(data).decode()
    group[at] = group[at]._replace(data=EVENT_CALL_PREFIX + data)
    lines = {
        "kept": tx.logs,
        "altered": tuple(new if line == old else line for line in tx.logs or ()),
        "none": None,
    }[logs]
    return replace(tx, inner={**tx.inner, outer: tuple(group)}, logs=lines)


def is_missing_only_that_event(tx, outer, at, data, logs):
    whole = decode(tx).events
    found = decode(with_event(tx, outer, at, data, logs=logs))
    return (
        bool(found.problems)
        and len(found.events) < len(whole)
        and set(map(repr, found.events)) <= set(map(repr, whole))
    )


@pytest.mark.parametrize("logs", ["kept", "altered", "none"])
def test_an_event_cut_anywhere_gives_no_row_and_a_problem(shared, logs):
    draw = random.Random(logs)
    for file in json_files(shared):
        tx = from_json(file)
        for outer, at, data in row_events(tx) if not tx.failed else ():
            lengths = {*range(len(data) - 140, len(data)), *draw.sample(range(len(data)), 40)}
            for length in lengths:
                if logs != "kept" and length == len(data) - UNNAMED and has_unnamed(tx, data):
                    continue
                assert is_missing_only_that_event(tx, outer, at, data[:length], logs), (file.stem[:8], length)


def has_unnamed(tx, data):
    return (tx.block_time or 0) > 1_792_405_979 and data[-UNNAMED:] == bytes(UNNAMED)


@pytest.mark.parametrize("logs", ["altered", "none"])
def test_an_event_cut_to_any_older_layout_gives_no_row(shared, logs):
    layouts = {
        "TradeEvent": [113, 129, 225, 258, 262, 263, 279, 355, 371],
        "BuyEvent": [312, 360, 393, 405, 421, 437, 462, 478],
        "SellEvent": [312, 360, 376, 392, 417, 433],
    }
    for file in json_files(shared):
        tx = from_json(file)
        programs = programs_in(tx.account_keys)
        for outer, at, data in row_events(tx) if not tx.failed else ():
            name = programs[tx.inner[outer][at].program_index].interface.events[data[:8]].name
            for size in layouts.get(name, []):
                for n in (0, 3, 4, 6, 16, 18, 21):
                    if size + n < len(data) - UNNAMED:
                        assert is_missing_only_that_event(tx, outer, at, data[: size + n], logs), (file.stem[:8], size)


def test_bytes_that_a_later_program_appends_change_nothing():
    whole = trade_event(fee=50, creator_fee=15)
    (expected,) = decode(bought(whole)).events
    for more in (1, 8, 13, 400):
        assert decode(bought(whole + b"\x07" * more)).events == (expected,)


def bought(event, **landing):
    return landed(pump_call("buy", [key("global"), key("coin"), key("trader")], [event]), **landing)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fee_basis_points": 10_001}, "above"),
        ({"ix_name": "Buy it!"}, "ix_name"),
        ({"mint": key("stranger")}, "mint"),
        ({"timestamp": -5}, "negative"),
        ({"is_buy": 2}, "is_buy"),
        ({"is_buy": False, "fee": 6_000}, "proceeds"),
    ],
)
def test_values_that_no_event_can_hold_are_refused(change, reason):
    found = decode(bought(trade_event(**change)))
    assert not found.events
    assert reason in found.problems[0].reason


@pytest.mark.parametrize(
    ("last", "when"),
    [
        ("virtual_token_reserves", 1_716_500_000),
        ("real_token_reserves", LONG_AGO),
        ("creator_fee", 1_750_000_000),
        ("last_update_timestamp", 1_758_000_000),
        ("ix_name", 1_762_000_000),
        ("mayhem_mode", 1_768_000_000),
        ("cashback", 1_772_000_000),
        ("real_quote_reserves", 1_781_000_000),
        ("holder_rewards", 1_790_000_000),
        ("creator_fee_unclaimed", NOW),
        ("unnamed_tail", NOW),
    ],
)
def test_each_layout_is_read_in_its_own_time_and_refused_a_year_later(last, when):
    found = decode(bought(trade_event(last, timestamp=when)))
    assert [row.base_raw for row in found.events] == [1_000]
    later = decode(bought(trade_event(last, timestamp=when + 365 * 86_400)))
    assert bool(later.events) == (last in ("creator_fee_unclaimed", "unnamed_tail"))


def test_a_cut_event_hides_only_itself():
    whole, cut = trade_event(token_amount=7), trade_event("mayhem_mode")
    tx = landed(
        pump_call("buy", [key("coin")], [whole]),
        pump_call("buy", [key("coin")], [cut]),
        pump_call("buy", [key("coin")], [whole]),
    )
    found = decode(tx)
    assert [(row.outer_ix, row.base_raw) for row in found.events] == [(0, 7), (2, 7)]
    assert [problem.path for problem in found.problems] == ["1.-1"]
    assert found.problems[0].data == cut
