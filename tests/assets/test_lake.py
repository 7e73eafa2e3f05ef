"""The files: equal rows give equal bytes, nothing half-written is ever seen, rules really run on the rows."""

from __future__ import annotations

import datetime as dt
import re
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytrader_assets import lake_root
from copytrader_assets.lake import Lake
from copytrader_assets.query import open_lake
from copytrader_assets.schemas import EVENTS, FOLLOW_EDGES, TABLES, Table
from copytrader_assets.screening import is_clean
from copytrader_core.errors import StoreError
from copytrader_core.files import data_dir

DAY = dt.date(2026, 3, 1)
ROWS = pa.table({"n": [1, 2, 3]})
MORE = pa.table({"n": [1, 2, 4]})


@pytest.fixture(params=["folder", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """The same must be true of a folder and of an object store."""
    return Lake.at(tmp_path / "lake" if request.param == "folder" else f"memory://{tmp_path.name}/lake")


def put(lake: Lake, rows: pa.Table, companion: pa.Table | None = None, **facts: str) -> str:
    staged = lake.stage("things", DAY, rows, facts, companion)
    lake.publish([staged])
    return staged.content_hash


def test_equal_rows_give_equal_bytes_however_they_are_chunked(lake: Lake) -> None:
    put(lake, ROWS, parent="x")
    first = lake.file("things", DAY).read_bytes()
    put(lake, pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)]), parent="x")
    assert lake.file("things", DAY).read_bytes() == first


def test_the_hash_follows_the_rows_and_the_companion_but_not_the_facts(lake: Lake) -> None:
    same = {put(lake, ROWS, MORE, parent="x"), put(lake, ROWS, MORE, parent="y")}
    others = {put(lake, ROWS), put(lake, MORE), put(lake, ROWS, ROWS)}
    assert len(same) == 1 and len(same | others) == 4


def test_a_staged_snapshot_is_invisible_until_it_is_published(lake: Lake) -> None:
    put(lake, ROWS)
    staged = lake.stage("things", DAY, MORE, {})
    assert lake.read("things", DAY).equals(ROWS)
    lake.publish([staged])
    assert lake.read("things", DAY).equals(MORE)


def test_a_crash_between_two_moves_leaves_the_old_snapshot_whole(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(lake, ROWS, ROWS)
    staged = lake.stage("things", DAY, MORE, {}, MORE)
    real = lake_root.move

    def crash(file: lake_root.Root, target: lake_root.Root) -> None:
        if file.suffix == ".parquet":
            raise KeyboardInterrupt
        real(file, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("copytrader_assets.lake.move", crash)
        lake.publish([staged])
    assert lake.read("things", DAY).equals(ROWS) and lake.read_companion("things", DAY).equals(ROWS)


def test_a_replaced_companion_is_removed(lake: Lake) -> None:
    put(lake, ROWS, ROWS)
    put(lake, MORE, MORE)
    assert lake.read_companion("things", DAY).equals(MORE)
    assert len(list(lake.file("things", DAY).parent.iterdir())) == 2


def test_sql_reads_the_lake_wherever_it_lies(lake: Lake) -> None:
    put(lake, ROWS)
    with open_lake(lake) as connection:
        assert connection.sql("SELECT sum(n), min(day) FROM things").fetchall() == [(6, DAY)]


def test_an_unknown_kind_of_store_is_named() -> None:
    with pytest.raises(StoreError, match="nowhere://lake cannot be reached"):
        Lake.at("nowhere://lake")


def test_what_is_discarded_leaves_nothing(lake: Lake) -> None:
    lake.discard([lake.stage("things", DAY, ROWS, {})])
    assert list((lake.root / ".staging").iterdir()) == [] and lake.days("things") == []


def test_only_what_a_killed_run_left_long_ago_is_swept_away(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    new = lake.stage("things", DAY, ROWS, {})
    with monkeypatch.context() as long_ago:
        long_ago.setattr(time, "time", lambda: 1_000_000.0)
        old = lake.stage("things", DAY, ROWS, {})
    lake.sweep(3_600)
    assert not old.folder.exists() and new.folder.exists()


def test_a_missing_day_names_the_command_to_run(lake: Lake) -> None:
    with pytest.raises(StoreError, match="copytrader materialize --from 2026-03-01 --to 2026-03-01"):
        lake.read("things", DAY)


def edges(**changes: object) -> pa.Table:
    row: dict[str, object] = dict.fromkeys(FOLLOW_EDGES.names)
    row |= {"leader": "a", "follower": "b", "as_of": DAY, "follow_prob_5s": 0.5, "n_followed": 5} | changes
    return FOLLOW_EDGES.conform(
        pa.Table.from_pylist([row], pa.schema([f.with_nullable(True) for f in FOLLOW_EDGES.arrow]))
    )


def test_good_rows_keep_the_rules() -> None:
    assert FOLLOW_EDGES.violations(edges()) == ()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"follow_prob_5s": 1.5}, "follow_prob_5s <= 1"),
        ({"n_followed": -1}, "n_followed >= 0"),
        ({"follower": None}, "follower is not NULL"),
        ({"follower": "a"}, "nobody follows himself"),
    ],
)
def test_a_broken_rule_is_named_with_its_row(changes: dict[str, object], rule: str) -> None:
    (violation,) = FOLLOW_EDGES.violations(edges(**changes))
    assert violation.rule == rule and violation.keys[0].startswith("a/")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "follower": st.sampled_from(["a", "b", "c", "d", None]),
                "follow_prob_5s": st.sampled_from([0.0, 0.5, 1.0, 1.5, -0.1, None]),
                "n_followed": st.sampled_from([0, 5, -1, None]),
            }
        ),
        max_size=3,
    )
)
def test_the_screen_lets_exactly_those_rows_pass_in_which_pandera_finds_nothing(rows: list[dict[str, Any]]) -> None:
    table = FOLLOW_EDGES.conform(pa.concat_tables([edges().slice(0, 0), *(edges(**row) for row in rows)]))
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    assert is_clean(FOLLOW_EDGES, table, frame) == (FOLLOW_EDGES._named_violations(frame) == ())


def test_duplicates_are_found_and_only_the_first_ten_are_named() -> None:
    rows = pa.concat_tables([edges(follower=f"f{n}") for n in range(8)] * 2)
    (violation,) = FOLLOW_EDGES.violations(FOLLOW_EDGES.conform(rows))
    assert violation.rule == "unique leader+follower"
    assert violation.rows == 16 and len(violation.keys) == 10


@pytest.mark.parametrize(
    ("table", "missing"),
    [
        ("wallet_patterns", {"release_id", "updated_at"}),
        *(
            (name, {"release_id"})
            for name in ("follow_edges", "leader_inflow", "copy_value", "leader_exits", "landings")
        ),
    ],
)
def test_lake_columns_are_the_columns_of_postgres(table: str, missing: set[str]) -> None:
    assert set(TABLES[table].names) == postgres_columns(table) - missing


def test_trades_and_events_have_the_columns_of_postgres() -> None:
    assert set(EVENTS.names) == postgres_columns("raw_events")
    assert set(TABLES["trades"].names) == postgres_columns("trades") - {"trade_id", "close_day"}
    assert TABLES["open_positions"].names == TABLES["trades"].names


def postgres_columns(table: str) -> set[str]:
    """The columns that the migrations create and add."""
    text = "\n".join(file.read_text() for file in sorted((data_dir("sql") / "migrations").glob("*.sql")))
    body = re.split(rf"CREATE TABLE (?:IF NOT EXISTS )?{table} \(", text)[1].split("\n);")[0]
    words = [line.split()[0] for line in body.splitlines() if line.strip()]
    added = [
        name
        for change in re.findall(rf"ALTER TABLE {table}\n([^;]*);", text)
        for name in re.findall(r"ADD COLUMN (\w+)", change)
    ]
    return {word for word in [*words, *added] if word.islower()}


def test_a_missing_column_is_refused() -> None:
    table: Table = EVENTS
    with pytest.raises(pa.ArrowInvalid, match="lacks the columns"):
        table.conform(ROWS)
