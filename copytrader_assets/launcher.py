"""How runs are launched: Dagster's own way, and with an answer to whether a run's process is still there.

Dagster's default launcher has no such answer. The runs are children of the code server, and they go with it when it is
killed; they would stay STARTED until their longest time is over, and hold the pool that every other run waits for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import DagsterEventType, EngineEventData
from dagster._core.execution.retries import auto_reexecution_should_retry_run
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.dagster_run import DagsterRun, DagsterRunStatus
from dagster._core.storage.tags import GRPC_INFO_TAG, WILL_RETRY_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value

_PATIENCE_SECONDS: Final = 10
# A code server that its service manager starts again is back within a minute. One that nobody starts again, after a
# reboot or at another address, took its runs with it.
_GONE_SECONDS: Final = 300.0
# The daemon loads the code location of a code server that has come back; before that no run can be started again.
_LOST_SECONDS: Final = 20.0
_RUNNING: Final = CheckRunHealthResult(WorkerStatus.RUNNING)


class WatchedRunLauncher(DefaultRunLauncher):
    """The default launcher, whose runs are failed when their code server has lost them. Named in dagster.yaml."""

    def __init__(
        self, inst_data: ConfigurableClassData | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(inst_data)
        self._clock = clock
        self._missed_since: dict[tuple[str, float], float] = {}

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Asked by the daemon's run monitoring."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED where the code server says for 20 s that it has no process of that run, or is gone for five minutes.

        Runs of the command line have no code server: nobody here can know of their process.
        """
        server = run.tags.get(GRPC_INFO_TAG)
        if server is None:
            return _RUNNING
        lost, gone = (run.run_id, _LOST_SECONDS), (run.run_id, _GONE_SECONDS)
        try:
            has_process = _has_process(json.loads(server), run.run_id)
        except DagsterUserCodeUnreachableError as error:
            # One that is busy, or hangs, may be well, and its runs too.
            return self._missed(run, gone, "its code server is gone") if _nobody_listens(error) else _RUNNING
        self._missed_since.pop(gone, None)
        if has_process and not self._has_ended(run):
            self._missed_since.pop(lost, None)
            return _RUNNING
        return self._missed(run, lost, "its code server has no process of it any more")

    def _has_ended(self, run: DagsterRun) -> bool:
        """Whether the process that the run has told of is no more, although its code server believes in it.

        A code server looks after its runs in one thread, which does not outlive a Postgres that is away for a moment.
        A code server on this machine alone is doubted: elsewhere the number would mean another process.
        """
        if not self.has_instance or not _is_here(json.loads(run.tags[GRPC_INFO_TAG])):
            return False
        told = self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        events = [entry.dagster_event.event_specific_data for entry in told if entry.dagster_event is not None]
        known = [
            one.metadata["pid"].value for one in events if isinstance(one, EngineEventData) and "pid" in one.metadata
        ]
        return bool(known) and not _lives(int(str(known[-1])))

    def _missed(self, run: DagsterRun, what: tuple[str, float], why: str) -> CheckRunHealthResult:
        """FAILED once it has been so for its seconds."""
        since = self._missed_since.setdefault(what, self._clock())
        if self._clock() - since < what[1]:
            return _RUNNING
        del self._missed_since[what]
        self._announce_retry(run)
        return CheckRunHealthResult(WorkerStatus.FAILED, why)

    def _announce_retry(self, run: DagsterRun) -> None:
        """Says beforehand that the run will be started again.

        Dagster says so a moment after it has marked a run failed. A backfill that looks in between finds all of its
        runs ended, gives up, and then nothing is started again.
        """
        if self.has_instance and self._instance.run_retries_enabled:
            failed = run.with_status(DagsterRunStatus.FAILURE)
            will_retry = auto_reexecution_should_retry_run(self._instance, failed, None)
            self._instance.add_run_tags(run.run_id, {WILL_RETRY_TAG: str(will_retry).lower()})


def _nobody_listens(error: DagsterUserCodeUnreachableError) -> bool:
    cause = error.__cause__
    return isinstance(cause, grpc.RpcError) and cause.code() == grpc.StatusCode.UNAVAILABLE


def _is_here(server: dict[str, str | int | bool]) -> bool:
    return "socket" in server or server.get("host") in ("localhost", "127.0.0.1")


def _lives(pid: int) -> bool:
    """False too for one that has ended and that nobody has asked after."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        # Without /proc nothing can be known.
        return not Path("/proc/self/stat").exists()


def _has_process(server: dict[str, str | int | bool], run_id: str) -> bool:
    client = DagsterGrpcClient(
        host=str(server["host"]),
        port=int(server["port"]) if "port" in server else None,
        socket=str(server["socket"]) if "socket" in server else None,
        use_ssl=bool(server.get("use_ssl", False)),
    )
    answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=_PATIENCE_SECONDS)
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel
