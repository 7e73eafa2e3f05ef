"""Dagster as it is operated: code server, web server and daemon as processes of their own, and the UI's own API."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

REPO = Path(__file__).resolve().parents[2]
# Dagster's backfill daemon pauses 30 s between its looks, which no setting changes; nothing else differs here.
DAEMON = """
import dagster._daemon.controller as controller
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 2
from dagster._daemon.cli import main
main()
"""
PATIENCE_SECONDS = 300
T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(look: Callable[[], T | None], what: str) -> T:
    """What `look` finds once it finds something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.3)
    raise AssertionError(f"{what} did not happen in {PATIENCE_SECONDS} s")


class Api:
    """The UI's own API, on a port of loopback."""

    port: int

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer of the UI's own API."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"the web server answered {error.code}: {error.read().decode()[-2_000:]}") from error
        assert "errors" not in found, found
        return found["data"]

    def location(self) -> str:
        """The name of the code location, as soon as the web server has found it."""

        def look() -> str | None:
            found = self.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }")
            nodes = found["repositoriesOrError"]["nodes"]
            return str(nodes[0]["location"]["name"]) if nodes else None

        return until(look, "the web server's finding the code location")

    def schedule(self, name: str) -> dict[str, str]:
        """What the API calls a schedule by."""
        own = {"repositoryName": "__repository__", "repositoryLocationName": self.location()}
        return {"scheduleName": name} | own

    def stop_schedule(self, name: str) -> None:
        """Turns a schedule off, as the UI's switch does."""
        found = self.ask(
            """query($selector: ScheduleSelector!) { scheduleOrError(scheduleSelector: $selector) {
                ... on Schedule { scheduleState { id } } } }""",
            selector=self.schedule(name),
        )
        stop = "mutation($id: String!) { stopRunningSchedule(id: $id) { __typename } }"
        done = self.ask(stop, id=found["scheduleOrError"]["scheduleState"]["id"])
        assert done["stopRunningSchedule"]["__typename"] == "ScheduleStateResult"

    def backfill(self, assets: Sequence[str], days: Sequence[dt.date]) -> str:
        """Launches a backfill as the asset graph does; returns its id."""
        found = self.ask(
            """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
                __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            params={"assetSelection": [{"path": [name]} for name in assets], "partitionNames": [str(d) for d in days]},
        )["launchPartitionBackfill"]
        assert found["__typename"] == "LaunchBackfillSuccess", found
        return str(found["backfillId"])

    def launch(self, assets: Sequence[str], day: dt.date) -> str:
        """Launches one run of a day, as the button *Materialize* does; returns its id."""
        selector = {"repositoryName": "__repository__", "repositoryLocationName": self.location(), "jobName": "daily"}
        params = {
            "selector": selector | {"assetSelection": [{"path": [name]} for name in assets]},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": str(day)}]},
        }
        found = self.ask(
            """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }""",
            params=params,
        )["launchRun"]
        assert found["__typename"] == "LaunchRunSuccess", found
        return str(found["run"]["runId"])

    def status_of(self, run_id: str) -> str:
        """Where a run stands."""
        found = self.ask("query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=run_id)
        return str(found["runOrError"]["status"])

    def end_of_backfill(self, backfill: str) -> str:
        """Waits for the end of a backfill; returns its status."""
        query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
            ... on PartitionBackfill { status isAssetBackfill } } }"""

        def look() -> str | None:
            status = self.ask(query, id=backfill)["partitionBackfillOrError"]["status"]
            return None if status in {"REQUESTED", "CANCELING", "FAILING"} else str(status)

        return until(look, f"the end of backfill {backfill}")

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """The runs with these tags, newest first, with what their steps did."""
        found = self.ask(
            """query($filter: RunsFilter!) { runsOrError(filter: $filter) { ... on Runs { results {
                runId status jobName tags { key value } } } } }""",
            filter={"tags": [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]},
        )
        return list(found["runsOrError"]["results"])


class Services(Api):
    """The three processes over one database and one home."""

    def __init__(self, url: str, home: Path, **variables: str) -> None:
        self.home, self.port = home, free_port()
        self._code_port = free_port()
        self._running: list[subprocess.Popen[bytes]] = []
        dagster_home = home / "dagster"
        dagster_home.mkdir(parents=True)
        (dagster_home / "dagster.yaml").write_bytes((REPO / "dagster.yaml").read_bytes())
        self._workspace = dagster_home / "workspace.yaml"
        self._workspace.write_text(f"load_from: [{{grpc_server: {{host: 127.0.0.1, port: {self._code_port}}}}}]\n")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER", "COPYTRADER", "PYTHONDONT"))}
        self._environment = clean | {
            "DATABASE_URL": url,
            "COPYTRADER_HOME": str(home),
            "DAGSTER_HOME": str(dagster_home),
            "DAGSTER_EVENT_BATCH_SIZE": "100",
            **variables,
        }

    def start(self) -> None:
        """The code server first, then the web server; the daemon is started by itself."""
        code = ["-m", "dagster", "api", "grpc", "-h", "127.0.0.1", "-p", str(self._code_port)]
        self._start("code", *code, "-m", "copytrader_assets.definitions")
        web = ["-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(self.port)]
        until(lambda: listens(self._code_port), "the code server")
        self._start("web", *web, "-w", str(self._workspace))
        until(lambda: listens(self.port), "the web server")

    def start_daemon(self) -> None:
        """The daemon: schedules, sensors, backfills, the run queue."""
        self._start("daemon", "-c", DAEMON, "run", "-w", str(self._workspace))

    def stop(self) -> None:
        """Ends all of them."""
        for process in reversed(self._running):
            process.send_signal(signal.SIGINT)
        for process in reversed(self._running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name: str) -> str:
        """What a process has written."""
        return (self.home / f"{name}.log").read_text()

    def _start(self, name: str, *command: str) -> None:
        with (self.home / f"{name}.log").open("wb") as log:
            self._running.append(
                subprocess.Popen(
                    [sys.executable, *command],
                    cwd=REPO,
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )


def listens(port: int) -> bool | None:
    with socket.socket() as probe:
        return True if probe.connect_ex(("127.0.0.1", port)) == 0 else None
