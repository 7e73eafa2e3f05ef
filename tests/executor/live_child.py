"""An executor of the kill drill: `python live_child.py PLAN.json`, until it is killed."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from live_world import settings

from copytrader_core.geyser.client import Endpoint
from copytrader_core.records import Pattern, Release
from copytrader_core.solana.keys import Signer
from executor import feed
from executor.outside import outside
from executor.service import RunOptions, run


async def main(plan: dict[str, object]) -> None:
    config = settings(
        Path(str(plan["home"])),
        block_engine_urls=(str(plan["block_engine"]),),
        nonce_accounts=tuple(plan["nonces"]),  # type: ignore[arg-type]
    )
    patterns = {one["wallet"]: Pattern(**one) for one in plan["patterns"]}  # type: ignore[attr-defined]
    signer = Signer(bytes.fromhex(str(plan["seed"])))
    async with outside(signer, config.executor, plan["rpc"]) as world:  # type: ignore[arg-type]
        stream = feed.updates(Endpoint(str(plan["geyser"])), None, 30.0, signer.address)
        await run(None, config, stream, RunOptions(mode="live"), world, Release("r1", "2026-10-11", patterns, ()))


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
