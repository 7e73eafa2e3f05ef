"""What others see of a running worker: `/metrics` and `/healthz` on loopback, the service manager, the clock alarm.

It runs on the worker's loop, so that a loop that hangs answers nobody and pings no watchdog.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from copytrader_core.errors import ConfigError
from copytrader_core.service import Service
from ingest_worker.health import State, Verdict
from ingest_worker.skew import Witness
from ingest_worker.telemetry import CONTENT_TYPE, Telemetry

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["HOST", "Monitor", "monitored"]

_log = logging.getLogger("copytrader.ingest.monitor")

# The page has no login: it never listens where others could read it.
HOST = "127.0.0.1"
_TICK_SECONDS = 1.0
# systemd asks for a ping at least every half of its time; a third leaves room for a slow second.
_PINGS_PER_WATCHDOG = 3
_BAD = (State.STALLED, State.DATABASE_AWAY, State.COMMITS_LATE, State.STUCK)
_BEGUN = (State.STANDBY, State.CONNECTING, State.STREAMING, State.STALLED, State.COMMITS_LATE)


@asynccontextmanager
async def monitored(telemetry: Telemetry, service: Service, port: int | None = None) -> AsyncIterator[Monitor]:
    """Watches a worker that reports to `telemetry` while the block runs; serves on `port` (0: any free one) if given.

    Raises ConfigError if the port cannot be had.
    """
    monitor = Monitor(telemetry, service)
    runner = None if port is None else await _serve(monitor, port)
    watching = asyncio.create_task(monitor.watch())
    try:
        yield monitor
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        monitor.look()
        if runner is not None:
            await runner.cleanup()


class Monitor:
    """Looks at the telemetry once a second and says what has changed."""

    def __init__(self, telemetry: Telemetry, service: Service) -> None:
        self.telemetry = telemetry
        self.port: int | None = None
        self._service = service
        self._told_ready = False
        self._told_stopping = False
        self._state: State | None = None
        self._complaint: str | None = None

    async def watch(self) -> None:
        """Looks for ever."""
        watchdog = self._service.watchdog_seconds
        tick = _TICK_SECONDS if watchdog is None else min(_TICK_SECONDS, watchdog / _PINGS_PER_WATCHDOG)
        while True:
            self.look()
            await asyncio.sleep(tick)

    def look(self) -> None:
        """One look: the state, the clocks, the service manager."""
        verdict = self.telemetry.verdict()
        self._log_state(verdict)
        self._log_clocks()
        self._tell(verdict)

    def document(self) -> dict[str, Any]:
        """What /healthz says."""
        telemetry = self.telemetry
        verdict = telemetry.verdict()
        offsets = {witness.value: telemetry.skew.offset_seconds(witness) for witness in Witness}
        return {
            "healthy": verdict.healthy,
            "state": verdict.state.value,
            "reason": verdict.reason,
            "tip_slot": telemetry.tip_slot or None,
            "checkpoint_slot": telemetry.checkpoint_slot or None,
            "slots_behind_tip": telemetry.slots_behind(),
            "gaps_open": telemetry.open_gaps,
            "clock": telemetry.clock_complaint() or "ok",
            "clock_offset_seconds": {name: None if x is None else round(x, 3) for name, x in offsets.items()},
        }

    def _tell(self, verdict: Verdict) -> None:
        status = self._line(verdict)
        if verdict.state is State.STOPPING:
            if not self._told_stopping:
                self._told_stopping = self._service.stopping(status)
            return
        # A worker that stands by has started: a manager that waited for the lock would end it.
        if not self._told_ready and verdict.state in _BEGUN:
            self._told_ready = self._service.ready(status)
        if verdict.lives:
            self._service.alive(status)
        else:
            self._service.status(status)

    def _line(self, verdict: Verdict) -> str:
        slots = f"slot {self.telemetry.checkpoint_slot}, {self.telemetry.slots_behind()} behind"
        return f"{verdict.state}: {verdict.reason or slots}"

    def _log_state(self, verdict: Verdict) -> None:
        if verdict.state is self._state:
            return
        was, self._state = self._state, verdict.state
        level = logging.WARNING if verdict.state in _BAD else logging.INFO
        _log.log(level, "state now=%s was=%s reason=%r", verdict.state, was or "none", verdict.reason or "")

    def _log_clocks(self) -> None:
        complaint = self.telemetry.clock_complaint()
        if (complaint is None) is not (self._complaint is None):
            if complaint is None:
                _log.warning("clock_ok")
            else:
                _log.warning("clock_skewed what=%r", complaint)
        self._complaint = complaint


async def _serve(monitor: Monitor, port: int) -> web.AppRunner:
    # The web server takes a while to import: only a worker that serves pays for it.
    from aiohttp import web

    app = web.Application()
    app.router.add_get("/metrics", _page(lambda: (200, CONTENT_TYPE, monitor.telemetry.exposition())))
    app.router.add_get("/healthz", _page(lambda: _health(monitor)))
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            f"--metrics-port {port}: {HOST} cannot be listened on there ({error}): choose a free port, or 0 for none"
        ) from error
    monitor.port = runner.addresses[0][1]
    _log.info("metrics url=http://%s:%d/metrics", HOST, monitor.port)
    return runner


def _page(content: Callable[[], tuple[int, str, bytes]]) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        from aiohttp import web

        status, kind, body = content()
        return web.Response(status=status, body=body, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    return answer


def _health(monitor: Monitor) -> tuple[int, str, bytes]:
    document = monitor.document()
    return 200 if document["healthy"] else 503, "application/json", json.dumps(document).encode() + b"\n"
