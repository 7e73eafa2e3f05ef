"""`copytrader simnet play` without its command line: a tape in the foreground until it ends or somebody stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from simnet.json_rpc import RpcServer
from simnet.yellowstone import YellowstoneServer

__all__ = ["play"]


async def play(
    serving: AbstractAsyncContextManager[YellowstoneServer],
    *,
    exit_at_end: bool,
    rpc_port: int | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Runs `serving` (what `serve` returns) until SIGTERM, SIGINT or, with `exit_at_end`, the end of the tape.

    The first line said is the address alone, so that a script can read it; with an `rpc_port` (0 takes a free one) the
    second is "rpc ADDRESS". Raises what the servers raise.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving)
        rpc = RpcServer(server.broadcast) if rpc_port is not None else None
        if rpc is not None:
            await rpc.start(rpc_port or 0)
            stack.push_async_callback(rpc.stop)
        say(server.address)
        if rpc is not None:
            say(f"rpc {rpc.address}")
        stop = asyncio.create_task(stopped.wait())
        # Also without exit_at_end: this is where a damaged tape is heard of.
        played = asyncio.create_task(server.wait_played())
        await asyncio.wait((stop, played), return_when=asyncio.FIRST_COMPLETED)
        if played.done():
            played.result()
            say(f"the tape has been played, the last slot is {server.tip_slot}")
            if not exit_at_end:
                await stopped.wait()
        for task in (stop, played):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
