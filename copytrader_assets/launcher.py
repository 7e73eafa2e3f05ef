"""How runs are launched: Dagster's own way, and with an answer to whether a run's process is still there.

Dagster's default launcher has no such answer. The runs are children of the code server, and they go with it when it is
killed; they would stay STARTED until their longest time is over, and hold the pool that every other run waits for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final

import grpc
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value

_PATIENCE_SECONDS: Final = 10
# A code server that its service manager starts again is back within a minute. One that nobody starts again, after a
# reboot or at another address, took its runs with it.
_GONE_SECONDS: Final = 300.0
_RUNNING: Final = CheckRunHealthResult(WorkerStatus.RUNNING)


class WatchedRunLauncher(DefaultRunLauncher):
    """The default launcher, whose runs are failed when their code server has lost them. Named in dagster.yaml."""

    def __init__(
        self, inst_data: ConfigurableClassData | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(inst_data)
        self._clock = clock
        self._away_since: dict[str, float] = {}

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Asked by the daemon's run monitoring."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED where the code server answers that it has no process of that run, or is gone for five minutes.

        Runs of the command line have no code server: nobody here can know of their process.
        """
        server = run.tags.get(GRPC_INFO_TAG)
        if server is None:
            return _RUNNING
        try:
            has_process = _has_process(json.loads(server), run.run_id)
        except DagsterUserCodeUnreachableError as error:
            return self._unreachable(run.run_id, error)
        self._away_since.pop(run.run_id, None)
        if has_process:
            return _RUNNING
        return CheckRunHealthResult(WorkerStatus.FAILED, "its code server has no process of it any more")

    def _unreachable(self, run_id: str, error: DagsterUserCodeUnreachableError) -> CheckRunHealthResult:
        if not _nobody_listens(error):
            # It is busy, or hangs, and its runs may be well.
            return _RUNNING
        since = self._away_since.setdefault(run_id, self._clock())
        if self._clock() - since < _GONE_SECONDS:
            return _RUNNING
        del self._away_since[run_id]
        return CheckRunHealthResult(WorkerStatus.FAILED, f"its code server is gone for {_GONE_SECONDS:.0f} s")


def _nobody_listens(error: DagsterUserCodeUnreachableError) -> bool:
    cause = error.__cause__
    return isinstance(cause, grpc.RpcError) and cause.code() == grpc.StatusCode.UNAVAILABLE


def _has_process(server: dict[str, str | int | bool], run_id: str) -> bool:
    client = DagsterGrpcClient(
        host=str(server["host"]),
        port=int(server["port"]) if "port" in server else None,
        socket=str(server["socket"]) if "socket" in server else None,
        use_ssl=bool(server.get("use_ssl", False)),
    )
    answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=_PATIENCE_SECONDS)
    return deserialize_value(answer, CanCancelExecutionResult).can_cancel
