"""Whether a run's process is still there: asked of its code server, and decided with care where that is away."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import dagster as dg
import grpc
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.storage.tags import GRPC_INFO_TAG, WILL_RETRY_TAG
from dagster._grpc.__generated__ import dagster_api_pb2, dagster_api_pb2_grpc
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value, serialize_value

from copytrader_assets import launcher
from copytrader_assets.launcher import WatchedRunLauncher
from tests.assets.services import REPO, free_port


class CodeServer(dagster_api_pb2_grpc.DagsterApiServicer):
    """Knows the processes of the runs in `running`; answers nothing while it is not `free`."""

    def __init__(self, *running: str) -> None:
        self.running = set(running)
        self.port = free_port()
        self.free = threading.Event()
        self.free.set()
        self._server: grpc.Server | None = None

    def start(self) -> None:
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        dagster_api_pb2_grpc.add_DagsterApiServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        self.free.set()
        if self._server is not None:
            self._server.stop(None).wait()

    def CanCancelExecution(self, request: Any, context: Any) -> Any:
        self.free.wait(20)
        asked = deserialize_value(request.serialized_can_cancel_execution_request, CanCancelExecutionRequest)
        answer = serialize_value(CanCancelExecutionResult(can_cancel=asked.run_id in self.running))
        return dagster_api_pb2.CanCancelExecutionReply(serialized_can_cancel_execution_result=answer)


@pytest.fixture
def server() -> Iterator[CodeServer]:
    found = CodeServer("alive")
    found.start()
    yield found
    found.stop()


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run_of(server: CodeServer, run_id: str) -> DagsterRun:
    return DagsterRun("daily", run_id, tags={GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": server.port})})


def test_a_run_whose_process_is_there_runs(server: CodeServer, clock: Clock) -> None:
    asked = WatchedRunLauncher(clock=clock)
    for seconds in (0.0, 1_000.0):
        clock.seconds = seconds
        assert asked.check_run_worker_health(run_of(server, "alive")).status == WorkerStatus.RUNNING


def test_a_run_without_a_process_is_failed_once_the_daemon_can_start_it_again(server: CodeServer, clock: Clock) -> None:
    asked, found = WatchedRunLauncher(clock=clock), []
    for seconds in (0.0, 19.0, 21.0):
        clock.seconds = seconds
        found.append(asked.check_run_worker_health(run_of(server, "lost")).status)
    assert found == [WorkerStatus.RUNNING, WorkerStatus.RUNNING, WorkerStatus.FAILED]


def test_a_run_of_the_command_line_is_left_alone() -> None:
    run = DagsterRun("daily", "typed by somebody")
    assert WatchedRunLauncher().check_run_worker_health(run).status == WorkerStatus.RUNNING


def test_a_code_server_that_comes_back_in_time_is_asked_again(server: CodeServer, clock: Clock) -> None:
    asked, run = WatchedRunLauncher(clock=clock), run_of(server, "alive")
    server.stop()
    for seconds in (0.0, 200.0):
        clock.seconds = seconds
        assert asked.check_run_worker_health(run).status == WorkerStatus.RUNNING
    server.start()
    clock.seconds = 290.0
    assert asked.check_run_worker_health(run).status == WorkerStatus.RUNNING
    server.stop()
    clock.seconds = 310.0
    assert asked.check_run_worker_health(run).status == WorkerStatus.RUNNING, "the time begins anew"


def test_a_code_server_that_nobody_starts_again_took_its_runs_with_it(server: CodeServer, clock: Clock) -> None:
    asked, run = WatchedRunLauncher(clock=clock), run_of(server, "alive")
    server.stop()
    assert asked.check_run_worker_health(run).status == WorkerStatus.RUNNING
    clock.seconds = 301.0
    assert asked.check_run_worker_health(run).status == WorkerStatus.FAILED


def test_a_code_server_that_hangs_may_still_have_its_runs(
    server: CodeServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_PATIENCE_SECONDS", 1)
    asked, run = WatchedRunLauncher(clock=clock), run_of(server, "alive")
    server.free.clear()
    for seconds in (0.0, 10_000.0):
        clock.seconds = seconds
        assert asked.check_run_worker_health(run).status == WorkerStatus.RUNNING


def test_the_instance_of_the_project_has_it(monkeypatch: pytest.MonkeyPatch, pg_url: str) -> None:
    monkeypatch.setenv("DAGSTER_PG_URL", pg_url)
    with dg.DagsterInstance.from_config(str(REPO)) as instance:
        assert isinstance(instance.run_launcher, WatchedRunLauncher)
        assert instance.run_launcher.supports_check_run_worker_health
        assert instance.run_monitoring_enabled


@pytest.fixture
def kept(server: CodeServer, clock: Clock) -> Iterator[Kept]:
    with dg.instance_for_test({"run_retries": {"enabled": True, "max_retries": 1}}) as instance:
        asked = WatchedRunLauncher(clock=clock)
        asked.register_instance(instance)
        yield Kept(instance, asked, server, clock)


@dataclass
class Kept:
    """A launcher that has an instance, and so the events of its runs."""

    instance: dg.DagsterInstance
    launcher: WatchedRunLauncher
    server: CodeServer
    clock: Clock

    def add(self) -> DagsterRun:
        tags = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": self.server.port})}
        return self.instance.add_run(DagsterRun("daily", str(uuid.uuid4()), tags=tags))

    def after_a_while(self, run: DagsterRun) -> WorkerStatus:
        """What is found 21 s after the first look."""
        self.launcher.check_run_worker_health(run)
        self.clock.seconds += 21.0
        return self.launcher.check_run_worker_health(run).status


def test_a_lost_run_says_that_it_is_started_again_before_it_is_failed(kept: Kept) -> None:
    """A backfill that looks between the two gives up otherwise."""
    run = kept.add()
    assert kept.after_a_while(run) == WorkerStatus.FAILED
    known = kept.instance.get_run_by_id(run.run_id)
    assert known is not None and known.tags[WILL_RETRY_TAG] == "true"


@pytest.mark.parametrize("reaped", [True, False])
def test_a_code_server_that_believes_in_a_dead_process_is_not_believed(kept: Kept, reaped: bool) -> None:
    """Its thread that looks after runs ends with the first error of Postgres."""
    run = kept.add()
    kept.server.running.add(run.run_id)
    process = subprocess.Popen(["sleep", "600"])
    kept.instance.report_engine_event("Started process for run", run, EngineEventData.in_process(process.pid))
    assert kept.after_a_while(run) == WorkerStatus.RUNNING
    process.kill()
    if reaped:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert kept.after_a_while(run) == WorkerStatus.FAILED
    process.wait()
