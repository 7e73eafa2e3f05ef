"""Which events of a day the tracked wallets' facts need: those in the stretches, and the price that stood before."""

from __future__ import annotations

import random

import pyarrow as pa

from copytrader_assets.analysis.price_path import EVENT_COLUMNS
from copytrader_assets.analysis.stretches import OPEN_END, Watch, stretches
from copytrader_assets.schemas import EVENTS

Row = dict[str, object]
SCHEMA = pa.schema([EVENTS.arrow.field(name).with_nullable(True) for name in EVENT_COLUMNS])


def trips(*rows: tuple[str, int, int | None]) -> pa.Table:
    names = ("mint", "open_slot", "close_slot")
    kinds = (pa.string(), pa.int64(), pa.int64())
    columns = [pa.array([row[n] for row in rows], kind) for n, kind in enumerate(kinds)]
    return pa.Table.from_arrays(columns, names=names)


def own(*rows: tuple[str, int]) -> pa.Table:
    return (
        trips(*((mint, slot, None) for mint, slot in rows))
        .select(["mint", "open_slot"])
        .rename_columns(["mint", "slot"])
    )


def event(mint: str, slot: int, quote_mint: str = "sol", action: str = "BUY", reserve: int | None = 9) -> Row:
    row: Row = dict.fromkeys(EVENT_COLUMNS)
    return row | {
        "mint": mint,
        "slot": slot,
        "quote_mint": quote_mint,
        "action": action,
        "reserve_base_raw": reserve,
        "reserve_quote_raw": reserve,
    }


def picked(needed: pa.Table, *parts: list[Row]) -> list[tuple[object, object, object]]:
    watch = Watch(needed)
    tables = [watch.picked(pa.Table.from_pylist(part, schema=SCHEMA)) for part in parts]
    last = watch.picked(pa.concat_tables(tables))
    return [(row["mint"], row["slot"], row["quote_mint"]) for row in last.to_pylist()]


def test_trips_and_trades_that_overlap_are_one_stretch_and_others_stand_apart() -> None:
    found = stretches(trips(("a", 10, 20), ("a", 15, 30), ("b", 12, None)), own(("a", 30), ("a", 31), ("c", 5)))
    assert sorted(tuple(row.values()) for row in found.to_pylist()) == [
        ("a", 10, 30),
        ("a", 31, 31),
        ("b", 12, OPEN_END),
        ("c", 5, 5),
    ]


def test_nothing_traded_needs_nothing() -> None:
    assert picked(stretches(trips(), own()), [event("a", 1)]) == []


def test_of_what_came_before_only_the_newest_price_of_each_quote_is_kept() -> None:
    needed = stretches(trips(("a", 10, 20)), own())
    early = [event("a", 1), event("a", 2, "usd"), event("a", 3), event("b", 4), event("a", 5, reserve=None)]
    late = [event("a", 10), event("a", 11, action="CREATE"), event("a", 20), event("a", 21)]
    assert picked(needed, early, late) == [("a", 2, "usd"), ("a", 3, "sol"), ("a", 10, "sol"), ("a", 20, "sol")]


def test_a_price_within_an_earlier_stretch_is_not_given_twice() -> None:
    needed = stretches(trips(("a", 10, 12), ("a", 20, 22)), own())
    assert picked(needed, [event("a", 11)], [event("a", 21)]) == [("a", 11, "sol"), ("a", 21, "sol")]


def test_any_parts_give_what_one_look_at_every_event_gives() -> None:
    dice = random.Random(4)
    for _ in range(200):
        spans = [("abc"[dice.randrange(3)], start, start + dice.randrange(6)) for start in dice.sample(range(60), 6)]
        rows = [
            event("abcd"[dice.randrange(4)], slot, dice.choice(["sol", "usd"]), reserve=dice.choice([9, 9, None, 0]))
            for slot in sorted(dice.choices(range(70), k=60))
        ]
        cuts = sorted(dice.sample(range(1, 60), 3))
        parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, 60], strict=True)]
        assert picked(stretches(trips(*spans), own()), *parts) == _expected(rows, spans)


def _expected(rows: list[Row], spans: list[tuple[str, int, int]]) -> list[tuple[object, object, object]]:
    def is_inside(mint: object, slot: int) -> bool:
        return any(mint == coin and since <= slot <= until for coin, since, until in spans)

    kept = {n for n, row in enumerate(rows) if is_inside(row["mint"], int(str(row["slot"])))}
    for coin, since, _ in spans:
        for quote in ("sol", "usd"):
            older = [
                n
                for n, row in enumerate(rows)
                if (row["mint"], row["quote_mint"]) == (coin, quote)
                and int(str(row["slot"])) < since
                and (n in kept or row["reserve_base_raw"])
            ]
            newest = max((int(str(rows[n]["slot"])) for n in older), default=-1)
            if not any(is_inside(coin, slot) for slot in range(newest, since)):
                kept |= {n for n in older if rows[n]["slot"] == newest}
    return [(rows[n]["mint"], rows[n]["slot"], rows[n]["quote_mint"]) for n in sorted(kept)]
