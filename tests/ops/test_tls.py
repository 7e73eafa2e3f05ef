"""Whoever shows a certificate that nobody vouches for is not spoken to: neither token nor transaction reaches them."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser import wire
from copytrader_core.geyser.client import Endpoint, YellowstoneClient
from copytrader_core.geyser.failures import Unavailable
from copytrader_core.solana.routes.http import WarmPost
from copytrader_core.solana.routes.route import RouteError
from copytrader_core.solana.rpc import RpcClient, RpcRefusedError

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files with the key and the self-signed certificate of 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody vouches for this")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return folder / "key.pem", folder / "certificate.pem"


@asynccontextmanager
async def yellowstone(pem: tuple[Path, Path]) -> AsyncIterator[tuple[int, list[str]]]:
    """A TLS server that answers GetVersion; yields its port and the tokens that it was shown."""
    tokens: list[str] = []

    async def version(request: object, context: grpc.aio.ServicerContext) -> pb.GetVersionResponse:
        tokens.extend(str(value) for key, value in context.invocation_metadata() or () if key == "x-token")
        return pb.GetVersionResponse(version="its own")

    method = grpc.unary_unary_rpc_method_handler(
        version,
        request_deserializer=pb.GetVersionRequest.FromString,
        response_serializer=pb.GetVersionResponse.SerializeToString,
    )
    _, service, name = wire.GET_VERSION.split("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
    key, certificate = (path.read_bytes() for path in pem)
    port = server.add_secure_port(f"{HOST}:0", grpc.ssl_server_credentials([(key, certificate)]))
    await server.start()
    try:
        yield port, tokens
    finally:
        await server.stop(None)


@asynccontextmanager
async def https(pem: tuple[Path, Path]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An https server; yields its URL and the bodies that reached it."""
    bodies: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": 7})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem[1], pem[0])
    application = web.Application()
    application.router.add_post("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, ssl_context=context)
    await site.start()
    try:
        yield f"https://{HOST}:{runner.addresses[0][1]}", bodies
    finally:
        await runner.cleanup()


async def test_a_stream_with_a_self_signed_certificate_is_refused_before_the_token_is_sent(
    pem: tuple[Path, Path],
) -> None:
    async with yellowstone(pem) as (port, tokens):
        async with YellowstoneClient(Endpoint(f"{HOST}:{port}", tls=True, x_token="mine")) as client:
            with pytest.raises(Unavailable):
                await client.version()
        assert tokens == []
        trusted = Endpoint(f"{HOST}:{port}", tls=True, x_token="mine", ca=pem[1].read_bytes())
        async with YellowstoneClient(trusted) as client:
            assert await client.version() == "its own"
        assert tokens == ["mine"]


async def test_a_node_with_a_self_signed_certificate_is_refused(pem: tuple[Path, Path]) -> None:
    async with https(pem) as (url, bodies):
        async with RpcClient(url, patience_seconds=0.1) as client:
            with pytest.raises(RpcRefusedError, match="cannot be verified"):
                await client.call("getSlot", [])
        assert bodies == []


async def test_a_block_engine_with_a_self_signed_certificate_gets_no_transaction(pem: tuple[Path, Path]) -> None:
    async with https(pem) as (url, bodies):
        route = WarmPost(url, timeout_seconds=5)
        await route.start()
        try:
            with pytest.raises(RouteError):
                await route.ask(b"{}")
        finally:
            await route.close()
        assert bodies == []
