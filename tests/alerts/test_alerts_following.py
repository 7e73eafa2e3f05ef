"""What is followed: conditions that no line tells, and lines wherever they have gone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fake_bot import FakeBot
from psycopg.types.json import Jsonb

from copytrader_cli.alerts.alert import Alert, told_by
from copytrader_cli.alerts.box import Channel, Position
from copytrader_cli.alerts.conditions import Conditions, changes
from copytrader_cli.alerts.journal_lines import JournalLines
from copytrader_cli.watch.ingest import Gap, Ingest
from copytrader_cli.watch.look import Facts
from executor.control import Control
from executor.status import StatusReader
from executor.wal import Wal
from tests.executor.journal_lines import line

INGEST = Ingest(1_000, 990.0, 999.0, 1_000.0, 0, 0, [])


def facts(home: Path, *, ingest: Ingest | None = INGEST, away: str | None = None, **status: Any) -> Facts:
    known = StatusReader("paper", home).read(None, away)
    row = Control("ACTIVE") if away is None else None
    known = replace(known, **({"row": row, "state": "ACTIVE", "reason": None, "source": "journal"} | status))
    return Facts("paper", known, None, away, ingest, [], None, None, 1_000.0)


def said(before: Conditions, now: Facts) -> tuple[Conditions, list[str]]:
    after, told = changes(before, now, 60.0)
    return after, [text for _, text in told]


def test_the_end_of_the_executor_is_told_once(tmp_path: Path) -> None:
    first, nothing = said(Conditions(), facts(tmp_path, running=True))
    second, told = said(first, facts(tmp_path, running=False))
    _, again = said(second, facts(tmp_path, running=False))
    assert (nothing, again) == ([], []) and "not running any more" in told[0]


def test_an_executor_that_never_ran_is_no_news(tmp_path: Path) -> None:
    assert said(Conditions(), facts(tmp_path, running=False))[1] == []


def test_an_executor_elsewhere_is_not_missed_while_only_the_database_is_away(tmp_path: Path) -> None:
    first, _ = said(Conditions(), facts(tmp_path, running=True, source="tables"))
    _, told = said(first, facts(tmp_path, away="no answer", ingest=None, running=False, source="none"))
    assert told == []


def test_a_state_set_while_nobody_trades_is_told_and_a_database_away_is_no_state(tmp_path: Path) -> None:
    first, _ = said(Conditions(), facts(tmp_path))
    second, nothing = said(first, facts(tmp_path, away="no answer", ingest=None, state="REDUCING"))
    _, told = said(second, facts(tmp_path, state="HALTED", reason="by command"))
    assert nothing == [] and told == ["HALTED: by command; no paper executor is running"]


def test_lag_is_told_when_it_begins_and_when_it_has_halved(tmp_path: Path) -> None:
    told: list[str] = []
    before = Conditions()
    for lag in (10, 61, 200, 40, 61, 29):
        before, new = said(before, facts(tmp_path, ingest=replace(INGEST, block_time=1_000.0 - lag)))
        told += new
    assert told == ["Ingest is 61 s behind the chain, at slot 1000", "Ingest has caught up: 29 s behind"]


def test_gaps_are_told_when_they_grow_and_when_all_are_closed(tmp_path: Path) -> None:
    told: list[str] = []
    before = Conditions()
    for missing in (0, 3, 3, 5, 2, 0):
        gaps = [Gap(10, 10 + missing, "reconnect", 0.0)] if missing else []
        ingest = replace(INGEST, n_gaps=len(gaps), missing_slots=missing, gaps=gaps)
        before, new = said(before, facts(tmp_path, ingest=ingest))
        told += new
    assert [text.split(",")[0] for text in told] == [
        "3 slots are missing",
        "5 slots are missing",
        "No slot is missing any more",
    ]


def test_a_database_that_is_away_for_a_moment_is_no_news(tmp_path: Path) -> None:
    gone = facts(tmp_path, away="it is away", ingest=None)
    first, nothing = said(Conditions(), gone)
    second, told = said(first, replace(gone, at=1_031.0))
    third, again = said(second, replace(gone, at=1_100.0))
    _, back = said(third, facts(tmp_path))
    assert (nothing, again) == ([], []) and "Postgres is away: it is away" in told[0] and back == ["Postgres is back"]


def test_conditions_outlive_the_process() -> None:
    kept = Conditions(running=True, late=False, missing_slots=4).document()
    assert Conditions.from_document(kept | {"of a later version": 1}) == Conditions(
        running=True, late=False, missing_slots=4
    )


@pytest.mark.parametrize("kind", ["SETTINGS", "PEAK", "CONFIRMED", "a kind of a later version"])
def test_most_lines_are_not_worth_telling(kind: str) -> None:
    assert told_by(line(kind), {}) is None


def test_names_are_told_instead_of_addresses_where_they_are_known() -> None:
    bought = line("FILL", {"side": "BUY", "cost_lamports": 10**9}, leader="w" * 44, mint="m" * 44)
    assert told_by(bought, {"w" * 44: "ann"}) == ("trades", "Bought mmmmm…mmmm after ann for 1.0000 SOL")


def test_a_message_holds_no_more_than_telegram_takes() -> None:
    channel = Channel()
    for n in range(100):
        channel.put(Alert(str(n), "trades", 0, "x" * 100, loud=False), keep=1_000)
    sizes = []
    while alerts := channel.take():
        sizes.append(sum(len(alert.line) + 1 for alert in alerts))
        channel.sent()
    assert max(sizes) <= 4_096 and len(sizes) == 4


# Where lines are.


def test_lines_that_the_files_have_lost_come_from_postgres(pg_url: str, home: Path) -> None:
    folder = home / "executor" / "paper"
    wal = Wal(folder)
    lines = JournalLines(folder, "paper")
    start = lines.read(None).position
    written = [line("TRIPPED", {"reason": f"number {n}"}, release_id=None) for n in range(4)]
    for one in written:
        wal.append(one)
    _project(pg_url, wal.journal_id, written[:3])
    wal.rotate({})
    wal.drop_before(wal.seq)
    told = []
    position = start
    for _ in range(4):
        news = lines.read(position)
        told += [one["payload"]["reason"] for one in news.lines]
        position = news.position
    wal.close()
    lines.close()
    # The fourth is nowhere: it is counted, and the reading goes on.
    assert told == ["number 0", "number 1", "number 2"] and position.seq == 4


def _project(url: str, journal_id: str, lines: list[dict[str, Any]]) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO exec_projection VALUES ('paper', %s, %s)", (journal_id, len(lines)))
        for one in lines:
            connection.execute(
                "INSERT INTO exec_journal (run_id, mode, at_ns, kind, payload, journal_seq, changes)"
                " VALUES ('r', 'paper', %s, %s, %s, %s, '[]')",
                (one["at_ns"], one["kind"], Jsonb(one["payload"]), one["seq"]),
            )


def test_a_journal_on_another_machine_is_followed_through_postgres(pg_url: str, home: Path) -> None:
    lines = JournalLines(home / "executor" / "paper", "paper")
    start = lines.read(None).position
    written = [line("TRIPPED", {"reason": "far away"}) | {"seq": n + 1} for n in range(2)]
    _project(pg_url, "there", written)
    news = lines.read(start)
    assert [one["payload"]["reason"] for one in news.lines] == ["far away"] * 2
    assert news.position == Position("there", 2) and lines.read(news.position).lines == []
    lines.close()


def test_a_new_journal_is_read_from_its_first_line(home: Path) -> None:
    wal = Wal(home / "executor" / "paper")
    wal.append(line("RUN", {"state": "ACTIVE"}))
    news = JournalLines(wal.folder, "paper").read(Position("the one before", 77))
    wal.close()
    assert [one["kind"] for one in news.lines] == ["RUN"] and news.position.journal_id == wal.journal_id


async def test_a_gap_in_the_record_reaches_the_phone(pg_url: str, bot: FakeBot, journal: Wal, running: Any) -> None:
    with psycopg.connect(pg_url) as connection:
        connection.execute(
            "INSERT INTO ingest_checkpoint (stream, slot, block_time) VALUES ('confirmed', 7, %s)", (int(time.time()),)
        )
    async with running():
        with psycopg.connect(pg_url) as connection:
            connection.execute("INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (3, 5, 'reconnect')")
        assert "3 slots are missing, the newest 3 to 5: reconnect" in await bot.until("missing")
