"""The systemd unit of the executor: what it promises is what systemd and the program understand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer

from copytrader_cli.commands import executor as command
from copytrader_core.settings import Settings
from copytrader_core.solana.keys import CREDENTIAL_NAME
from executor.watchdog import Limits
from tests.conftest import unit_directives

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
UNIT = FOLDER / "copytrader-executor.service"
_WORST_EXPOSURE = 2.0


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    return unit_directives(UNIT)


def test_it_calls_the_command_with_options_that_exist(unit: dict[str, list[str]]) -> None:
    program, name, *arguments = shlex.split(unit["ExecStart"][0])
    assert (Path(program).name, name) == ("copytrader", "executor")
    group = typer.main.get_command(command.app)
    with typer.Context(group) as context:
        found = group.get_command(context, arguments[0])  # type: ignore[attr-defined]
    given = found.make_context(arguments[0], arguments[1:]).params
    assert given["mode"] == "live" and "${CREDENTIALS_DIRECTORY}/x-token" in str(given["x_token_file"])


def test_the_key_is_a_credential_and_no_secret_stands_in_the_file(unit: dict[str, list[str]]) -> None:
    assert unit["LoadCredential"][0] == f"{CREDENTIAL_NAME}:/etc/copytrader/wallet-key"
    assert not any("@" in value or "PASSWORD" in value.upper() for value in unit["Environment"])
    assert unit["LimitCORE"] == ["0"] and unit["MemorySwapMax"] == ["0"]


def test_the_watchdog_of_a_notify_service_restarts_it_without_end(unit: dict[str, list[str]]) -> None:
    assert (unit["Type"], unit["Restart"], unit["WatchdogSec"]) == (["notify"], ["always"], ["10"])
    window, burst = int(unit["StartLimitIntervalSec"][0]), int(unit["StartLimitBurst"][0])
    assert int(unit["WatchdogSec"][0]) * burst > window, "the watchdog alone would use the start limit up"
    assert int(unit["RestartSec"][0]) * burst < window, "a start that fails at once would go on for ever"
    assert Limits().stream_age_seconds > Settings().ingest.stall_seconds


def test_postgres_is_waited_for_and_not_required(unit: dict[str, list[str]]) -> None:
    assert {"postgresql.service", "network-online.target"} <= set(unit["After"][0].split())
    assert not {"Requires", "BindsTo", "PartOf", "Requisite"} & set(unit)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
        ("SystemCallFilter", "@system-service"),
        ("UMask", "0077"),
    ],
)
def test_it_is_shut_off(unit: dict[str, list[str]], name: str, value: str) -> None:
    assert unit[name][0] == value


def test_it_runs_under_a_user_of_its_own(unit: dict[str, list[str]]) -> None:
    ingest = (FOLDER / "copytrader-ingest.service").read_text()
    assert unit["User"] == ["copytrader-executor"] and "User=copytrader-executor" not in ingest


def test_the_example_settings_are_valid() -> None:
    given = tomllib.loads((FOLDER / "executor.example.toml").read_text())
    assert Settings(**given).risk.max_open_positions == given["risk"]["max_open_positions"]


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (package systemd): the unit is only parsed here")
    quiet = os.environ | {"SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "LC_ALL": "C"}
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, env=quiet, check=False)


def test_systemd_reads_every_line_of_it(tmp_path: Path) -> None:
    installed = tmp_path / UNIT.name
    installed.write_text(UNIT.read_text().replace("/opt/copytrader/.venv/bin/copytrader", "/bin/true"))
    said = _analyze("verify", "--man=no", str(installed))
    assert (said.returncode, said.stderr) == (0, "")


def test_a_directive_that_systemd_does_not_know_would_be_seen(tmp_path: Path) -> None:
    broken = tmp_path / UNIT.name
    broken.write_text(UNIT.read_text().replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"))
    assert "NoNewPrivilege" in _analyze("verify", "--man=no", str(broken)).stderr


def test_systemd_finds_little_that_is_open() -> None:
    said = _analyze("security", "--offline=yes", str(UNIT))
    if "Unknown" in said.stderr or "unrecognized option" in said.stderr:
        pytest.skip("this systemd cannot judge a unit that is not installed (before version 250)")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert found is not None and float(found.group(1)) <= _WORST_EXPOSURE, said.stdout[-500:]
