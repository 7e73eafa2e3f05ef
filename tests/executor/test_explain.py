"""`copytrader explain`: the decision found, taken again, compared, and what became of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import psycopg
import pytest
from planted_market import LEADER, OTHER, World, address, publish, settings
from running import rows, trade
from typer.testing import CliRunner, Result

from copytrader_cli.commands import explain as command
from copytrader_core.errors import DataError
from copytrader_core.settings import Settings
from copytrader_core.settings import settings as process_settings
from executor.explain import explain, from_files, from_tables
from executor.wal import Wal

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


async def history(url: str, config: Settings | None = None) -> tuple[str, str]:
    """One buy that was taken, sold again, and one that was refused; the leader's signatures of both."""
    publish(url)
    world = World()
    world.next()
    world.buy(LEADER, "coin", 1.0)
    world.next(4)
    world.buy(OTHER, "coin", 0.5)
    world.buy(LEADER, "coin", 1.0)
    world.next(40)
    await trade(url, world.updates(), config or settings())
    taken, refused = rows(url, "SELECT leader_sig FROM exec_journal WHERE kind = 'DECISION' ORDER BY seq")
    return taken["leader_sig"], refused["leader_sig"]


def asked(sought: str) -> Result:
    process_settings.cache_clear()
    return CliRunner().invoke(command.app, [sought], env={"COLUMNS": "200"})


def said(result: Result) -> str:
    return re.sub(r"[^\S\n]+", " ", result.output.replace("│", " "))


@pytest.fixture(params=["tables", "files"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, executor_home: Path) -> str:
    return str(request.param)


def only(source: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Leaves one of the two places in which the journal stands."""
    if source == "tables":
        shutil.rmtree(home / "executor")
    else:
        monkeypatch.setenv("DATABASE_URL", NOWHERE)


async def test_a_buy_that_was_taken_is_told_from_its_signal_to_its_sale(
    pg_url: str, source: str, monkeypatch: pytest.MonkeyPatch, executor_home: Path
) -> None:
    signature, _ = await history(pg_url)
    only(source, monkeypatch, executor_home)
    result = asked(signature)
    text = said(result)
    assert result.exit_code == 0, result.output
    assert text.startswith("ACCEPTED in paper mode") and "the same, byte for byte" in text
    for part in (address(LEADER), address("coin"), "p50_hold_ms 10000", "min_win_rate 0.52", "verdict ACCEPTED"):
        assert part in text
    assert "expected_value_lamports" in text and "exit timer" in text
    order = [text.index(f" {kind} ") for kind in ("SEND", "FILL", "EXIT")]
    assert order == sorted(order) and "reason timer" in text


async def test_a_refusal_names_the_guard_and_the_numbers(
    pg_url: str, source: str, monkeypatch: pytest.MonkeyPatch, executor_home: Path
) -> None:
    _, signature = await history(pg_url)
    only(source, monkeypatch, executor_home)
    result = asked(signature)
    assert result.exit_code == 0, result.output
    assert said(result).startswith("PER_MINT in paper mode") and "PER_MINT refused positions" in said(result)
    assert "positions_of_mint 1" in said(result) and "max_positions_per_mint 1" in said(result)
    assert "OPEN_POSITIONS passed positions 1" in said(result) and "SOL_FLOOR" not in said(result)
    assert "nothing was ordered" in said(result)


async def test_intents_of_buys_and_of_sells_lead_to_the_decision(
    pg_url: str, source: str, monkeypatch: pytest.MonkeyPatch, executor_home: Path
) -> None:
    signature, _ = await history(pg_url)
    intents = [row["intent_id"] for row in rows(pg_url, "SELECT intent_id FROM exec_intents")]
    assert len(intents) == 2
    only(source, monkeypatch, executor_home)
    for intent in intents:
        result = asked(intent)
        assert result.exit_code == 0 and signature in result.output


async def test_what_is_not_there_is_one_message_that_says_what_to_ask_for(pg_url: str) -> None:
    await history(pg_url)
    result = asked("nothing-like-it")
    assert isinstance(result.exception, DataError) and "give the signature of a leader's buy" in str(result.exception)


async def test_without_a_database_the_message_says_that_only_files_were_searched(
    pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    assert "the journal's files (the database is not there" in str(asked("nothing-like-it").exception)


async def test_a_decision_that_comes_out_differently_is_an_error_that_names_the_difference(
    pg_url: str, executor_home: Path
) -> None:
    signature, _ = await history(pg_url)
    with psycopg.connect(pg_url) as connection:
        connection.execute(
            "UPDATE exec_journal SET payload = jsonb_set(payload, '{decision,entry,min_tokens_raw}', '7')"
            " WHERE kind = 'DECISION' AND leader_sig = %s",
            (signature,),
        )
    result = asked(signature)
    assert isinstance(result.exception, DataError)
    assert "differs" in result.output and "entry.min_tokens_raw: written 7, now" in result.output


async def test_the_settings_are_those_in_force_at_the_decision(pg_url: str, executor_home: Path) -> None:
    signature, _ = await history(pg_url)
    await trade(pg_url, [], Settings(policy={"min_win_rate": 0.99}))
    with psycopg.connect(pg_url) as connection:
        (by_tables,) = from_tables(connection, signature)
    (by_files,) = from_files(executor_home / "executor", signature)
    for found in (by_tables, by_files):
        assert found.settings is not None and found.settings["policy"]["min_win_rate"] == 0.52
        assert explain(found).differences == ()
    assert [line["kind"] for line in by_tables.story] == [line["kind"] for line in by_files.story]


async def test_settings_that_changed_while_it_ran_count_from_their_line_on(pg_url: str, executor_home: Path) -> None:
    _, signature = await history(pg_url)
    (found,) = from_files(executor_home / "executor", signature)
    assert found.settings is not None
    changed = {**found.settings, "risk": {**found.settings["risk"], "max_positions_per_mint": 2}}
    shutil.rmtree(executor_home / "executor" / "paper")
    wal = Wal(executor_home / "executor" / "paper")
    nothing = dict.fromkeys(("leader_sig", "leader", "mint", "intent_id")) | {"changes": []}
    wal.append({"kind": "RUN", "payload": {"settings": found.settings}} | nothing)
    wal.append({"kind": "SETTINGS", "payload": {"settings": changed}} | nothing)
    wal.append(dict(found.line))
    wal.close()
    (later,) = from_files(executor_home / "executor", signature)
    assert any("code: written 'PER_MINT', now" in difference for difference in explain(later).differences)


async def test_settings_that_no_file_has_any_more_are_a_message(pg_url: str, executor_home: Path) -> None:
    signature, _ = await history(pg_url)
    (found,) = from_files(executor_home / "executor", signature)
    shutil.rmtree(executor_home / "executor" / "paper")
    wal = Wal(executor_home / "executor" / "paper")
    wal.append(dict(found.line))
    wal.close()
    (bare,) = from_files(executor_home / "executor", signature)
    with pytest.raises(DataError, match="start Postgres"):
        explain(bare)
