"""The Yellowstone client: which failure is which, secrets, pings, silence."""

from __future__ import annotations

from contextlib import aclosing

import grpc
import pytest
from chain_double import Act, Chain, Server, serving

from copytrader_core.errors import ConfigError
from copytrader_core.geyser import failures
from copytrader_core.geyser.client import Endpoint, YellowstoneClient, parse_endpoint
from ingest_worker.subscription import Shape, request

Code = grpc.StatusCode


async def read(server: Server, limit: int = 100, stall_seconds: float = 5.0, token: str | None = None) -> int:
    """How many messages came, pings apart, before `limit`."""
    n_messages = 0
    async with (
        YellowstoneClient(Endpoint(server.address, x_token=token), stall_seconds=stall_seconds) as client,
        aclosing(client.subscribe(request(Shape.BLOCKS, None))) as messages,
    ):
        async for message in messages:
            n_messages += message.update is not None and not message.update.HasField("ping")
            if n_messages == limit:
                break
    return n_messages


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (Code.OUT_OF_RANGE, "broadcast from 5 is not available, last available: 9", failures.OutOfRange),
        (Code.INTERNAL, "failed to get replay response", failures.ReplayFailed),
        (Code.INTERNAL, "from_slot is not supported", failures.ReplayFailed),
        (Code.UNAUTHENTICATED, "No valid auth token", failures.Unauthenticated),
        (Code.PERMISSION_DENIED, "not in your plan", failures.Unauthenticated),
        (Code.INVALID_ARGUMENT, "failed to create filter: x", failures.BadFilter),
        (Code.INTERNAL, "lagged to send an update", failures.Lagged),
        (Code.INTERNAL, "lagged to receive geyser messages", failures.Lagged),
        (Code.INTERNAL, "boom", failures.ServerFault),
        (Code.UNAVAILABLE, "going away", failures.Unavailable),
        (Code.RESOURCE_EXHAUSTED, "too many subscriptions", failures.Exhausted),
        (Code.RESOURCE_EXHAUSTED, "Received message larger than max", failures.TooLarge),
        (Code.OUT_OF_RANGE, "Error, decoded message length too large: found 9 bytes", failures.TooLarge),
    ],
)
async def test_every_refusal_is_told_apart_by_what_to_do(code: Code, text: str, kind: type) -> None:
    for _ in range(3):
        async with serving(Server(Chain(), acts=[Act(refuse=(code, text))])) as server:
            with pytest.raises(failures.StreamFailure, match=text) as raised:
                await read(server)
        assert type(raised.value) is kind


async def test_a_token_that_is_refused_before_the_request_is_read_is_still_told_apart() -> None:
    async with serving(Server(Chain(), token="right")) as server:
        for _ in range(30):
            with pytest.raises(failures.Unauthenticated, match="No valid auth token"):
                await read(server, token="wrong")


async def test_an_orderly_end_of_the_stream_is_a_failure_too() -> None:
    async with serving(Server(Chain.plant(9), acts=[Act(cut_after=5)])) as server:
        with pytest.raises(failures.StreamEnded):
            await read(server)


async def test_nobody_listening_is_unavailable() -> None:
    with pytest.raises(failures.Unavailable):
        await read(Server(Chain(), address="127.0.0.1:1"))


async def test_silence_is_a_stall_and_pings_are_not_silence() -> None:
    chain = Chain.plant(2)
    async with serving(Server(chain, acts=[Act(silent=True), Act()])) as server:
        with pytest.raises(failures.Stalled):
            await read(server, stall_seconds=0.3)
        assert await read(server, limit=2, stall_seconds=0.3) == 2


async def test_pings_are_answered_and_do_not_replace_the_subscription() -> None:
    async with serving(Server(Chain.plant(30), seconds_per_slot=0.05)) as server:
        assert await read(server, limit=30) == 30
    assert server.pongs >= 1


async def test_a_message_larger_than_four_mebibytes_comes_through() -> None:
    chain = Chain.plant(1)
    chain.blocks[0].blockhash = "x" * (6 * 2**20)
    async with serving(Server(chain)) as server:
        assert await read(server, limit=1) == 1


async def test_asks_for_the_oldest_slot() -> None:
    async with (
        serving(Server(Chain(), replay_from=77)) as server,
        YellowstoneClient(Endpoint(server.address)) as client,
    ):
        assert await client.replay_info() == 77
        server.replay_from = None
        assert await client.replay_info() is None
        with pytest.raises(failures.BadFilter):
            await client.version()


def test_the_token_is_in_no_repr() -> None:
    assert "secret" not in repr(parse_endpoint("host:1", x_token="secret"))


@pytest.mark.parametrize(
    ("text", "address", "tls"),
    [
        ("127.0.0.1:10000", "127.0.0.1:10000", False),
        ("https://x.rpc.example", "x.rpc.example:443", True),
        ("https://x.rpc.example:8443/", "x.rpc.example:8443", True),
        ("http://localhost:1", "localhost:1", False),
        ("[::1]:5", "[::1]:5", False),
        ("provider.example:443", "provider.example:443", True),
        ("10.0.0.7:10000", "10.0.0.7:10000", True),
        ("http://10.0.0.7:10000", "10.0.0.7:10000", False),
        ("http://x.rpc.example", "x.rpc.example:80", False),
    ],
)
def test_endpoints_as_providers_write_them(text: str, address: str, tls: bool) -> None:
    assert parse_endpoint(text) == Endpoint(address, tls=tls)


def test_tls_is_left_out_only_where_somebody_says_so() -> None:
    assert not parse_endpoint("provider.example:443", tls=False).tls
    assert parse_endpoint("127.0.0.1:10000", tls=True).tls
    assert parse_endpoint("https://x.rpc.example", tls=False).tls


@pytest.mark.parametrize("text", ["", "host", "host:", ":5", "host:99999", "ftp://host:5", "host:port"])
def test_other_endpoints_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_endpoint(text)
