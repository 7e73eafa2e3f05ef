"""The JSON-RPC client: which failure is which, what is tried again, how fast it asks, what it never says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from copytrader_core.errors import ConfigError
from copytrader_core.solana import rpc
from copytrader_core.solana.rpc import RateLimit, RpcClient, is_loopback, node_label

Answer = Callable[[dict[str, Any]], web.Response]


@asynccontextmanager
async def answering(*answers: Answer | web.Response, **options: Any) -> AsyncIterator[tuple[RpcClient, list[Any]]]:
    """A client of a node that gives these answers in turn, the last one for ever, and what the node was asked."""
    asked: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.json())
        chosen = answers[min(len(asked), len(answers)) - 1]
        return chosen(asked[-1]) if callable(chosen) else chosen

    application = web.Application()
    application.router.add_post("/{tail:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    options = {"patience_seconds": 5.0, **options}
    try:
        async with RpcClient(f"http://127.0.0.1:{runner.addresses[0][1]}/key-to-hide", **options) as client:
            yield client, asked
    finally:
        await runner.cleanup()


def result(value: Any) -> Answer:
    return lambda asked: web.json_response({"jsonrpc": "2.0", "id": asked["id"], "result": value})


def error(code: int, message: str = "planted", status: int = 200) -> Answer:
    body = {"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}
    return lambda asked: web.json_response(body, status=status)


def status(number: int, **headers: str) -> Answer:
    return lambda asked: web.Response(status=number, text="<html>", headers=headers)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(-32007), rpc.RpcSkippedError),
        (error(-32009), rpc.RpcSkippedError),
        (error(-32001, "Block 5 cleaned up, does not exist on node. First available block: 9"), rpc.RpcGoneError),
        (error(-32011), rpc.RpcGoneError),
        (error(-32602), rpc.RpcError),
        (error(-32015), rpc.RpcError),
        (error(-32000, "bad key", status=401), rpc.RpcRefusedError),
        (status(401), rpc.RpcRefusedError),
        (status(403), rpc.RpcRefusedError),
        (status(404), rpc.RpcError),
        (status(307, Location="http://127.0.0.1:1/elsewhere"), rpc.RpcError),
    ],
)
async def test_what_no_retry_can_mend_is_told_apart_and_asked_once(answer: Answer, kind: type) -> None:
    async with answering(answer) as (client, asked):
        with pytest.raises(rpc.RpcError) as raised:
            await client.block(5)
    assert type(raised.value) is kind and len(asked) == 1


@pytest.mark.parametrize(
    "failure",
    [
        status(429),
        status(429, **{"Retry-After": "0.05"}),
        error(-32429),
        error(-32005),
        error(-32016),
        error(-32004),
        error(429, status=429),
        status(503),
        lambda asked: web.Response(text="{half an ans"),
        lambda asked: web.json_response({"jsonrpc": "2.0", "id": 1}),
    ],
)
async def test_what_passes_is_tried_again(failure: Answer) -> None:
    async with answering(failure, failure, result(7)) as (client, asked):
        assert await client.slot() == 7
        assert (len(asked), client.n_requests, client.n_retries) == (3, 3, 2)


async def test_a_node_that_hangs_is_given_up_after_the_timeout_and_the_patience() -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(3)
        return web.Response()

    application = web.Application()
    application.router.add_post("/", hang)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with RpcClient(url, timeout_seconds=0.1, patience_seconds=0.5) as client:
        with pytest.raises(rpc.RpcUnavailableError, match="no answer in time"):
            await client.slot()
        assert client.n_retries >= 1
    await runner.cleanup()


async def test_nobody_listening_is_unavailable_not_a_traceback() -> None:
    async with RpcClient("http://127.0.0.1:1/", patience_seconds=0.2) as client:
        with pytest.raises(rpc.RpcUnavailableError, match="--rate"):
            await client.slot()


async def test_a_block_that_is_never_there_is_skipped_after_a_few_tries() -> None:
    async with answering(error(-32004, "Block not available for slot 5")) as (client, asked):
        with pytest.raises(rpc.RpcSkippedError, match="not available"):
            await client.block(5)
    assert len(asked) == 5


async def test_every_request_for_transactions_accepts_version_1() -> None:
    async with answering(result(None)) as (client, asked):
        await client.block(1)
        await client.block(1, "signatures")
        await client.transaction("x")
    assert [request["params"][1]["maxSupportedTransactionVersion"] for request in asked] == [1, 1, 1]
    assert {request["params"][1]["commitment"] for request in asked} == {"confirmed"}


async def test_a_429_holds_every_other_call_back_too() -> None:
    busy = status(429, **{"Retry-After": "0.3"})
    async with answering(busy, result(1)) as (client, asked):
        first = asyncio.create_task(client.slot())
        while not asked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        began = time.monotonic()
        assert await client.slot() == 1
        assert time.monotonic() - began >= 0.2
        await first


@pytest.mark.parametrize("asked_for", ["2", "a date"])
async def test_a_node_that_asks_for_time_gets_it(asked_for: str) -> None:
    now = time.time()
    value = asked_for if asked_for.isdigit() else formatdate(now + 3, usegmt=True)
    async with answering(status(429, **{"Retry-After": value}), result(1)) as (client, _):
        assert await client.slot() == 1
    assert time.time() - now >= 1.9


@pytest.mark.parametrize("value", ["soon", "nan", "-5", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_what_no_node_can_mean_by_retry_after_delays_nothing(value: str) -> None:
    async with answering(status(503, **{"Retry-After": value}), result(1)) as (client, asked):
        assert await client.slot() == 1
    assert len(asked) == 2


@pytest.mark.parametrize("per_second", [20.0, 60.0])
async def test_many_callers_together_keep_to_the_rate(per_second: float) -> None:
    limit = RateLimit(per_second)
    began, n_calls = time.monotonic(), int(per_second * 1.5)
    await asyncio.gather(*(limit.take() for _ in range(n_calls)))
    assert time.monotonic() - began >= (n_calls - per_second / 2 - 1) / per_second


async def test_without_a_rate_nobody_waits() -> None:
    limit = RateLimit(None)
    began = time.monotonic()
    for _ in range(1000):
        await limit.take()
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://user:pass@some-key-123.solana.provider.example/v1/SECRET?api-key=SECRET", "provider.example"),
        ("http://127.0.0.1:8899/SECRET", "127.0.0.1:8899"),
        ("http://[::1]:8899", "::1:8899"),
        ("http://localhost:8899", "localhost:8899"),
        ("https://10.0.0.7", "10.0.0.7"),
    ],
)
def test_a_label_names_the_node_and_no_key(url: str, label: str) -> None:
    assert node_label(url) == label
    assert repr(RpcClient(url)) == f"RpcClient({label})"


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8899", "ftp://SECRET@host/", "https://", "http://[SECRET", "http://h:SECRET/"]
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match="must look like") as raised:
        RpcClient(url)
    assert "SECRET" not in str(raised.value)


async def test_no_message_holds_the_key_even_if_the_node_repeats_it() -> None:
    failures = [error(-32602, "bad key key-to-hide"), status(401), status(404)]
    for failure in failures:
        async with answering(failure) as (client, _):
            with pytest.raises(rpc.RpcError) as raised:
                await client.slot()
        assert "key-to-hide" not in str(raised.value) + repr(raised.value)
    for url in ("http://127.0.0.1:1/key-to-hide", "http://no-such-host.invalid/key-to-hide"):
        async with RpcClient(url, patience_seconds=0.0) as client:
            with pytest.raises(rpc.RpcUnavailableError) as unavailable:
                await client.slot()
        assert "key-to-hide" not in str(unavailable.value)
        assert unavailable.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://127.0.0.1:1", True), ("http://localhost", True), ("http://[::1]:1", True), ("https://10.0.0.7", False)],
)
def test_only_this_machine_is_loopback(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
