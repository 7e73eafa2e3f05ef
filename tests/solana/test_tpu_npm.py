"""Transactions to another QUIC stack: quiche with BoringSSL, behind a server of npm's `@matrixai/quic`.

The servers of the other tests are aioquic, from which our client's stack was made: it might get the same things wrong.
The package is put into a temporary folder; where npm or its registry is not to be had the tests are skipped.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from copytrader_core.solana.keys import new_identity
from copytrader_core.solana.routes.quic import client_configuration, identity_certificate, open_connection
from copytrader_core.solana.routes.tpu import TpuRoute

PEER = Path(__file__).with_name("tpu_peer.mjs")
PACKAGE = "@matrixai/quic@2.0.9"
_INSTALL = ("install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=15000")
_SECONDS = 60


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed: no second QUIC implementation to send to")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"name": "peer", "private": true}')
    try:
        done = subprocess.run(
            [npm, *_INSTALL, PACKAGE], cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not install {PACKAGE} within {_SECONDS} s: is its registry reachable?")
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
    return folder


class Peer:
    """The server's process and what it has told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.transactions: list[bytes] = []
        self.identities: list[str] = []
        self.port = 0

    async def until(self, n: int) -> None:
        """Reads until `n` transactions have come."""
        async with asyncio.timeout(_SECONDS):
            while len(self.transactions) < n:
                self._hear(await self._fact())

    async def begun(self) -> None:
        async with asyncio.timeout(_SECONDS):
            self.port = (await self._fact())["port"]

    async def _fact(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise AssertionError((await self._process.stderr.read()).decode()[-2000:])
        found: dict[str, Any] = json.loads(line)
        return found

    def _hear(self, fact: dict[str, Any]) -> None:
        if "transaction" in fact:
            self.transactions.append(bytes.fromhex(fact["transaction"]))
        if "identity" in fact:
            self.identities.append(fact["identity"])


@asynccontextmanager
async def peer(package: Path, folder: Path) -> AsyncIterator[Peer]:
    key = new_identity()
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "cert.pem").write_bytes(identity_certificate(key).public_bytes(Encoding.PEM))
    process = await asyncio.create_subprocess_exec(
        *("node", str(PEER), str(package), str(folder / "key.pem"), str(folder / "cert.pem")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        made = Peer(process)
        await made.begun()
        yield made
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def key_of(identity: Ed25519PrivateKey) -> str:
    return identity.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def transactions(n: int) -> list[bytes]:
    """Random bytes from the shortest to the longest transaction, both ends included."""
    dice = random.Random(n)
    sizes = [200, 1232, *(dice.randint(200, 1232) for _ in range(n - 2))]
    return [dice.randbytes(size) for size in sizes]


async def test_300_of_300_transactions_arrive_byte_for_byte_under_our_identity(package: Path, tmp_path: Path) -> None:
    identity, sent = new_identity(), transactions(300)
    async with peer(package, tmp_path) as other:
        connection, transport = await open_connection("127.0.0.1", other.port, client_configuration(identity), 20)
        try:
            for wire in sent:
                connection.send_transaction(wire)
            await other.until(len(sent))
        finally:
            connection.close()
            transport.close()
    assert sorted(other.transactions) == sorted(sent)
    assert other.identities == [key_of(identity)]


async def test_the_route_to_the_leaders_delivers_there_too(package: Path, tmp_path: Path) -> None:
    identity, sent = new_identity(), transactions(40)
    async with peer(package, tmp_path) as other:
        address = f"127.0.0.1:{other.port}"

        async def leaders(first: int, count: int) -> list[str]:
            return ["leader"] * count

        async def nodes() -> dict[str, str]:
            return {"leader": address}

        route = TpuRoute(leaders, nodes, identity=identity)
        await route.start()
        try:
            route.on_slot(400)
            async with asyncio.timeout(_SECONDS):
                while route.n_connected == 0:  # noqa: ASYNC110 the other side has no event to wait for
                    await asyncio.sleep(0.02)
            for wire in sent:
                await route.send(wire, "1" * 64)
            await other.until(len(sent))
        finally:
            await route.close()
    assert sorted(other.transactions) == sorted(sent) and other.identities == [key_of(identity)]


async def test_a_server_of_another_protocol_is_no_connection(package: Path, tmp_path: Path) -> None:
    configuration = client_configuration(new_identity())
    configuration.alpn_protocols = ["h3"]
    async with peer(package, tmp_path) as other:
        with pytest.raises(OSError):
            await open_connection("127.0.0.1", other.port, configuration, 10)
        assert other.transactions == []
