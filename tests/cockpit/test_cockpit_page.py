"""What the page tells, with everything there and with anything missing. Nothing is invented."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import psycopg
import pytest

from copytrader_cli.cockpit.panels import panels, pnl_line
from copytrader_cli.cockpit.words import ago
from copytrader_cli.watch.guards import CodesToday
from copytrader_cli.watch.look import Facts, Looker
from copytrader_core.records import WSOL
from executor.control import Control, write_control
from executor.locks import set_lock
from executor.wal import Wal, segments_of
from tests.executor.journal_lines import DAY, NOON, decided, line
from tests.executor.planted_market import address, publish

Journal = Callable[..., Wal]


def opened(name: str = "p", *, at_ns: int, leader: str = "ann", **payload: Any) -> dict[str, Any]:
    """A line that opens a position of 0.75 SOL, out after 6 s, killed at 20 s."""
    plan = {"timer_ms": 6_000, "kill_ms": 20_000, "target_x": 1.5}
    facts = {"position_id": name, "leader": leader, "leader_sig": "s", "mint": f"coin-{name}", "slot": 7, "base_raw": 5}
    row = facts | {"ts_ns": at_ns, "cost_lamports": 750_000_000, "payload": {"plan": plan} | payload, "mode": "paper"}
    return line("FILL", {"side": "BUY"}, at_ns=at_ns, slot=7, changes=[["open_position", row]])


def closed(name: str, proceeds: int, *, at_ns: int) -> dict[str, Any]:
    values = {"position_id": name, "proceeds_lamports": proceeds, "reason": "timer", "ts_ns": at_ns, "payload": {}}
    payload = {"side": "SELL", "pnl_lamports": proceeds - 750_000_000}
    return line("FILL", payload, at_ns=at_ns, slot=9, changes=[["close_position", values]])


@pytest.fixture
def folder(home: Path) -> Path:
    return home / "executor"


@pytest.fixture
def journal(folder: Path) -> Any:
    """Writes lines as an executor would, and stays open as if it ran."""
    wal = Wal(folder / "paper")

    def write(*lines: dict[str, Any]) -> Wal:
        for one in lines:
            wal.append(one)
        return wal

    yield write
    wal.close()


async def look(folder: Path) -> Facts:
    looker = Looker("paper", folder)
    try:
        return await looker.look()
    finally:
        looker.close()


async def shown(folder: Path) -> dict[str, str]:
    return {name: unescape(text) for name, text in panels(await look(folder)).items()}


async def test_where_nothing_is_each_part_says_so(folder: Path) -> None:
    parts = await shown(folder)
    assert "whether one runs on another machine is not known" in parts["notes"] and "Postgres is away" in parts["notes"]
    for name in ("tiles", "positions", "leaders", "guards", "decisions"):
        assert "not known" in parts[name].lower() or "none yet" in parts[name]
    assert '<b class="">0</b>' not in parts["tiles"] and "0.0000" not in "".join(parts.values())


async def test_a_fresh_database_gives_no_numbers_either(pg_url: str, folder: Path) -> None:
    parts = await shown(folder)
    assert "no slot has been recorded" in parts["tiles"] and "the journal is empty" in parts["tiles"]
    assert "Nothing has been released yet" in parts["leaders"] and "Postgres is away" not in parts["notes"]
    assert "+0.0000" not in parts["tiles"]


async def test_positions_have_clocks_that_the_page_counts_down(folder: Path, journal: Journal) -> None:
    now = time.time_ns()
    journal(opened(at_ns=now))
    parts = await shown(folder)
    ends = [now // 1_000_000 + 6_000, now // 1_000_000 + 20_000]
    assert [f'data-until="{end}"' in parts["positions"] for end in ends] == [True, True]
    assert "target 1.5" in parts["positions"] and "0.750" in parts["positions"]


async def test_with_the_executor_gone_the_clocks_go_on_and_that_is_said(folder: Path) -> None:
    wal = Wal(folder / "paper")
    wal.append(opened(at_ns=time.time_ns()))
    wal.close()
    parts = await shown(folder)
    assert "data-until" in parts["positions"] and "nobody sells when these clocks" in parts["positions"]


async def test_the_clocks_of_a_market_of_the_past_stand_still(folder: Path) -> None:
    wal = Wal(folder / "paper")
    wal.append(opened(at_ns=NOON))
    wal.close()
    parts = await shown(folder)
    assert "data-until" not in parts["positions"] and "clocks stand where it does" in parts["positions"]
    assert "not running; 1 position waits for it" in parts["notes"]


async def test_an_exit_that_waits_is_an_alarm(folder: Path, journal: Journal) -> None:
    journal(opened(at_ns=time.time_ns(), due="timer", waiting="NO_QUOTE"))
    parts = await shown(folder)
    assert "1 due exit waits: NO_QUOTE" in parts["notes"] and "due: timer, NO_QUOTE" in parts["positions"]


async def test_todays_line_adds_up_to_todays_result(folder: Path, journal: Journal) -> None:
    yesterday = [opened("a", at_ns=NOON - DAY), closed("a", 900_000_000, at_ns=NOON - DAY + 5)]
    today = [opened("b", at_ns=NOON), opened("c", at_ns=NOON), closed("b", 850_000_000, at_ns=NOON + 10**9)]
    journal(*yesterday, *today, closed("c", 700_000_000, at_ns=NOON + 2 * 10**9))
    facts = await look(folder)
    drawn = pnl_line(facts)
    assert drawn["ys"] == [0.1, 0.05] and facts.status.pnl_today_lamports == 50_000_000
    assert "+0.0500" in panels(facts)["tiles"] and "2 closed, 1 won" in panels(facts)["tiles"]


async def test_guards_are_counted_over_the_whole_day_and_all_files(folder: Path, journal: Journal) -> None:
    wal = journal(decided(code="RISK_EXPOSURE", at_ns=NOON - DAY, leader_sig="0", mint="m"))
    codes = ("RISK_EXPOSURE", "GATE_WIN_RATE", "GATE_WIN_RATE", "ACCEPTED")
    for n, code in enumerate(codes):
        wal.rotate({})
        journal(decided(code=code, leader_sig=f"s{n}", mint="m"))
    parts = await shown(folder)
    assert "1 of 4 signals taken" in parts["guards"] and "counted since" not in parts["guards"]
    assert parts["guards"].index("GATE_WIN_RATE") < parts["guards"].index("RISK_EXPOSURE")


async def test_guards_that_cannot_be_counted_whole_say_since_when(folder: Path, journal: Journal) -> None:
    wal = journal(decided(leader_sig="s0", mint="m"))
    wal.rotate({})
    wal.drop_before(wal.seq)
    journal(decided(code="GATE_WIN_RATE", leader_sig="s1", mint="m"))
    assert len(segments_of(folder / "paper")) == 1
    codes = CodesToday(folder / "paper")
    codes.refresh(NOON // DAY)
    assert dict(codes.counts) == {"GATE_WIN_RATE": 1} and codes.since_ns == NOON
    assert "counted since 12:00:00" in (await shown(folder))["guards"]


async def test_a_new_day_begins_at_nothing(folder: Path, journal: Journal) -> None:
    journal(decided(leader_sig="s0", mint="m"))
    codes = CodesToday(folder / "paper")
    codes.refresh(NOON // DAY)
    journal(decided(code="GATE_WIN_RATE", at_ns=NOON + DAY, leader_sig="s1", mint="m"))
    codes.refresh(NOON // DAY + 1)
    assert dict(codes.counts) == {"GATE_WIN_RATE": 1}


async def test_a_damaged_journal_is_told_and_the_tables_still_show(pg_url: str, folder: Path, journal: Journal) -> None:
    wal = journal(opened(at_ns=NOON), opened("q", at_ns=NOON))
    path = segments_of(wal.folder)[0]
    path.write_bytes(path.read_bytes().replace(b"coin-p", b"coin-X"))
    parts = await shown(folder)
    assert "cannot be read" in parts["notes"] and "is damaged" in parts["notes"]
    assert "no slot has been recorded" in parts["tiles"]


async def test_a_halt_shows_even_where_the_journal_is_damaged(folder: Path, journal: Journal) -> None:
    wal = journal(opened(at_ns=NOON), opened("q", at_ns=NOON))
    path = segments_of(wal.folder)[0]
    path.write_bytes(path.read_bytes().replace(b"coin-p", b"coin-X"))
    write_control(folder, Control("HALTED", False, "by hand"))
    assert "HALTED" in (await shown(folder))["state"]


async def test_the_record_its_lag_and_its_gaps(pg_url: str, folder: Path) -> None:
    now = int(time.time())
    with psycopg.connect(pg_url) as connection:
        connection.execute(
            "INSERT INTO ingest_checkpoint (stream, slot, block_time) VALUES ('confirmed', 123456, %s)", (now - 3,)
        )
        connection.execute(
            "INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (3, 5, 'reconnect'), (9, 9, 'x')"
        )
        connection.execute(
            "INSERT INTO ingest_gaps (from_slot, to_slot, reason, filled_at) VALUES (1, 1, 'closed', now())"
        )
    tiles = (await shown(folder))["tiles"]
    assert f'data-since="{(now - 3) * 1000}"' in tiles and "slot 123,456" in tiles
    assert ">2</b>" in tiles and "4 slots; newest" in tiles


async def test_leaders_and_what_they_do_now(pg_url: str, folder: Path, journal: Journal) -> None:
    publish(pg_url, leaders=("ann", "bob"))
    now = time.time_ns()
    with psycopg.connect(pg_url) as connection:
        connection.execute("INSERT INTO wallets (wallet, alias) VALUES (%s, 'ann')", (address("ann"),))
        connection.execute(
            "INSERT INTO ingest_checkpoint (stream, slot, block_time) VALUES ('confirmed', 7, %s)", (now // 10**9,)
        )
        for n, (action, base) in enumerate([("BUY", 100), ("BUY", 50), ("SELL", 100)]):
            connection.execute(
                "INSERT INTO raw_events (ts_ns, slot, sig, outer_ix, inner_ix, event_seq, wallet, program, action,"
                " mint, quote_mint, base_raw) VALUES (%s, 7, %s, 0, -1, 0, %s, 'p', %s, %s, %s, %s)",
                (now - 10**10 + n, f"s{n}", address("ann"), action, "abab"[n], WSOL, base),
            )
        set_lock(connection, "leader", address("bob"), "not today", "somebody")
    journal(opened(at_ns=now, leader=address("ann")), line("RUN", release_id="r1", at_ns=now))
    parts = await shown(folder)
    assert "holds 1 coin<" in parts["leaders"] and "sell" in parts["leaders"] and "locked" in parts["leaders"]
    assert "patterns as of" in parts["tiles"] and "not today" in parts["state"]
    assert "<b>ann</b>" in parts["positions"]


async def test_names_from_outside_are_text_and_nothing_else(pg_url: str, folder: Path, journal: Journal) -> None:
    publish(pg_url, leaders=("ann",))
    nasty = "<img src=x onerror=alert(1)>"
    with psycopg.connect(pg_url) as connection:
        connection.execute("INSERT INTO wallets (wallet, alias) VALUES (%s, %s)", (address("ann"), nasty))
        connection.execute("INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (3, 5, %s)", (nasty,))
    write_control(folder, Control("HALTED", False, nasty))
    journal(opened(at_ns=time.time_ns(), leader=address("ann"), waiting=nasty, due="timer"))
    parts = panels(await look(folder))
    assert all("<img" not in text for text in parts.values())
    assert sum("&lt;img" in text for text in parts.values()) >= 4


async def test_a_postgres_that_hangs_holds_nothing_up(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(opened(at_ns=time.time_ns()))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none")
        parts = await shown(folder)
    assert "coin-p" in parts["positions"] and "Postgres has not answered" in parts["notes"]


async def test_the_executor_of_another_machine_is_seen_through_the_tables(pg_url: str, folder: Path) -> None:
    with psycopg.connect(pg_url) as connection:
        connection.execute(
            "INSERT INTO exec_journal (run_id, mode, at_ns, slot, mint, kind, payload, journal_seq)"
            """ VALUES ('r', 'paper', %s, 5, 'coin', 'DECISION', '{"decision": {"code": "GATE_WIN_RATE"}}', 1)""",
            (time.time_ns(),),
        )
        connection.execute(
            "INSERT INTO exec_positions (position_id, mode, leader, mint, state, opened_slot, opened_ts_ns, qty_raw,"
            " cost_lamports, proceeds_lamports, closed_ts_ns, payload)"
            " VALUES ('p', 'paper', 'ann', 'coin', 'CLOSED', 1, 1, 1, 1000000000, 1250000000, %s, '{}')",
            (time.time_ns(),),
        )
    looker = Looker("paper", folder)
    facts = await looker.look()
    assert facts.status.source == "tables" and pnl_line(facts)["ys"] == [0.25]
    assert "0 of 1 signals taken" in panels(facts)["guards"]
    with psycopg.connect(pg_url) as connection:
        connection.execute(
            "INSERT INTO exec_journal (run_id, mode, at_ns, slot, mint, kind, payload, journal_seq)"
            " SELECT run_id, mode, at_ns, slot, mint, kind, payload, 2 FROM exec_journal"
        )
    facts = await looker.look()
    looker.close()
    assert "0 of 2 signals taken" in panels(facts)["guards"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (12.7, "12 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_spans_have_two_units(seconds: float, text: str) -> None:
    assert ago(seconds) == text
