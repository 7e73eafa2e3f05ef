"""`copytrader doctor`: every fault is found, told with what to do about it, and nothing is found where all is well."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import web
from typer.testing import CliRunner

from copytrader_cli.commands.doctor import app
from copytrader_cli.doctor import machine, network, stored
from copytrader_cli.doctor.finding import Finding
from copytrader_core.geyser.client import Endpoint
from copytrader_core.settings import Settings, settings
from copytrader_core.solana.keys import Signer
from copytrader_core.store.roles import apply_roles
from executor.control import Control, write_control
from executor.wal import Wal
from simnet.demo_tape import TAPE
from simnet.json_rpc import serve_rpc
from simnet.yellowstone import serve

ADVISED = ("warn", "fail")


@pytest.fixture
def quiet(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own, no settings file, no variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "COPYTRADER_RPC_URL", "COPYTRADER_CONFIG", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    settings.cache_clear()
    return home


def by_check(found: Iterator[Finding] | list[Finding]) -> dict[str, Finding]:
    listed = list(found)
    assert all(bool(one.advice) == (one.level in ADVISED) for one in listed), "advice belongs to what is wrong"
    return {one.check: one for one in listed}


def heard(endpoint: Endpoint, seconds: float = 5.0) -> Any:
    return network.gather(network.stream(endpoint, listen_seconds=seconds, max_offset_seconds=2.0))


def test_it_works_with_no_configuration_at_all(quiet: Path) -> None:
    done = CliRunner().invoke(app, ["--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and told["ok"] is True
    levels = {one["check"]: one["level"] for one in told["checks"]}
    assert levels["database"] == levels["endpoint"] == levels["rpc"] == "warn"
    assert not quiet.exists(), "looking must change nothing"


def test_a_failure_ends_with_status_1_and_says_what_to_do(quiet: Path) -> None:
    done = CliRunner().invoke(app, ["--endpoint", "127.0.0.1:9", "--listen-seconds", "0.5"])
    assert done.exit_code == 1
    assert "fail  endpoint" in done.stdout and "-> check address and network" in done.stdout


def test_wrong_settings_are_a_finding_and_not_a_traceback(quiet: Path, tmp_path: Path) -> None:
    (tmp_path / "copytrader.toml").write_text("[ingest]\nendpont = 'x:1'\n")
    done = CliRunner().invoke(app, ["--json"])
    (finding,) = [one for one in json.loads(done.stdout)["checks"] if one["level"] == "fail"]
    assert done.exit_code == 1 and "ingest.endpont" in finding["found"]


# the machine -------------------------------------------------------------------------------------------------------


def test_packages_that_differ_from_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("psycopg==0.1 \\\n    --hash=sha256:0\nnot-installed==1.0\n")
    found = by_check(machine.installation(lock))["packages"]
    assert found.level == "warn" and "psycopg" in found.found and "not-installed" not in found.found


def test_a_lock_with_one_version_for_each_python_is_understood(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"psycopg==0.1 ; python_version < '3'\npsycopg=={psycopg.__version__} ; python_version > '3'\n")
    assert by_check(machine.installation(lock))["packages"].level == "ok"


def test_bytecode_that_is_not_kept_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert by_check(machine.installation())["bytecode"].level == "warn"


@pytest.mark.parametrize(("free_gib", "level"), [(1, "fail"), (10, "warn"), (100, "ok")])
def test_a_disk_that_fills_up_is_told_in_time(
    quiet: Path, monkeypatch: pytest.MonkeyPatch, free_gib: int, level: str
) -> None:
    usage = shutil.disk_usage("/")._replace(free=free_gib * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert by_check(machine.disks(settings()))["disk"].level == level


def test_a_home_that_cannot_be_written_fails(quiet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "access", lambda *_: False)
    assert by_check(machine.disks(settings()))["home"].level == "fail"


def key_file(folder: Path, mode: int = 0o600) -> tuple[Path, str]:
    seed = secrets.token_bytes(32)
    signer = Signer(seed)
    path = folder / "key.json"
    path.write_text(json.dumps(list(seed + bytes(signer.pubkey))))
    path.chmod(mode)
    return path, signer.address


def with_key(path: Path, own_wallet: str | None = None) -> Settings:
    return Settings(executor={"key_file": path, "own_wallet": own_wallet})  # type: ignore[arg-type]


def test_a_key_that_others_can_read_fails_and_shows_nothing_of_itself(quiet: Path, tmp_path: Path) -> None:
    path, address = key_file(tmp_path, 0o644)
    found = by_check(machine.secrets(with_key(path)))["wallet key"]
    assert found.level == "fail" and "chmod 600" in found.found
    path.chmod(0o600)
    found = by_check(machine.secrets(with_key(path, address)))["wallet key"]
    assert found.level == "ok" and address in found.found
    assert str(json.loads(path.read_text())[0:3])[1:-1] not in found.found


def test_the_key_of_another_wallet_fails(quiet: Path, tmp_path: Path) -> None:
    path, _ = key_file(tmp_path)
    other = Signer(secrets.token_bytes(32)).address
    assert by_check(machine.secrets(with_key(path, other)))["wallet key"].level == "fail"


@pytest.mark.parametrize(("content", "mode", "level"), [("t", 0o600, "ok"), ("t", 0o640, "warn"), ("", 0o600, "fail")])
def test_token_files_are_looked_at(quiet: Path, tmp_path: Path, content: str, mode: int, level: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(mode)
    assert by_check(machine.secrets(settings(), [path]))["secret file"].level == level
    assert by_check(machine.secrets(settings(), [tmp_path / "gone"]))["secret file"].level == "fail"


def test_a_password_in_the_environment_is_told_and_not_shown(quiet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@host/db")
    found = by_check(machine.secrets(settings()))["secrets"]
    assert found.level == "warn" and "hunter2" not in str(found)


# the network -------------------------------------------------------------------------------------------------------


async def test_a_provider_that_streams_is_well_but_for_its_recorded_clock() -> None:
    async with serve(TAPE, speed=50.0) as server:
        found = by_check(await heard(Endpoint(server.address)))
    assert [found[name].level for name in ("endpoint", "replay", "stream")] == ["ok"] * 3
    assert found["clock"].level == "warn" and "recorded" in found["clock"].advice


async def test_a_stream_that_is_silent_fails() -> None:
    async with serve(TAPE, wait_for_clients=9) as server:
        found = by_check(await heard(Endpoint(server.address), 0.5))
    assert found["endpoint"].level == "ok"
    assert found["stream"].level == "fail" and "silent" in found["stream"].found


async def test_a_wrong_token_fails_and_is_not_shown() -> None:
    async with serve(TAPE, token="right") as server:
        found = by_check(await heard(Endpoint(server.address, x_token="wrong-secret")))
    assert found["endpoint"].level == "fail" and "token" in found["endpoint"].advice
    assert "wrong-secret" not in str(found["endpoint"])


async def test_nobody_at_the_address_fails() -> None:
    assert by_check(await heard(Endpoint("127.0.0.1:9")))["endpoint"].level == "fail"


@pytest.mark.parametrize(
    ("offset", "level"), [(0.4, "ok"), (-1.9, "ok"), (7.0, "fail"), (-30.0, "fail"), (90_000.0, "warn")]
)
def test_the_clock_against_the_chains(offset: float, level: str) -> None:
    assert network._clock(offset, 2.0).level == level


async def test_a_remote_endpoint_without_tls_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_LINK_SECONDS", 0.2)
    endpoint = Endpoint("192.0.2.1:443", x_token="mine")
    first = (await heard(endpoint, 0.2))[0]
    assert first.level == "warn" and "token is shown" in first.found and "mine" not in first.found


def answers(given: dict[str, Any]) -> Any:
    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        result = given.get(asked["method"])
        content = {"result": result} if result is not None else {"error": {"code": -32005, "message": "behind"}}
        return web.json_response({"jsonrpc": "2.0", "id": asked["id"], **content})

    return answer


async def looked_at(given: dict[str, Any]) -> dict[str, Finding]:
    application = web.Application()
    application.router.add_post("/", answers(given))
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        return by_check(await network.gather(network.node(f"http://127.0.0.1:{runner.addresses[0][1]}/?api-key=k3y")))
    finally:
        await runner.cleanup()


async def test_a_mainnet_node_is_well() -> None:
    found = await looked_at({"getSlot": 7, "getGenesisHash": network.MAINNET, "getHealth": "ok"})
    assert {one.level for one in found.values()} == {"ok"}
    assert "k3y" not in "".join(map(str, found.values()))


async def test_a_node_of_another_chain_or_behind_is_told() -> None:
    found = await looked_at({"getSlot": 7, "getGenesisHash": "another"})
    assert found["rpc chain"].level == found["rpc health"].level == "warn"


async def test_a_node_that_is_not_there_fails() -> None:
    assert by_check(await network.gather(network.node("http://127.0.0.1:9")))["rpc"].level == "fail"


async def test_the_local_chains_node_says_that_it_is_no_mainnet() -> None:
    async with serve_rpc(TAPE) as server:
        found = by_check(await network.gather(network.node(f"http://{server.address}")))
    assert found["rpc"].level == "ok" and found["rpc chain"].level == "warn"


# what is stored ----------------------------------------------------------------------------------------------------


def of_database() -> dict[str, Finding]:
    return by_check(stored.database(settings()))


def change(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


def test_a_migrated_database_is_well_but_for_its_owner(pg_url: str) -> None:
    found = of_database()
    assert {name: one.level for name, one in found.items() if one.level != "ok"} == {"database role": "warn"}


def test_a_program_under_its_own_role_is_well(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    apply_roles(pg_url)
    login = f"doc_{secrets.token_hex(4)}"
    change(pg_url, f"CREATE ROLE {login} LOGIN PASSWORD 'word' IN ROLE copytrader_reader")
    try:
        base = pg_url.rpartition("@")[2]
        monkeypatch.setenv("DATABASE_URL", f"postgresql://{login}:word@{base}")
        found = of_database()["database role"]
        assert found.level == "ok" and "copytrader_reader" in found.found
    finally:
        change(pg_url, f"DROP ROLE {login}")


@pytest.mark.parametrize("to", [-1, 1])
def test_another_schema_version_fails(pg_url: str, to: int) -> None:
    change(pg_url, f"UPDATE schema_info SET version = version + {to}")
    assert of_database()["schema"].level == "fail"


def test_an_empty_database_fails(pg_url: str) -> None:
    change(pg_url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert of_database()["schema"].level == "fail"


def test_a_database_that_is_away_fails_without_its_password(quiet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:9/db")
    found = of_database()["database"]
    assert found.level == "fail" and "hunter2" not in str(found)


def test_what_stands_open_in_ingestion_is_told(pg_url: str) -> None:
    change(pg_url, "INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (5, 9, 'test')")
    change(pg_url, "INSERT INTO ingest_dead_letters (reason) VALUES ('test')")
    found = of_database()
    assert found["gaps"].level == found["dead letters"].level == "warn"
    assert "backfill" in found["gaps"].advice


def test_a_database_disk_that_fills_up_fails(pg_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    assert of_database()["database disk"].level == "fail"


def test_a_lake_with_a_damaged_file_fails_and_names_it(quiet: Path) -> None:
    file = quiet / "lake" / "events" / "day=2026-01-01" / "part-0.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"PAR1 no parquet PAR1")
    assert by_check(stored.lake(settings()))["lake"].level == "fail"


def test_a_foreign_file_in_the_lake_fails(quiet: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = quiet / "lake" / "events" / "day=2026-01-01" / "part-0.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), file)
    assert "no content hash" in by_check(stored.lake(settings()))["lake"].found


def journal(home: Path) -> Path:
    folder = home / "executor" / "paper"
    wal = Wal(folder)
    for _ in range(3):
        wal.append({"kind": "NOTE", "at_ns": time.time_ns(), "slot": 7, "release_id": None, "payload": {}})
    wal.close()
    return next(folder.glob("*.wal"))


def test_a_journal_is_read_to_its_end_and_a_damaged_one_fails(quiet: Path) -> None:
    path = journal(quiet)
    assert by_check(stored.journals(settings()))["paper journal"].level == "ok"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"NOTE", b"FILL")
    path.write_bytes(b"".join(lines))
    found = by_check(stored.journals(settings()))["paper journal"]
    assert found.level == "fail" and "do not start" in found.advice


def test_a_halt_is_told_with_its_reason(quiet: Path) -> None:
    write_control(quiet / "executor", Control("HALTED", False, "somebody pressed the button"))
    found = by_check(stored.journals(settings()))["trading"]
    assert found.level == "warn" and "pressed the button" in found.found


def test_gathered_findings_keep_the_order_of_their_checks() -> None:
    async def later(name: str, seconds: float) -> Any:
        await asyncio.sleep(seconds)
        yield Finding(name, "ok", "")

    found = asyncio.run(network.gather(later("a", 0.05), later("b", 0.0)))
    assert [one.check for one in found] == ["a", "b"]
