"""The systemd units: what they call exists, systemd understands them, and the end of one is not the end of another."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from dagster._cli import create_dagster_cli
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_webserver.cli import dagster_webserver

from copytrader_cli.main import COMMANDS, cli
from copytrader_core.store.roles import ROLES
from tests.conftest import unit_directives
from tests.ops.commands import parsed

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
UNITS = {
    path.name: unit_directives(path) for path in FOLDER.iterdir() if path.suffix in (".service", ".timer", ".target")
}
_WORST_EXPOSURE = 2.0
_BIN = re.compile(r"/opt/copytrader/\.venv/bin/[\w-]+")
_NOTIFYING = {"copytrader-ingest.service", "copytrader-executor.service"}
DAGSTER = {
    "dagster": create_dagster_cli,
    "dagster-daemon": create_dagster_daemon_cli,
    "dagster-webserver": lambda: dagster_webserver,
}


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_every_service_calls_a_command_that_exists(path: Path) -> None:
    program, *given = shlex.split(UNITS[path.name]["ExecStart"][0])
    name = Path(program).name
    arguments = [one.replace("/opt/copytrader", str(FOLDER.parents[1])) for one in given]
    if name in DAGSTER:
        parsed(DAGSTER[name](), arguments)
        return
    assert name == "copytrader"
    if arguments[0] not in COMMANDS:
        pytest.skip(f"`copytrader {arguments[0]}` is not in this version: {path.name} is not checked")
    try:
        parsed(cli, [argument.replace("${CREDENTIALS_DIRECTORY}", "/run/credentials") for argument in arguments])
    except typer.Exit as end:
        raise AssertionError(f"{arguments} is not understood") from end


def test_what_the_units_name_is_there() -> None:
    text = "".join(path.read_text() for path in FOLDER.iterdir())
    for name in set(re.findall(r"/opt/copytrader/((?:deploy|docs)/[\w./-]+\w|dagster\.yaml)", text)):
        assert list(FOLDER.parents[1].glob(f"{name}*")), name


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_systemd_reads_every_line(path: Path, tmp_path: Path) -> None:
    for other in FOLDER.glob("copytrader*"):
        (tmp_path / other.name).write_text(_BIN.sub("/bin/true", other.read_text()))
    said = analyze("verify", "--man=no", str(tmp_path / path.name))
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_systemd_finds_little_that_is_open(path: Path) -> None:
    said = analyze("security", "--offline=true", str(path))
    if "unrecognized option" in said.stderr:
        pytest.skip("this systemd cannot judge a unit that is not installed (before version 250)")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert found is not None and float(found.group(1)) <= _WORST_EXPOSURE, said.stdout[-500:] + said.stderr


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (package systemd): the units are only parsed here")
    quiet = os.environ | {"SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "LC_ALL": "C"}
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, env=quiet, check=False)


@pytest.mark.parametrize("name", sorted(UNITS))
def test_the_end_of_one_unit_is_not_the_end_of_another(name: str) -> None:
    unit = UNITS[name]
    assert not {"Requires", "BindsTo", "Requisite", "Conflicts", "OnFailure"} & set(unit)
    assert unit.get("PartOf", ["copytrader.target"]) == ["copytrader.target"]


def test_the_executor_is_stopped_by_its_name_only() -> None:
    assert "PartOf" not in UNITS["copytrader-executor.service"]


def test_selling_everything_is_started_by_hand_alone_and_has_what_the_executor_has() -> None:
    executor, button = (UNITS[f"copytrader-{name}.service"] for name in ("executor", "flatten"))
    assert not {"WantedBy", "RequiredBy"} & set(button)
    for name in ("User", "Group", "StateDirectory", "WorkingDirectory", "Environment"):
        assert button[name] == executor[name]
    assert button["LoadCredential"][0] == executor["LoadCredential"][0]


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_every_service_comes_back_and_is_held_within_its_memory(path: Path) -> None:
    unit = UNITS[path.name]
    high, most = (int(unit[name][0].removesuffix("M")) for name in ("MemoryHigh", "MemoryMax"))
    assert high < most and unit["MemorySwapMax"] == ["0"] and unit["LimitCORE"] == ["0"]
    if unit["Type"] == ["oneshot"]:
        return
    assert unit["Restart"] == ["always"] and int(unit["RestartSec"][0]) >= 1
    assert unit["RestartPreventExitStatus"] == ["2"]


def test_only_programs_that_notify_are_waited_for_and_watched() -> None:
    assert {name for name, unit in UNITS.items() if unit.get("Type") == ["notify"]} == _NOTIFYING
    assert {name for name, unit in UNITS.items() if "WatchdogSec" in unit} == _NOTIFYING


def test_programs_of_other_rights_have_other_users() -> None:
    users = {name: unit["User"][0] for name, unit in UNITS.items() if "User" in unit}
    assert "root" not in users.values()
    assert (
        len(
            {
                users[f"copytrader-{name}.service"]
                for name in ("ingest", "executor", "cockpit", "backup", "dagster-code")
            }
        )
        == 5
    )
    made = {line.split()[1] for line in (FOLDER / "sysusers.conf").read_text().splitlines() if line.startswith("u ")}
    assert set(users.values()) <= made


def test_the_readme_gives_each_user_a_role_that_exists() -> None:
    text = (FOLDER / "README.md").read_text()
    given = dict(re.findall(r"createuser --role=(\w+) ([\w-]+)", text))
    assert set(given) - {"pg_read_all_data"} <= set(ROLES)
    users = {unit["User"][0] for unit in UNITS.values() if "User" in unit}
    assert users == set(given.values())


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_no_secret_stands_in_a_unit_and_no_password_is_needed(path: Path) -> None:
    for value in UNITS[path.name].get("Environment", []):
        assert "@" not in value and "PASSWORD" not in value.upper() and "TOKEN" not in value.upper()


_NOT_WANTED = {f"copytrader-{name}.service" for name in ("alerts", "backup", "flatten")}


def test_the_target_has_every_unit_but_the_alerts_the_button_and_the_services_of_timers() -> None:
    wanted = {name for line in UNITS["copytrader.target"]["Wants"] for name in line.split()}
    assert wanted == set(UNITS) - _NOT_WANTED - {"copytrader.target"}
    for name in wanted:
        assert UNITS[name]["WantedBy"] == ["copytrader.target"]


def test_web_server_and_daemon_find_the_code_server_where_it_listens() -> None:
    workspace = yaml.safe_load((FOLDER / "dagster-workspace.yaml").read_text())
    (server,) = [entry["grpc_server"] for entry in workspace["load_from"]]
    command = UNITS["copytrader-dagster-code.service"]["ExecStart"][0]
    assert f"--socket {server['socket']} " in command
    assert UNITS["copytrader-dagster-code.service"]["RuntimeDirectoryMode"] == ["0700"]


def test_a_backfill_waits_for_its_code_server_wherever_the_daemon_runs() -> None:
    """Dagster fails a backfill for good whose code server is away for a moment, unless this is set."""
    name = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
    assert f"{name}=1" in " ".join(UNITS["copytrader-dagster-daemon.service"]["Environment"]).split()
    values = yaml.safe_load((FOLDER.parent / "k8s" / "values.yaml").read_text())
    assert values["dagsterDaemon"]["env"][name] == "1"
