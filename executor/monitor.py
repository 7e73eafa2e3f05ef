"""What others see of a running executor: `/metrics` and `/healthz` on loopback, by following the journal's files.

It reads what the trading loop has written, a few lines at a time, and never makes it wait: where it cannot keep up or
the files are damaged, the numbers are what suffers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from copytrader_core.errors import ConfigError, DataError
from copytrader_core.policy.values import TradingState
from executor.metrics import ExecutorMetrics
from executor.wal import WalReader, first_of, head_of, segments_of
from executor.watchdog import Limits

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["HOST", "Follower", "Live", "monitored"]

_log = logging.getLogger("copytrader.executor.monitor")

# The page has no login: it never listens where others could read it.
HOST: Final = "127.0.0.1"
_POLL_SECONDS: Final = 0.5
_PAGE_SECONDS: Final = 1.0
# Twenty lines are about a millisecond: that is how long they may hold the trading loop up at a time.
_LINES_AT_ONCE: Final = 20
_BREATH_SECONDS: Final = 0.002

Answer = tuple[int, str, bytes]
Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Live:
    """The executor at this moment, as its loop sees itself. Ages and lags in seconds."""

    state: TradingState
    stream_age_s: float
    loop_lag_s: float
    open_positions: int
    orders_in_flight: int = 0


class Follower:
    """Reads a journal that another task writes into `metrics`, from the newest segment on."""

    def __init__(self, metrics: ExecutorMetrics, folder: Path) -> None:
        self._metrics = metrics
        self._folder = folder
        self._reader: WalReader | None = None
        self._seq = 0

    async def run(self) -> None:
        """Follows for ever; ends with a warning where the files cannot be read."""
        try:
            while True:
                n = self.step()
                await asyncio.sleep(_BREATH_SECONDS if n else _POLL_SECONDS)
        except (DataError, OSError) as error:
            _log.warning("metrics_stopped error=%r: trading goes on, its numbers stand still", str(error))

    def step(self) -> int:
        """Takes a few lines; returns how many. Raises DataError or OSError where the files cannot be read."""
        segments = segments_of(self._folder)
        if not segments:
            return 0
        if self._reader is None:
            self._begin(segments[-1])
        try:
            lines = self._read()
        except (DataError, FileNotFoundError):
            newest = segments_of(self._folder)[-1]
            if first_of(newest) <= self._seq + 1:
                raise
            # Segments that Postgres has are deleted: the rest of ours is gone, and the newest one stands for it.
            _log.warning("metrics_skipped lines=%d", first_of(newest) - 1 - self._seq)
            self._begin(newest)
            lines = self._read()
        for line in lines:
            self._metrics.apply(line)
            self._seq = line["seq"]
        return len(lines)

    def _read(self) -> list[Line]:
        return self._reader.read(_LINES_AT_ONCE) if self._reader is not None else []

    def _begin(self, segment: Path) -> None:
        self._metrics.begin(head_of(segment)["snapshot"])
        self._seq = first_of(segment) - 1
        self._reader = WalReader(self._folder, self._seq)


@asynccontextmanager
async def monitored(
    metrics: ExecutorMetrics, folder: Path, live: Callable[[], Live], port: int, limits: Limits | None = None
) -> AsyncIterator[int]:
    """Follows the journal in `folder` and serves `metrics` while the block runs; gives the port (0 takes any free one).

    `live` is asked at every look. Raises ConfigError if the port cannot be had.
    """
    runner = await _serve(metrics, live, port, limits or Limits())
    following = asyncio.create_task(Follower(metrics, folder).run())
    try:
        yield runner.addresses[0][1]
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await runner.cleanup()


async def _serve(metrics: ExecutorMetrics, live: Callable[[], Live], port: int, limits: Limits) -> web.AppRunner:
    # The web server takes a while to import: only an executor that serves pays for it.
    from aiohttp import web

    made_at, made = float("-inf"), b""

    def numbers() -> Answer:
        # It takes milliseconds of the loop that trades, so it is made once a second at most, whoever asks.
        nonlocal made_at, made
        if (now := time.monotonic()) >= made_at + _PAGE_SECONDS:
            metrics.set_live(**asdict(live()))
            made_at, made = now, metrics.exposition()
        return 200, CONTENT_TYPE_LATEST, made

    def health() -> Answer:
        document = _health(live(), limits)
        return 200 if document["healthy"] else 503, "application/json", orjson.dumps(document) + b"\n"

    app = web.Application()
    app.router.add_get("/metrics", _page(numbers))
    app.router.add_get("/healthz", _page(health))
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            f"metrics port {port}: {HOST} cannot be listened on there ({error}): choose a free port, or 0 for none"
        ) from error
    _log.info("metrics url=http://%s:%d/metrics", HOST, runner.addresses[0][1])
    return runner


def _page(content: Callable[[], Answer]) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        from aiohttp import web

        status, kind, body = content()
        return web.Response(status=status, body=body, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    return answer


def _health(live: Live, limits: Limits) -> dict[str, Any]:
    """What /healthz says. A state that somebody has set is no illness; a silent stream and a late loop are."""
    complaint = limits.complaint(live.stream_age_s, live.loop_lag_s)
    return {"healthy": complaint is None, "reason": complaint} | asdict(live)
