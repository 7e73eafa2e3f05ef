"""Work that may hang for ever, as with a Postgres that is stopped, done where nobody has to wait for its end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["aside"]

T = TypeVar("T")


async def aside(work: Callable[[], T], seconds: float) -> T:
    """What `work` returns or raises, done in a thread that no exit of the process waits for.

    Raises TimeoutError after `seconds`; the work goes on by itself then, and what it brings is dropped.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 -- it is raised again where the result is waited for
            error = raised
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, daemon=True, name="aside").start()
    return await asyncio.wait_for(done, seconds)
