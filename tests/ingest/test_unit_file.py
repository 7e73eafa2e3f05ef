"""The systemd unit promises what the worker keeps."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer

from copytrader_cli.commands import ingest as command
from copytrader_core.settings import IngestSettings
from tests.conftest import unit_directives

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "systemd" / "copytrader-ingest.service"


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    return unit_directives(UNIT)


def test_it_calls_the_command_with_options_that_exist(unit: dict[str, list[str]]) -> None:
    program, name, *arguments = shlex.split(unit["ExecStart"][0])
    assert (Path(program).name, name) == ("copytrader", "ingest")
    context = typer.main.get_command(command.app).make_context("ingest", arguments)
    assert context.params["metrics_port"] > 0
    assert "${CREDENTIALS_DIRECTORY}/x-token" in str(context.params["x_token_file"])


def test_the_token_is_a_credential_and_no_secret_stands_in_the_file(unit: dict[str, list[str]]) -> None:
    assert unit["LoadCredential"] == ["x-token:/etc/copytrader/x-token"]
    assert not any("@" in value or "PASSWORD" in value.upper() for value in unit["Environment"])


def test_its_times_leave_the_worker_the_time_that_it_asks_for(unit: dict[str, list[str]]) -> None:
    assert unit["Type"] == ["notify"] and unit["Restart"] == ["always"]
    assert int(unit["TimeoutStopSec"][0]) > 5
    assert int(unit["WatchdogSec"][0]) > IngestSettings().stall_seconds
    assert unit["StartLimitIntervalSec"] == ["0"]


def test_its_memory_limits_are_above_what_the_worker_needs(unit: dict[str, list[str]]) -> None:
    high, most = (int(unit[name][0].removesuffix("M")) for name in ("MemoryHigh", "MemoryMax"))
    assert 400 < high < most
