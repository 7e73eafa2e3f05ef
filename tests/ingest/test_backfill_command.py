"""`copytrader backfill` from the outside: usage, where the URL comes from, what is never printed, exit status."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from backfill_chain import backfill, command, cut_hole, database, ingest_tape, node, open_gaps, query, tape_slots
from typer.testing import CliRunner

from copytrader_cli.commands.backfill import app
from copytrader_core.settings import settings
from simnet.json_rpc import RpcServer

SLOT_LIST = tape_slots()
WALLET = "AR1FURec3tyozvfu4xjYyzXFAJJRPLp57V5MFTGoopAC"
SINCE = ("--since", "2026-10-01")


@pytest.fixture(scope="module")
def start(pg_server: str) -> Iterator[str]:
    """The beginning of the tape, ingested live."""
    with database(pg_server) as url:
        asyncio.run(ingest_tape(url, until_slot=SLOT_LIST[300]))
        yield url


async def run(*arguments: str, url: str, **environment: str) -> tuple[int | None, str, str]:
    process = await command(*arguments, url=url, **environment)
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode(), errors.decode()


def secret_url(rpc: RpcServer) -> str:
    return f"http://user:pa55word@{rpc.address}/v2/key-to-hide?api-key=key-to-hide"


@pytest.mark.parametrize(
    "arguments",
    [
        SINCE,
        (*SINCE, "--all", "--wallet", WALLET),
        (*SINCE, "--wallet", "nobody"),
        ("--all", "--since", "yesterday"),
        ("--all", "--since", "2026-10-02", "--until", "2026-10-01"),
        ("--all",),
    ],
)
def test_wrong_usage_is_exit_2(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, list(arguments)).exit_code == 2


async def test_the_url_comes_from_option_environment_or_file_and_is_never_shown(pg_url: str, tmp_path: Path) -> None:
    file = tmp_path / "rpc"
    async with node() as rpc:
        file.write_text(secret_url(rpc) + "\n")
        ways: list[tuple[tuple[str, ...], dict[str, str]]] = [
            (("--rpc", secret_url(rpc)), {"COPYTRADER_RPC_URL": "http://127.0.0.1:1"}),
            ((), {"COPYTRADER_RPC_URL": secret_url(rpc), "COPYTRADER_RPC_URL_FILE": "/nowhere"}),
            ((), {"COPYTRADER_RPC_URL_FILE": str(file)}),
        ]
        for options, environment in ways:
            status, output, errors = await run("--wallet", WALLET, *SINCE, *options, url=pg_url, **environment)
            assert status == 0 and "wallets=1" in output
            assert "key-to-hide" not in output + errors and "pa55word" not in output + errors


async def test_without_any_url_one_message_says_where_it_may_come_from(pg_url: str) -> None:
    status, _, errors = await run("--wallet", WALLET, *SINCE, url=pg_url)
    assert status == 1 and "COPYTRADER_RPC_URL" in errors and "Traceback" not in errors


async def test_a_node_that_refuses_is_one_message_without_the_key(pg_url: str) -> None:
    async def refuse(_: str) -> web.Response:
        return web.Response(status=401, text="key-to-hide is wrong")

    async with node(intercept=refuse) as rpc:
        status, output, errors = await run("--all", *SINCE, "--rpc", secret_url(rpc), url=pg_url)
    assert status == 1 and "check the key" in errors
    assert "key-to-hide" not in output + errors and "Traceback" not in errors


async def test_a_gap_that_stays_open_is_exit_1_after_all_the_rest_is_done(pg_server: str, start: str) -> None:
    with database(pg_server, start) as url:
        cut_hole(url, SLOT_LIST[50] + 1, SLOT_LIST[100])
        cut_hole(url, SLOT_LIST[150] + 1, SLOT_LIST[200])
        query(url, "INSERT INTO wallets (wallet) VALUES (%s)", WALLET)
        async with node(keep_from_slot=SLOT_LIST[120]) as rpc:
            status, output, errors = await run("--all", *SINCE, "--rpc", f"http://{rpc.address}", url=url)
        assert status == 1 and "wallets=1 gaps_filled=1 gaps_open=1" in output
        assert f"slots {SLOT_LIST[50] + 1} to {SLOT_LIST[100]} (cut out) are still missing" in errors
        assert open_gaps(url) == [(SLOT_LIST[50] + 1, SLOT_LIST[100])]


async def test_the_rate_holds_the_run_back(pg_url: str) -> None:
    async with node() as rpc:
        began = asyncio.get_running_loop().time()
        arguments = ("--wallet", WALLET, "--since", "2026-10-15", "--rpc", f"http://{rpc.address}", "--rate", "30")
        status, *_ = await run(*arguments, url=pg_url)
        n_requests = sum(rpc.calls.values())
        assert status == 0 and n_requests > 30
        assert asyncio.get_running_loop().time() - began >= (n_requests - 16) / 30


def test_nodes_elsewhere_are_asked_slowly_by_default() -> None:
    assert settings().rpc_rate == 10.0


async def test_a_terminal_gets_a_progress_bar(pg_url: str) -> None:
    ours, theirs = pty.openpty()
    async with node() as rpc:
        process = await asyncio.create_subprocess_exec(
            *_python("backfill", "--wallet", WALLET, *SINCE, "--rpc", f"http://{rpc.address}"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
        )
        os.close(theirs)
        status, shown = await asyncio.gather(process.wait(), asyncio.to_thread(_read_all, ours))
    assert status == 0 and f"wallet {WALLET}" in shown and "\x1b[" in shown


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "copytrader_cli.main", *arguments)


def _read_all(descriptor: int) -> str:
    parts = []
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:
            part = b""
        if not part:
            os.close(descriptor)
            return b"".join(parts).decode(errors="replace")
        parts.append(part)


async def test_the_summary_of_a_library_run_equals_the_printed_one(pg_url: str) -> None:
    async with node() as rpc:
        summary, watching = await backfill(rpc, pg_url, (WALLET,))
    assert f"events={summary.events}" in str(summary)
    assert watching.parts == [(f"wallet {WALLET}", None)] and watching.steps >= summary.transactions
