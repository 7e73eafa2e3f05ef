"""Nonce accounts on a live chain, and what must hold of the sales that were signed under them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from live_world import MONEY, SEED, lines_of

from copytrader_core.settings import Settings
from copytrader_core.solana.chain_rpc import ChainRpc
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.routes.rpc import RpcRoute
from copytrader_core.solana.rpc import RpcClient
from executor.nonce_accounts import create
from simnet.live import Live


async def with_nonces(live: Live, count: int, seed: bytes = SEED) -> tuple[str, ...]:
    """A wallet with money and nonce accounts."""
    signer = Signer(seed)
    live.airdrop(signer.pubkey, MONEY)
    route = RpcRoute([live.rpc_url])
    async with RpcClient(live.rpc_url) as client:
        await route.start()
        try:
            made = [await create(ChainRpc(client), route, signer, 10_000) for _ in range(count)]
        finally:
            await route.close()
    return tuple(str(one.address) for one in made)


def sales(lines: Sequence[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """(nonce account, value) -> the intents that were signed under it."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for line in lines:
        for name, values in line["changes"]:
            if name == "move_intent" and "nonce" in values["payload"]:
                nonce = values["payload"]["nonce"]
                found[nonce["account"], nonce["value"]].append(values["intent_id"])
    return found


def ends(lines: Sequence[dict[str, Any]]) -> dict[str, str]:
    """intent -> FILL, REVERTED or EXPIRED; what a fork took back has not ended."""
    found: dict[str, str] = {}
    for line in lines:
        if line["kind"] in ("FILL", "REVERTED", "EXPIRED"):
            found[line["intent_id"]] = line["kind"]
        elif line["kind"] == "ROLLED_BACK":
            found.pop(line["intent_id"], None)
    return found


def check_nonces(config: Settings) -> Counter[str]:
    """Under one value one attempt has landed at most, all others are void, and none is two positions'."""
    lines = lines_of(config)
    ended, kinds = ends(lines), Counter[str]()
    positions = {
        values["intent_id"]: values["payload"]["position_id"]
        for line in lines
        for name, values in line["changes"]
        if name == "plan_intent"
    }
    for intents in sales(lines).values():
        how = Counter(ended.get(one, "OPEN") for one in intents)
        assert how["FILL"] + how["REVERTED"] <= 1, (intents, how)
        assert how["OPEN"] == 0, (intents, how)
        assert len({positions[one] for one in intents}) == 1
        kinds += how
    return kinds


async def another_sale(home: Path, seconds: float = 6.0) -> None:
    """Returns as soon as the journal holds one more sale that is signed under a nonce, or after so long."""
    before = _written(home)
    for _ in range(int(seconds * 200)):
        if _written(home) > before:
            return
        await asyncio.sleep(0.005)


def _written(home: Path) -> int:
    files = (home / "executor" / "live").glob("*")
    return sum(path.read_bytes().count(b'"nonce":') for path in files if path.is_file())
