"""What an older decoder could not read is read again: late, whole, once, and counted where it belongs."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from backfill_chain import node
from plugin_double import Plugin, plugged
from test_plugin_faults import ROWS, official, recorded, truth
from typer.testing import CliRunner
from worker_runs import QUICK, Heard, ended, query

from copytrader_cli.commands.dead_letters import app
from copytrader_core.errors import StoreError
from copytrader_core.geyser.client import Endpoint
from copytrader_core.pump.decode import Decoded
from copytrader_core.solana.rpc import RpcClient
from copytrader_core.store import days
from copytrader_core.store.postgres import connect
from ingest_worker import dead_letters
from ingest_worker.landing import decoder
from ingest_worker.scope import KEEP_ALL, Scope, ScopeRules
from ingest_worker.worker import Options

N = 60


def older_decoder(*, blind_to: int) -> Any:
    """A decoder that fails at every transaction whose signature's first byte can be divided by `blind_to`."""
    newest = decoder()

    def decode(info: Any, slot: int, block_time: int | None) -> Decoded:
        if info.signature[0] % blind_to == 0:
            raise KeyError("an event that nobody has seen before")
        return newest(info, slot, block_time)

    return decode


async def ingest_with(decode: Any, url: str, **changes: Any) -> None:
    heard = Heard()
    async with plugged(Plugin(official(N))) as plugin:
        options = Options(Endpoint(plugin.address), url, waits=QUICK, complete_start=True, **changes)
        await ended(options, decode, heard, lambda: heard.landed_slot >= plugin.last_slot)


def retried(url: str, rules: ScopeRules = KEEP_ALL) -> list[dead_letters.Retried]:
    with connect(url, autocommit=True) as connection:
        return list(dead_letters.retry(connection, rules))


def n_letters(url: str) -> int:
    return int(query(url, "SELECT count(*) FROM ingest_dead_letters")[0][0])


async def test_what_the_newer_decoder_can_read_lands_and_its_letter_goes(pg_url: str) -> None:
    await ingest_with(older_decoder(blind_to=3), pg_url)
    missing, expected = n_letters(pg_url), truth(official(N))
    assert missing > 5 and query(pg_url, ROWS) != expected
    done = retried(pg_url)
    assert (len(done), [it.still for it in done]) == (missing, [None] * missing)
    assert query(pg_url, ROWS) == expected
    assert n_letters(pg_url) == 0


async def test_slots_and_sealed_days_count_what_came_late(pg_url: str) -> None:
    await ingest_with(older_decoder(blind_to=3), pg_url)
    with connect(pg_url, autocommit=True) as connection:
        day = days.day_of(recorded(1)[0].block_time.timestamp)
        before = days.seal(connection, day, "manual").n_events
    gained = sum(it.n_events for it in retried(pg_url))
    assert query(pg_url, "SELECT n_events FROM ingest_days") == [(before + gained,)] and gained > 0
    counted = "SELECT n_events = (SELECT count(*) FROM raw_events r WHERE r.slot = s.slot) FROM ingest_slots s"
    assert set(query(pg_url, counted)) == {(True,)}


async def test_a_second_retry_has_nothing_to_do_and_one_beside_landed_rows_changes_nothing(pg_url: str) -> None:
    await ingest_with(None, pg_url)
    rows = query(pg_url, ROWS)
    await ingest_with(older_decoder(blind_to=1), pg_url, from_slot=recorded(1)[0].slot)
    assert n_letters(pg_url) > N / 2
    assert sum(it.n_events for it in retried(pg_url)) == 0
    assert (query(pg_url, ROWS), n_letters(pg_url), retried(pg_url)) == (rows, 0, [])


async def test_a_letter_goes_in_the_transaction_of_its_rows(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await ingest_with(older_decoder(blind_to=3), pg_url)
    rows, letters = query(pg_url, ROWS), n_letters(pg_url)

    def die(connection: psycopg.Connection, letter: Any) -> None:
        raise StoreError("killed between the rows and the letter")

    with monkeypatch.context() as patched:
        patched.setattr(dead_letters.dead_letters, "strike", die)
        with pytest.raises(StoreError):
            retried(pg_url)
    assert (query(pg_url, ROWS), n_letters(pg_url)) == (rows, letters)
    retried(pg_url)
    assert query(pg_url, ROWS) == truth(official(N))


async def test_a_slot_of_tracked_wallets_gains_no_others(pg_url: str) -> None:
    tracked = truth(official(N))[0][6]
    with connect(pg_url, autocommit=True) as connection:
        connection.execute("INSERT INTO wallets (wallet, is_tracked) VALUES (%s, true)", (tracked,))
    await ingest_with(older_decoder(blind_to=1), pg_url, scope=ScopeRules(Scope.TRACKED))
    retried(pg_url)
    assert query(pg_url, ROWS) == [row for row in truth(official(N)) if row[6] == tracked]


async def test_a_transaction_that_a_node_gave_as_json_is_read_again_too(pg_url: str) -> None:
    row = truth(official(N))[0]
    async with node() as rpc, RpcClient(f"http://{rpc.address}") as client:
        document = await client.transaction(row[2])
    with connect(pg_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ingest_dead_letters (sig, slot, reason, raw) VALUES (%s, %s, 'KeyError: planted', %s)",
            (row[2], row[0], json.dumps(document).encode()),
        )
    assert [it.still for it in retried(pg_url)] == [None]
    assert [(found[0], *found[2:]) for found in query(pg_url, ROWS)] == [
        (it[0], *it[2:]) for it in truth(official(N)) if it[2] == row[2]
    ]


def plant_letters(url: str) -> None:
    letters = [(None, None, "not a SubscribeUpdate (sha256 00)", b"\xff\xff"), ("s", 5, "the row cannot", b"(1, 2)")]
    with connect(url, autocommit=True) as connection:
        connection.cursor().executemany(
            "INSERT INTO ingest_dead_letters (sig, slot, reason, raw) VALUES (%s, %s, %s, %s)", letters
        )


def test_what_holds_no_transaction_stays_and_says_what_to_do(pg_url: str) -> None:
    plant_letters(pg_url)
    first, second = [it.still for it in retried(pg_url)]
    assert first is not None and "no SubscribeUpdate" in first
    assert second is not None and "backfill its wallet" in second
    assert n_letters(pg_url) == 2


async def test_the_command_lists_saves_and_retries(pg_url: str, tmp_path: Any) -> None:
    await ingest_with(older_decoder(blind_to=3), pg_url)
    letters, run = n_letters(pg_url), CliRunner().invoke
    listed = run(app, ["list"]).output
    assert listed.startswith(f"{letters}\t") and "nobody has seen" in listed
    newest = listed.split("for instance ")[1].split("\t")[0]
    assert run(app, ["save", newest, str(tmp_path / "letter.pb")]).exit_code == 0
    assert (tmp_path / "letter.pb").stat().st_size > 100
    assert f"tried={letters} " in run(app, ["retry"]).output
    assert run(app, ["list"]).output == ""


def test_the_command_fails_while_letters_are_left(pg_url: str) -> None:
    plant_letters(pg_url)
    result = CliRunner().invoke(app, ["retry"])
    assert "left=2" in result.output and isinstance(result.exception, StoreError)
