"""What a watched worker shows: its numbers over HTTP, its state, its clocks, and what the service manager hears."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from watching import fetch, heard, listening_manager, samples

from copytrader_core.errors import ConfigError
from copytrader_core.service import Service
from ingest_worker.health import Limits
from ingest_worker.monitor import Monitor, monitored
from ingest_worker.telemetry import Telemetry

SECOND = 10**9
T0 = 1_770_000_000


class Clocks:
    """A wall clock and a monotonic clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return int((T0 + self.now) * SECOND)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def telemetry(clocks: Clocks) -> Telemetry:
    return Telemetry(wall_ns=clocks.wall_ns, monotonic=clocks.monotonic)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    with listening_manager(tmp_path) as manager:
        yield manager


@asynccontextmanager
async def served(telemetry: Telemetry) -> AsyncIterator[Monitor]:
    async with monitored(telemetry, Service(), 0) as monitor:
        yield monitor


def flow(telemetry: Telemetry, clocks: Clocks, slots: range, *, local_clock_off: float = 0.0) -> None:
    """A worker at work: each slot comes, closes and is committed."""
    for slot in slots:
        clocks.now += 0.4
        stamp_ns = clocks.wall_ns() - int((0.5 + local_clock_off) * SECOND)
        recv_ns = clocks.wall_ns()
        telemetry.alive()
        telemetry.received(1000, 2)
        telemetry.tip(slot)
        telemetry.stamped(slot, stamp_ns, recv_ns, 0)
        telemetry.transactions(3)
        telemetry.slot_closed(slot, int(stamp_ns / SECOND - 1.3), recv_ns)
        clocks.now += 0.05
        telemetry.committed(1, 4, 1, 0.02)
        telemetry.landed({slot: recv_ns})
        telemetry.checkpoint(slot)


def test_the_metrics_are_what_was_told(telemetry: Telemetry, clocks: Clocks) -> None:
    telemetry.ready()
    telemetry.gaps_open(2)
    flow(telemetry, clocks, range(100, 140))
    telemetry.tip(145)
    telemetry.reconnect("unavailable", "host:10000")
    telemetry.reconnect("unavailable", "host:10000")
    telemetry.gap_opened(141, 142, "missing parent")
    telemetry.gap_filled(1, 2)
    telemetry.gap_filled(3, 4)
    telemetry.dead_letter(3)
    telemetry.drift("unknown_event")
    telemetry.backlog(7, 7000)
    shown = samples(telemetry.exposition())
    expected = {
        "received_bytes_total": 40_000, "received_messages_total": 80, "transactions_total": 120, "slots_total": 40,
        "events_total": 160, "duplicate_events_total": 40, "tip_slot": 145, "checkpoint_slot": 139,
        "slots_behind_tip": 6, "reconnects_total{reason=unavailable}": 2, "gaps_open": 1, "gaps_opened_total": 1,
        "gaps_filled_total": 2, "dead_letters_total": 3, "protocol_drift_total{kind=unknown_event}": 1,
        "backlog_messages": 7, "backlog_bytes": 7000, "commit_rows_sum": 200, "commit_seconds_count": 40,
        "slot_close_to_commit_seconds_count": 40, "slot_close_to_commit_seconds_bucket{le=0.1}": 40,
        "slot_close_to_commit_seconds_bucket{le=0.02}": 0, "block_time_to_commit_seconds_count": 40,
        "block_time_to_commit_seconds_bucket{le=3.0}": 40, "block_time_to_commit_seconds_bucket{le=1.5}": 0,
        "healthy": 1, "standby": 0, "clock_skewed": 0, "state{state=streaming}": 1, "state{state=stalled}": 0,
    }  # fmt: skip
    assert {name: shown[name] for name in expected} == expected
    assert shown["process_resident_memory_bytes"] > 0


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("not a SubscribeUpdate (sha256 00ff)", "unreadable_message"),
        ("the row cannot be stored: numeric field overflow", "row_refused"),
        ("KeyError: 'planted'", "decoder_error"),
        ("2.-1: an event with the unknown discriminator 00ff: the program has changed", "unknown_event"),
        ("2.-1: TradeEvent of 90 bytes ends after a field that never was the last: it is cut", "incomplete"),
        (": there are neither inner instructions nor logs: fetch it", "incomplete"),
        ("0.1: TradeEvent.timestamp is negative: these bytes are no such event", "contradiction"),
        ("something quite new with a lot of text 123", "other"),
    ],
)
def test_dead_letters_are_counted_by_kind(telemetry: Telemetry, reason: str, kind: str) -> None:
    telemetry.undecodable(reason)
    assert samples(telemetry.exposition())[f"undecodable_total{{kind={kind}}}"] == 1


def test_no_text_of_others_becomes_a_label(telemetry: Telemetry) -> None:
    for reason in ("AB token=sEcReT", "x" * 99, "", "OutOfRange", "lagged-out"):
        telemetry.reconnect(reason, "host:10000")
        telemetry.drift(reason)
        telemetry.undecodable(reason)
    shown = telemetry.exposition().decode()
    assert "sEcReT" not in shown and "host" not in shown and "xxx" not in shown
    assert samples(shown.encode())["reconnects_total{reason=other}"] == 3
    assert samples(shown.encode())["reconnects_total{reason=out_of_range}"] == 1


def test_what_is_not_known_yet_is_not_a_number(telemetry: Telemetry) -> None:
    shown = samples(telemetry.exposition())
    assert math.isnan(shown["data_age_seconds"]) and math.isnan(shown["clock_offset_seconds{against=created_at}"])
    assert shown["slots_behind_tip"] == 0


def test_slots_that_never_land_do_not_fill_the_memory(telemetry: Telemetry) -> None:
    for slot in range(10_000):
        telemetry.slot_closed(slot, None, 0)
    assert len(telemetry._waiting) < 5000


async def test_healthz_follows_the_worker_through_its_states(telemetry: Telemetry, clocks: Clocks) -> None:
    async with served(telemetry) as monitor:

        async def state() -> tuple[int, str, str | None]:
            status, document = await fetch(monitor, "/healthz")
            return status, document["state"], document["reason"]

        assert (await state())[:2] == (503, "starting")
        telemetry.standby(True)
        assert await state() == (200, "standby", None)
        telemetry.standby(False)
        telemetry.ready()
        assert (await state())[:2] == (503, "connecting")
        flow(telemetry, clocks, range(100, 110))
        assert await state() == (200, "streaming", None)
        telemetry.database_away(3.0)
        assert await state() == (503, "database_away", "the database has been away for 3 s")
        telemetry.database_away(0)
        clocks.now += 31
        telemetry.alive()
        assert await state() == (503, "stalled", "no new slot has come for 31 s")
        telemetry.tip(111)
        telemetry.slot_closed(111, None, 0)
        assert (await state())[0] == 200
        clocks.now += 16
        telemetry.alive()
        assert (await state())[:2] == (503, "commits_late")
        telemetry.stopping()
        assert (await state())[:2] == (503, "stopping")


async def test_healthz_tells_slots_gaps_and_clocks(telemetry: Telemetry, clocks: Clocks) -> None:
    telemetry.ready()
    telemetry.gaps_open(1)
    flow(telemetry, clocks, range(100, 140))
    telemetry.tip(142)
    async with served(telemetry) as monitor:
        _, document = await fetch(monitor, "/healthz")
    offsets = document.pop("clock_offset_seconds")
    assert all(abs(offset) < 0.6 for offset in offsets.values()) and set(offsets) == {"created_at", "block_time"}
    assert document == {
        "healthy": True, "state": "streaming", "reason": None, "tip_slot": 142, "checkpoint_slot": 139,
        "slots_behind_tip": 3, "gaps_open": 1, "clock": "ok",
    }  # fmt: skip


async def test_metrics_are_served_on_loopback_only(telemetry: Telemetry) -> None:
    async with served(telemetry) as monitor:
        status, body = await fetch(monitor, "/metrics")
        assert (status, samples(body)["tip_slot"]) == (200, 0)
        assert (await fetch(monitor, "/elsewhere"))[0] == 404
        assert monitor.port is not None
        with socket.socket() as other, pytest.raises(OSError):
            other.settimeout(0.5)
            other.connect((socket.gethostbyname(socket.gethostname()).replace("127.0.0.1", "127.0.0.9"), monitor.port))


async def test_a_port_that_is_taken_is_said(telemetry: Telemetry) -> None:
    async with served(telemetry) as monitor:
        with pytest.raises(ConfigError, match=f"--metrics-port {monitor.port}: .* choose a free port"):
            async with monitored(telemetry, Service(), monitor.port):
                pass


async def test_without_a_port_nothing_listens(telemetry: Telemetry) -> None:
    async with monitored(telemetry, Service()) as monitor:
        assert monitor.port is None


def test_a_wrong_clock_is_logged_once_each_way(
    telemetry: Telemetry, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = Monitor(telemetry, Service())
    telemetry.ready()
    with caplog.at_level(logging.WARNING):
        for phase, off in enumerate((0.0, 5.0, 5.0, 0.0, 0.0)):
            for start in range(phase * 300, phase * 300 + 300, 10):
                flow(telemetry, clocks, range(start, start + 10), local_clock_off=off)
                monitor.look()
    said = [record.message.split(" ", 1)[0] for record in caplog.records if "clock" in record.message]
    assert said == ["clock_skewed", "clock_ok"]
    assert samples(telemetry.exposition())["clock_skewed"] == 0


def test_a_wrong_clock_shows_in_the_metrics(telemetry: Telemetry, clocks: Clocks) -> None:
    flow(telemetry, clocks, range(200), local_clock_off=-7.0)
    shown = samples(telemetry.exposition())
    assert shown["clock_skewed"] == 1
    assert abs(shown["clock_offset_seconds{against=created_at}"] + 7.0) < 0.3
    assert abs(shown["clock_offset_seconds{against=block_time}"] + 7.0) < 0.6


def test_the_manager_hears_ready_pings_and_stopping(
    telemetry: Telemetry, clocks: Clocks, manager: tuple[socket.socket, str]
) -> None:
    listening, address = manager
    monitor = Monitor(telemetry, Service(address, 10.0))
    monitor.look()
    assert heard(listening) == ["WATCHDOG=1", "STATUS=starting: the worker does not have the database yet"]
    telemetry.ready()
    flow(telemetry, clocks, range(5, 9))
    monitor.look()
    status = "STATUS=streaming: slot 8, 0 behind"
    assert heard(listening) == ["READY=1", status, "WATCHDOG=1", status]
    telemetry.stopping()
    monitor.look()
    monitor.look()
    assert heard(listening) == ["STOPPING=1", "STATUS=stopping: the worker is ending"]


def test_the_watchdog_hears_nothing_while_no_data_flows(
    telemetry: Telemetry, clocks: Clocks, manager: tuple[socket.socket, str]
) -> None:
    listening, address = manager
    monitor = Monitor(telemetry, Service(address, 10.0))
    telemetry.ready()
    flow(telemetry, clocks, range(5))
    pings = []
    for seconds, back in ((1, False), (20, False), (20, False), (40, False), (0, True)):
        clocks.now += seconds
        telemetry.alive()
        if back:
            telemetry.tip(99)
        monitor.look()
        pings.append("WATCHDOG=1" in heard(listening))
    assert pings == [True, True, False, False, True]


def test_a_standby_is_ready_and_alive_for_the_manager(telemetry: Telemetry, manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    telemetry.standby(True)
    Monitor(telemetry, Service(address, 10.0)).look()
    assert [line for line in heard(listening) if not line.startswith("STATUS")] == ["READY=1", "WATCHDOG=1"]


async def test_a_running_monitor_pings_at_a_third_of_the_watchdogs_time(manager: tuple[socket.socket, str]) -> None:
    listening, address = manager
    telemetry = Telemetry(limits=Limits(stall_seconds=5))
    telemetry.ready()
    telemetry.tip(5)
    async with monitored(telemetry, Service(address, 0.3)):
        await asyncio.sleep(0.55)
        telemetry.stopping()
    lines = [line for line in heard(listening) if not line.startswith("STATUS")]
    assert lines[0] == "READY=1" and lines[-1] == "STOPPING=1"
    assert 3 <= lines.count("WATCHDOG=1") <= 7
