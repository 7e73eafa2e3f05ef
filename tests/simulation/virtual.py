"""Virtual time: an event loop that never sleeps, counts its steps and can be killed at any of them.

The world's own happenings stand on a `Timeline`, outside of any process. A loop is one process: it runs its callbacks
one by one, and when it has none the time jumps to whatever comes next, in the world or in the loop. After `kill` the
world goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from unittest import mock

START_NS: Final = 1_791_800_000_000_000_000
"""2026-10-12: the layouts of the events are dated."""
_BURIAL_STEPS: Final = 5_000


class Killed(BaseException):
    """The process is gone, in the middle of a step. No handler may catch it as an error."""


class Timeline:
    """What happens in the world and when, in nanoseconds UTC. Equal times keep the order of their entry."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._entries = 0

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        """Enters an action; one of the past happens now."""
        self._entries += 1
        heapq.heappush(self._agenda, (max(when_ns, self.now_ns), self._entries, action))

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Enters an action so many nanoseconds from now."""
        self.at(self.now_ns + delay_ns, action)

    @property
    def next_ns(self) -> int | None:
        """When the next action is due."""
        return self._agenda[0][0] if self._agenda else None

    def step(self) -> None:
        """Goes to the next action and does it."""
        self.now_ns, _, action = heapq.heappop(self._agenda)
        action()

    def run_until(self, when_ns: int) -> None:
        """Everything up to `when_ns`, which then is now."""
        while self._agenda and self._agenda[0][0] <= when_ns:
            self.step()
        self.now_ns = max(self.now_ns, when_ns)


class VirtualLoop(asyncio.BaseEventLoop):
    """One process on the timeline. `steps` counts the callbacks that have run: each is the end of an await."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.steps = 0
        self.problems: list[str] = []
        self.before_step: Callable[[], bool] = lambda: True
        """Asked before every step; False stops the loop there."""
        self.tasks: list[asyncio.Task[Any]] = []
        """Every task that was ever made here."""
        self._timeline = timeline
        self._begun_ns = timeline.now_ns
        self._offset_ns = 0
        self._is_buried = False
        self.set_exception_handler(self._unheard)

    def time(self) -> float:
        """Seconds since the process began."""
        now_ns = self._begun_ns if self._is_buried else self._timeline.now_ns
        return (now_ns + self._offset_ns - self._begun_ns) / 1e9

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """What a thread would do is done in a step of its own: threads are not deterministic."""
        future = self.create_future()
        self.call_soon(_run_into, future, func, args)
        return future

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """As ever; the task is kept, so that none can vanish with an error that nobody heard."""
        task = super().create_task(coro, **options)
        self.tasks.append(task)
        return task

    def unheard(self) -> list[str]:
        """Errors of ended tasks that nobody has asked for, and of callbacks."""
        silent = [task for task in self.tasks if task.done() and task._log_traceback]  # type: ignore[attr-defined]
        errors = [task.exception() for task in silent]
        return self.problems + [repr(error) for error in errors if not isinstance(error, Killed)]

    def bury(self) -> None:
        """Lets the tasks of a dead process unwind where nothing of it reaches the world, and forgets the rest."""
        self._is_buried = True
        self.before_step = lambda: True
        self.set_exception_handler(lambda *_: None)
        tasks = [task for task in self.tasks if not task.done()]
        for task in tasks:
            task.cancel()
        last = self.steps + _BURIAL_STEPS
        self.before_step = lambda: self.steps < last and not all(task.done() for task in tasks)
        self.run_forever()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if task.done() and not task.cancelled():
                task.exception()
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        self._asyncgens.clear()  # type: ignore[attr-defined]
        self.tasks.clear()
        self.close()

    def _run_once(self) -> None:
        """One callback. The base class runs all that are ready, which would hide the points between them."""
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]
        while not ready and not self._stopping:  # type: ignore[attr-defined]
            self._take_due(timers)
            if not ready and not self._pass_time(timers):
                self.stop()
        self._take_due(timers)
        if not ready or self._stopping:  # type: ignore[attr-defined]
            return
        if not self.before_step():
            self.stop()
            return
        handle = ready.popleft()
        if not handle._cancelled:
            self.steps += 1
            handle._run()

    def _take_due(self, timers: list[asyncio.TimerHandle]) -> None:
        now = self.time()
        while timers and (timers[0]._cancelled or timers[0]._when <= now):  # type: ignore[attr-defined]
            handle = heapq.heappop(timers)
            handle._scheduled = False  # type: ignore[attr-defined]
            if not handle._cancelled:
                self._ready.append(handle)  # type: ignore[attr-defined]

    def _pass_time(self, timers: list[asyncio.TimerHandle]) -> bool:
        """Goes to the next timer or happening; False where there is neither."""
        due = self._begun_ns + round(timers[0]._when * 1e9) + 1 if timers else None  # type: ignore[attr-defined]
        if self._is_buried:
            if due is not None:
                self._offset_ns = due - self._begun_ns
            return due is not None
        following = self._timeline.next_ns
        if following is not None and (due is None or following <= due):
            self._timeline.step()
        elif due is not None:
            self._timeline.now_ns = max(due, self._timeline.now_ns)
        return following is not None or due is not None

    def _unheard(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Killed):
            self.problems.append(f"{context['message']}: {error!r}")

    def _write_to_self(self) -> None:
        """Nobody sleeps, nobody has to be woken."""

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets."""


def _run_into(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.cancelled():
        return
    try:
        future.set_result(func(*args))
    except Exception as error:  # noqa: BLE001 - handed to whoever awaits it
        future.set_exception(error)


@contextlib.contextmanager
def outside_world(timeline: Timeline, seed: int, write: Callable[[int, bytes], int]) -> Iterator[None]:
    """Clocks and chance of the whole process come from the timeline and the seed; `write` stands for `os.write`.

    Syncing files does nothing: a killed process loses nothing that it wrote.
    """
    rng = random.Random(f"{seed}/process")
    state = random.getstate()
    random.seed(f"{seed}/module")
    gmtime, localtime, strftime = time.gmtime, time.localtime, time.strftime

    def seconds() -> float:
        return timeline.now_ns / 1e9

    def token_bytes(count: int | None = None) -> bytes:
        return rng.randbytes(32 if count is None else count)

    clocks: dict[str, Callable[..., Any]] = {
        **dict.fromkeys(("time_ns", "monotonic_ns", "perf_counter_ns"), lambda: timeline.now_ns),
        **dict.fromkeys(("time", "monotonic", "perf_counter"), seconds),
        "gmtime": lambda at=None: gmtime(seconds() if at is None else at),
        "localtime": lambda at=None: localtime(seconds() if at is None else at),
        "strftime": lambda form, at=None: strftime(form, localtime(seconds()) if at is None else at),
    }
    chance: dict[str, Callable[..., Any]] = {
        "token_bytes": token_bytes,
        "token_hex": lambda count=None: token_bytes(count).hex(),
        "randbelow": rng.randrange,
        "choice": rng.choice,
    }
    files: dict[str, Callable[..., Any]] = {
        "fsync": lambda _: None,
        "fdatasync": lambda _: None,
        "write": write,
        "urandom": token_bytes,
    }
    with contextlib.ExitStack() as stack:
        for module, names in ((time, clocks), (secrets, chance), (os, files)):
            for name, replacement in names.items():
                stack.enter_context(mock.patch.object(module, name, replacement))
        try:
            yield
        finally:
            random.setstate(state)
