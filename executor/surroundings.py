"""What goes beside a run: watchdog, metrics and settings, put together for the service. None of it trades.

The driving loop calls `beat` after every message; the rest are tasks of their own that only read files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from copytrader_core.settings import Settings
from executor.metrics import ExecutorMetrics
from executor.monitor import Live, monitored
from executor.reload import SettingsWatch
from executor.watchdog import Watchdog

__all__ = ["Surroundings"]

_SETTINGS_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.5

Put = Callable[[Any], Awaitable[None]]


class Surroundings:
    """One run's. `folder` is its journal's; `now` tells how the driving loop sees itself, without its lag."""

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        now: Callable[[], Live],
        *,
        watchdog: Watchdog | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises ConfigError for a NOTIFY_SOCKET or WATCHDOG_USEC that no service manager sets."""
        self.metrics = ExecutorMetrics()
        self.watchdog = watchdog or Watchdog.from_environment()
        self.port: int | None = None
        self._folder = folder
        self._settings = settings
        self._now = now
        self._monotonic = monotonic
        self._beaten = self._looked = monotonic()
        self._gap = 0.0
        self._is_ready = False

    def beat(self) -> None:
        """The loop went round: measures how late it is, and twice a second tells the watchdog."""
        moment = self._monotonic()
        self._gap = max(self._gap, moment - self._beaten)
        self._beaten = moment
        if moment - self._looked < _LOOK_SECONDS:
            return
        self._looked = moment
        live = self._now()
        text = f"{live.state}: {live.open_positions} positions, {live.orders_in_flight} orders under way"
        self._is_ready = self._is_ready or self.watchdog.ready(text)
        self.watchdog.beat(live.stream_age_s, self._gap, text)
        self._gap = 0.0

    def live(self) -> Live:
        """This moment, for the pages: with the longest round since the last look, or the one that lasts."""
        live = self._now()
        lag = max(self._gap, self._monotonic() - self._beaten)
        return Live(live.state, live.stream_age_s, lag, live.open_positions, live.orders_in_flight)

    def works(self, put: Put) -> list[Callable[[], Awaitable[None]]]:
        """What goes on for as long as the run lasts: changed settings go into `put`."""
        return [partial(self._reload, put), self._serve]

    def stopping(self) -> None:
        """The end has begun."""
        self.watchdog.stopping()

    async def _reload(self, put: Put) -> None:
        watch = SettingsWatch(self._settings)
        while True:
            await asyncio.sleep(_SETTINGS_SECONDS)
            changed = watch.poll()
            if changed is not None:
                await put(changed)

    async def _serve(self) -> None:
        """Serves for ever, if a port is set. Raises ConfigError if it cannot be had."""
        port = self._settings.executor.metrics_port
        async with AsyncExitStack() as stack:
            if port:
                served = monitored(self.metrics, self._folder, self.live, port, self.watchdog.limits)
                self.port = await stack.enter_async_context(served)
            await asyncio.Event().wait()
