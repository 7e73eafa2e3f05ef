"""Worker processes for those who kill them, started within milliseconds."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from worker_runs import PATIENCE_SECONDS


class Nursery:
    """Worker processes that start within milliseconds."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pids: list[int] = []

    async def start(self) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self.pids.append(int(await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_SECONDS)))
        return self.pids[-1]


@asynccontextmanager
async def nursery(address: str, url: str, *, planted: bool = True) -> AsyncIterator[Nursery]:
    """Workers of the server at `address`; `planted`: they decode the planted chain, otherwise real transactions."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, Path(__file__).with_name("worker_nursery.py"), address, url, "planted" if planted else "real",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found = Nursery(process)
    try:
        yield found
    finally:
        for pid in found.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        await process.wait()
