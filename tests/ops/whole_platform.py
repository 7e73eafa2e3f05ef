"""Every service of deploy/systemd/ at once, over one database and one home, with a chain that is traded meanwhile."""

from __future__ import annotations

import http.client
import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient

from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.migrations import migrate
from tests.assets.services import Api, free_port, listens
from tests.conftest import unit_directives
from tests.executor.planted_market import publish
from tests.ops.commands import clean_environment
from tests.ops.live_market import Market, record
from tests.ops.supervised import Pings, Unit, kill_postgres, until

REPO = Path(__file__).resolve().parents[2]
POSTGRES = "postgres"
# Dagster's daemon pauses up to 30 s between its looks and heartbeats, which no setting changes; nothing else differs.
DAEMON = """
import functools
import dagster._daemon.cli as cli
import dagster._daemon.controller as controller
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 1
cli.daemon_controller_from_instance = functools.partial(
    cli.daemon_controller_from_instance, heartbeat_interval_seconds=1
)
cli.main()
"""


@dataclass
class Platform(Api):
    """`units` by name; Postgres is none of them, since `copytrader` starts it by itself."""

    folder: Path
    database: EmbeddedPostgres
    url: str
    market: Market
    hook: str
    port: int = field(default_factory=free_port)
    units: dict[str, Unit] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    _away: str | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def socket(self) -> Path:
        return self.folder / "code.sock"

    @property
    def names(self) -> list[str]:
        return [POSTGRES, *self.units]

    def add(self, name: str, command: list[str], pulse: Callable[[], float | None], **more: str) -> None:
        self.units[name] = Unit(name, command, environment(self, **more), self.folder, pulse)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, connect_timeout=5) as connection:
            return connection.execute(query).fetchall()

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Kills it, keeps it away for the block, starts it again."""
        self._away = name
        if name == POSTGRES:
            kill_postgres(self.url)
        else:
            self.units[name].kill()
        yield
        if name == POSTGRES:
            assert self.database.start() == self.url
        else:
            self.units[name].start()
        self._away = None

    def wait_until_all_go_on(self, names: list[str], why: str) -> None:
        """Every one of `names` does some of its work from now on. Whatever ended by itself is started again."""
        waiting = {name: None for name in names if name != POSTGRES}
        seen: dict[str, float] = {}

        def moved() -> bool:
            for name in list(waiting):
                now = self.units[name].pulse()
                if now is not None and now > seen.setdefault(name, now):
                    del waiting[name]
            return not waiting

        until(moved, lambda: self._told(list(waiting), why), self._look_after)

    def _look_after(self) -> None:
        for unit in self.units.values():
            if unit.name != self._away:
                unit.restart_if_ended()

    def _told(self, waiting: list[str], why: str) -> str:
        logs = "\n".join(f"--- {name}\n{self.units[name].tail()}" for name in waiting)
        return f"{why}: {waiting} do not go on\n{logs}"

    # What each service tells of itself.

    def metric(self, unit: str, name: str) -> float | None:
        text = answered(f"http://127.0.0.1:{self.ports[unit]}/metrics")
        lines = [line for line in (text or "").splitlines() if line.startswith(f"{name} ")]
        return float(lines[0].split()[1]) if lines else None

    def executor_heard_at(self) -> float | None:
        """When its stream moved last."""
        age = self.metric("executor", "copytrader_executor_stream_age_seconds")
        return None if age is None else time.monotonic() - age

    def web_answered_at(self) -> float | None:
        return time.monotonic() if answered(f"http://127.0.0.1:{self.port}/server_info") else None

    def code_answered_at(self) -> float | None:
        with suppress(DagsterUserCodeUnreachableError):
            DagsterGrpcClient(socket=str(self.socket)).ping("")
            return time.monotonic()
        return None

    def daemon_beat_at(self) -> float | None:
        """The oldest of its daemons' heartbeats: all of them have to go on."""
        with suppress(psycopg.Error):
            found = self.rows(
                "SELECT count(*), extract(epoch FROM min(timestamp)) FROM dagster.daemon_heartbeats"
                " WHERE daemon_type IN ('SENSOR', 'SCHEDULER', 'BACKFILL', 'QUEUED_RUN_COORDINATOR', 'MONITORING')"
            )
            return float(found[0][1]) if found[0][0] == 5 else None
        return None


def answered(url: str) -> str | None:
    """The body of a GET that was answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except (OSError, http.client.HTTPException):
        return None


@contextmanager
def platform_at_work(
    folder: Path, hook: str, seed: int, slots: int, *, with_dagster: bool = True
) -> Iterator[Platform]:
    """Everything but the cockpit's page. The chain begins once worker and executor have subscribed."""
    database = EmbeddedPostgres(folder / "pg")
    url = database.start()
    migrate(url)
    publish(url)
    market = record(folder / "now.tape", slots, seed)
    platform = Platform(folder, database, url, market, hook)
    pings = Pings(folder / "notify")
    chain = Unit("chain", [], {}, folder, lambda: None)
    try:
        address = f"127.0.0.1:{free_port()}"
        make_units(platform, address, pings)
        if with_dagster:
            make_dagster(platform)
        for unit in platform.units.values():
            unit.start()
        command = ("simnet", "play", str(folder / "now.tape"), "--port", address.rpartition(":")[2])
        chain.command = copytrader(*command, "--wait-for-clients", "2")
        chain.environment = environment(platform)
        chain.start()
        yield platform
    finally:
        for unit in [*platform.units.values(), chain]:
            if unit.process is not None:
                unit.kill()
        pings.close()
        database.remove()


def copytrader(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "copytrader_cli.main", *arguments]


def environment(platform: Platform, **more: str) -> Mapping[str, str]:
    proxies = {name: value for name, value in clean_environment().items() if not name.lower().endswith("_proxy")}
    kept = {name: value for name, value in proxies.items() if name != "PYTHONDONTWRITEBYTECODE"}
    own = {
        "DATABASE_URL": platform.url,
        "COPYTRADER_HOME": str(platform.home),
        "PYTHONPATH": str(REPO),
        "DAGSTER_HOME": str(platform.home / "dagster"),
        **of_the_units("DAGSTER_EVENT_BATCH_SIZE", "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"),
        # What is drilled are the services, not the guards.
        "COPYTRADER_RISK__MAX_LOSS_PER_HOUR_SOL": "10000",
        "COPYTRADER_RISK__MAX_LOSS_PER_DAY_SOL": "10000",
    }
    return kept | own | more


def of_the_units(*names: str) -> dict[str, str]:
    """What the daemon's unit gives these variables."""
    given = unit_directives(REPO / "deploy" / "systemd" / "copytrader-dagster-daemon.service")["Environment"]
    known = dict(part.split("=", 1) for line in given for part in line.split())
    return {name: known[name] for name in names}


def make_units(platform: Platform, chain: str, pings: Pings) -> None:
    ports = platform.ports = {name: free_port() for name in ("ingest", "executor", "cockpit")}
    endpoint = ("--endpoint", chain)
    metrics = {"COPYTRADER_EXECUTOR__METRICS_PORT": str(ports["executor"])}
    kinds = dict.fromkeys(("TRADES", "FAILED", "RELEASE"), "on")
    told = {f"COPYTRADER_ALERTS__KINDS__{kind}": level for kind, level in kinds.items()}
    told |= {"COPYTRADER_ALERTS__WEBHOOK_URL_FILE": platform.hook, "COPYTRADER_ALERTS__KEEP": "10000"}
    platform.add(
        "ingest",
        copytrader("ingest", *endpoint, "--metrics-port", str(ports["ingest"])),
        lambda: platform.metric("ingest", "copytrader_ingest_checkpoint_slot"),
    )
    platform.add("executor", copytrader("executor", "run", *endpoint), platform.executor_heard_at, **metrics)
    platform.add(
        "cockpit",
        copytrader("cockpit", "--port", str(ports["cockpit"])),
        lambda: time.monotonic() if listens(ports["cockpit"]) else None,
    )
    platform.add("alerts", copytrader("alerts"), pings.pulse, NOTIFY_SOCKET=pings.address, **told)


def make_dagster(platform: Platform) -> None:
    """Code server, daemon and web server as their units call them."""
    workspace = prepare_dagster(platform)
    dagster = [sys.executable, "-m", "dagster"]
    code = ("api", "grpc", "--socket", str(platform.socket), "--module-name", "copytrader_assets.definitions")
    web = ("-h", "127.0.0.1", "-p", str(platform.port), "-w", workspace)
    platform.add("code", [*dagster, *code, "--location-name", "copytrader_assets"], platform.code_answered_at)
    platform.add("daemon", [sys.executable, "-c", DAEMON, "run", "-w", workspace], platform.daemon_beat_at)
    platform.add("webserver", [sys.executable, "-m", "dagster_webserver", *web], platform.web_answered_at)


def prepare_dagster(platform: Platform) -> str:
    """The instance's own file, looking for lost runs every few seconds; a workspace as the units have it."""
    home = platform.home / "dagster"
    home.mkdir(parents=True)
    text = (REPO / "dagster.yaml").read_text()
    assert "poll_interval_seconds: 30" in text
    (home / "dagster.yaml").write_text(text.replace("poll_interval_seconds: 30", "poll_interval_seconds: 2"))
    workspace = home / "workspace.yaml"
    server = {"grpc_server": {"socket": str(platform.socket), "location_name": "copytrader_assets"}}
    workspace.write_text(json.dumps({"load_from": [server]}))
    return str(workspace)
