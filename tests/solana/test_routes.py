"""Routes over JSON-RPC against small servers: what goes out, and which failure is which."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from copytrader_core.errors import ConfigError
from copytrader_core.solana.routes.block_engine import BlockEngineRoute, TipFloorFeed, bundle_id, read_tip_floor
from copytrader_core.solana.routes.route import Code, RouteError
from copytrader_core.solana.routes.rpc import RpcRoute

WIRE, SIGNATURE = bytes(range(256)), "5" * 87
FLOOR = {f"landed_tips_{n}th_percentile": n * 1e-6 for n in (25, 50, 75, 95, 99)}
FLOOR["ema_landed_tips_50th_percentile"] = 1e-9


@asynccontextmanager
async def host(answer: Any) -> AsyncIterator[tuple[str, list[Any]]]:
    """A server that answers every call so; and the calls: path, headers, body."""
    asked: list[Any] = []

    async def post(request: web.Request) -> web.Response:
        asked.append((request.path_qs, dict(request.headers), await request.json()))
        if callable(answer):
            return await answer()
        if isinstance(answer, web.Response):
            location = {"Location": "/elsewhere"} if answer.status == 307 else {}
            return web.Response(status=answer.status, text=answer.text, headers=location)
        return web.json_response(answer)

    async def get(request: web.Request) -> web.Response:
        return web.json_response([FLOOR])

    application = web.Application()
    application.router.add_post("/{tail:.*}", post)
    application.router.add_get("/{tail:.*}", get)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def slow() -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


def failed(code: int, message: str = "planted") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


FAILURES = [
    (web.Response(status=429), Code.RATE_LIMITED),
    (failed(-32429), Code.RATE_LIMITED),
    (failed(-32602), Code.REFUSED),
    (web.Response(status=401), Code.REFUSED),
    (web.Response(status=307), Code.REFUSED),
    (web.Response(status=503), Code.UNREACHABLE),
    (web.Response(text="<html>"), Code.TIMEOUT),
    ([1], Code.TIMEOUT),
    ({"result": "another"}, Code.TIMEOUT),
    (slow, Code.TIMEOUT),
]


@pytest.mark.parametrize(("answer", "code"), FAILURES)
@pytest.mark.parametrize("kind", ["rpc", "engine"])
async def test_every_failure_has_its_code(answer: Any, code: Code, kind: str):
    async with host(answer) as (url, _):
        route = RpcRoute([url], timeout_seconds=0.3) if kind == "rpc" else BlockEngineRoute(url, timeout_seconds=0.3)
        await route.start()
        try:
            with pytest.raises(RouteError) as raised:
                await route.send(WIRE, SIGNATURE)
        finally:
            await route.close()
    assert raised.value.code is code


async def test_a_host_that_is_not_there_took_nothing():
    for route in (RpcRoute(["http://127.0.0.1:9"]), BlockEngineRoute("http://127.0.0.1:9")):
        await route.start()
        with pytest.raises(RouteError) as raised:
            await route.send(WIRE, SIGNATURE)
        assert raised.value.code is Code.UNREACHABLE
        await route.close()
        await route.close()


async def test_a_route_that_was_not_started_says_so():
    for route in (RpcRoute(["http://127.0.0.1:9"]), BlockEngineRoute("http://127.0.0.1:9")):
        with pytest.raises(RouteError, match="start it"):
            await route.send(WIRE, SIGNATURE)


async def test_one_node_that_takes_it_is_enough_and_a_known_one_is_taken():
    known = failed(-32002, "This transaction has already been processed")
    for answer in ({"result": SIGNATURE}, known):
        async with host(failed(-32602)) as (bad, _), host(answer) as (good, asked):
            route = RpcRoute([bad, good, "http://127.0.0.1:9"])
            await route.start()
            await route.send(WIRE, SIGNATURE)
            await route.close()
        (_, _, body) = asked[0]
        assert body["method"] == "sendTransaction" and base64.b64decode(body["params"][0]) == WIRE
        assert body["params"][1] == {"encoding": "base64", "skipPreflight": True, "maxRetries": 0}


async def test_an_open_answer_outweighs_a_refusal():
    async with host(failed(-32602)) as (bad, _), host(slow) as (mute, _):
        route = RpcRoute([bad, mute], timeout_seconds=0.3)
        await route.start()
        with pytest.raises(RouteError) as raised:
            await route.send(WIRE, SIGNATURE)
        await route.close()
    assert raised.value.code is Code.TIMEOUT


async def test_a_bundle_goes_out_under_the_id_that_was_known_before(tmp_path):
    name = bundle_id([SIGNATURE])
    (tmp_path / "uuid").write_text("01234567-89ab-cdef-0123-456789abcdef\n")
    async with host({"result": name}) as (url, asked):
        route = BlockEngineRoute(url, uuid_file=tmp_path / "uuid")
        await route.start()
        await route.send(WIRE, SIGNATURE)
        with pytest.raises(RouteError) as raised:
            await route.send(WIRE, SIGNATURE)
        await route.close()
    assert raised.value.code is Code.RATE_LIMITED and len(asked) == 1
    path, headers, body = asked[0]
    assert path == "/api/v1/bundles" and headers["x-jito-auth"].startswith("01234567")
    assert body["method"] == "sendBundle" and body["params"][1] == {"encoding": "base64"}
    assert [base64.b64decode(text) for text in body["params"][0]] == [WIRE]


@pytest.mark.parametrize(("mode", "query"), [("transaction", ""), ("bundle_only", "?bundleOnly=true")])
async def test_a_single_transaction_may_be_kept_out_of_the_public_way(mode, query: str):
    async with host({"result": SIGNATURE}) as (url, asked):
        route = BlockEngineRoute(url, mode=mode)
        await route.start()
        await route.send(WIRE, SIGNATURE)
        await route.close()
    assert asked[0][0] == f"/api/v1/transactions{query}"


def test_the_id_of_a_bundle_is_the_hash_of_its_signatures():
    assert bundle_id(["a", "b"]) == "1eb7c54d52831bbfe8942af0b1c56b7409523a59ed6ca99c1174fef7eb32c1b5"


async def test_the_tip_floor_is_asked_for_and_kept():
    async with host({}) as (url, _):
        feed = TipFloorFeed(url)
        await feed.start()
        async with asyncio.timeout(10):
            while feed.floor is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await feed.close()
    assert (feed.floor.p25, feed.floor.p99, feed.floor.ema50) == (25_000, 99_000, 1_000)


@pytest.mark.parametrize("document", [None, {}, [], [{}], [[1]], [{**FLOOR, "landed_tips_25th_percentile": "x"}]])
def test_a_tip_floor_of_another_form_is_refused(document: object):
    with pytest.raises(RouteError):
        read_tip_floor(document)


def test_a_key_file_that_holds_no_uuid_is_refused_without_showing_it(tmp_path):
    (tmp_path / "uuid").write_text("secret words")
    with pytest.raises(ConfigError) as raised:
        BlockEngineRoute("http://127.0.0.1:9", uuid_file=tmp_path / "uuid")
    assert "secret words" not in str(raised.value)
