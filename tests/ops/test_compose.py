"""compose.yaml without Docker: names exist, commands are understood, everything listens on this machine only."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml

from copytrader_cli.main import COMMANDS, cli
from copytrader_core.settings import Settings
from copytrader_core.store.roles import ROLES
from tests.ops.commands import clean_environment, parsed

REPO = Path(__file__).resolve().parents[2]
FOLDER = REPO / "deploy" / "compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
LIVE = yaml.safe_load((FOLDER / "compose.live.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("copytrader:")}
EXAMPLE = dict(
    line.split("=", 1)
    for line in (FOLDER / ".env.example").read_text().splitlines()
    if line and not line.startswith("#")
)
_PINNED = re.compile(r"^[\w./-]+:v?\d+(\.\d+)+[\w.-]*(@sha256:[0-9a-f]{64})?$")
_VARIABLE = re.compile(r"\$\{(\w+)(?::[-?]([^}]*))?\}")
# Where a service with the host's network is told to listen.
_LISTENS = {"prometheus": "--web.listen-address=127.0.0.1:", "grafana": "GF_SERVER_HTTP_ADDR"}
_ENDS = {"migrate", "backup"}


def filled(text: str) -> str:
    """`text` with the values of .env.example."""
    return _VARIABLE.sub(lambda found: EXAMPLE.get(found[1], found[2] or ""), str(text))


def _expanded(text: str) -> str:
    """With the defaults of its variables."""
    return _VARIABLE.sub(lambda found: found[2] or "", text)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_is_pinned_by_its_version(name: str) -> None:
    assert _PINNED.match(_expanded(SERVICES[name]["image"]))


def test_each_image_of_others_can_be_pinned_by_its_digest_without_editing_a_file() -> None:
    text = (FOLDER / ".env.example").read_text()
    named = dict(re.findall(r"^# (\w+_IMAGE)=(\S+)@sha256:\.\.\.$", text, re.MULTILINE))
    others = [one["image"] for one in SERVICES.values() if not one["image"].startswith("copytrader:")]
    asked = dict(found for image in others for found in _VARIABLE.findall(image))
    asked |= dict(_VARIABLE.findall(COMPOSE["x-program"]["build"]["args"]["PYTHON_IMAGE"]))
    assert named == asked and len(named) == 4
    assert all(_PINNED.match(f"{image}@sha256:{'0' * 64}") for image in named.values())


def test_the_dockerfile_builds_from_pinned_images_and_locked_packages() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", text, re.MULTILINE)
    assert _PINNED.match(base) and base == _expanded(COMPOSE["x-program"]["build"]["args"]["PYTHON_IMAGE"])
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    assert "--require-hashes -r requirements.lock" in text
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        assert all((REPO / name).exists() for name in line.split()[:-1])
    assert re.search(r"^USER copytrader$", text, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_listens_beyond_this_machine(name: str) -> None:
    service = SERVICES[name]
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))
    if service.get("network_mode") == "host" and name not in OURS:
        told = _LISTENS[name]
        is_loopback = service.get("environment", {}).get(told) == "127.0.0.1"
        assert is_loopback or any(one.startswith(told) for one in service.get("command", []))
    assert not any("0.0.0.0" in str(one) or "--host" in str(one) for one in service.get("command", []))


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate"}))
def test_our_services_run_commands_that_exist(name: str) -> None:
    arguments = [filled(one) for one in OURS[name]["command"]]
    if arguments[0] not in COMMANDS:
        pytest.skip(f"`copytrader {arguments[0]}` is not in this version: its service is not checked")
    parsed(cli, arguments)


@pytest.mark.parametrize("name", sorted(OURS))
def test_their_settings_are_settings(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = OURS[name].get("environment", {}) | LIVE["services"].get(name, {}).get("environment", {})
    ours = {key: filled(value) for key, value in given.items() if key.startswith("COPYTRADER_")}
    for key, value in ours.items():
        monkeypatch.setenv(key, value)
    told = Settings()
    for key in ours.keys() - {"COPYTRADER_HOME"}:
        section, _, field = key.removeprefix("COPYTRADER_").lower().partition("__")
        assert field in getattr(told, section).model_fields_set, f"{key} sets nothing"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_is_mounted_is_there_and_no_secret_stands_in_the_environment(name: str) -> None:
    service = SERVICES[name]
    for mount in service.get("volumes", []):
        source = filled(mount.replace("${COPYTRADER_DATA:-./data}", "data")).split(":")[0]
        assert source in COMPOSE["volumes"] or source.startswith("data/") or (FOLDER / source).exists(), source
    for secret in service.get("secrets", []):
        assert secret in COMPOSE["secrets"]
    for key, value in service.get("environment", {}).items():
        assert not re.search(r"PASSWORD$|TOKEN$|SECRET$", key), f"{key} holds a secret"
        assert urlsplit(str(value)).password is None


def test_every_secret_is_a_file_that_somebody_uses_and_none_is_committed() -> None:
    for compose in (COMPOSE, LIVE):
        used = {one for service in compose["services"].values() for one in service.get("secrets", [])}
        assert used - set(COMPOSE["secrets"]) == used & set(LIVE["secrets"])
        for name, one in compose["secrets"].items():
            assert one == {"file": f"./secrets/{name}"}
    assert "secrets/*" in (FOLDER / ".gitignore").read_text()
    assert {path.name for path in (FOLDER / "secrets").iterdir()} == {".keep"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_held_in_bounds_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    if name in _ENDS:
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped" and service["healthcheck"]["test"][0] == "CMD"
    # Only the database's set-up is waited for: the end of one service is not the end of another.
    assert set(service.get("depends_on", {})) <= {"migrate"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_services_may_do_little(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service


def test_each_program_logs_in_as_itself() -> None:
    logins = {}
    for name, service in OURS.items():
        url = urlsplit(service["environment"]["DATABASE_URL"])
        logins[name] = url.username
        assert url.hostname == "127.0.0.1"
        own = "owner" if url.username == "copytrader_owner" else url.username
        assert service["environment"]["PGPASSFILE"] == f"/run/secrets/pgpass-{own}"
        assert f"pgpass-{own}" in service["secrets"]
    assert logins == {
        "migrate": "copytrader_owner", "backup": "copytrader_owner", "ingest": "ingest", "dagster": "assets",
        "executor": "executor", "cockpit": "reader",
    }  # fmt: skip


def test_every_variable_is_explained_in_the_example() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    images = set(re.findall(r"^# (\w+_IMAGE)=", (FOLDER / ".env.example").read_text(), re.MULTILINE))
    assert {found[0] for found in _VARIABLE.findall(text)} <= set(EXAMPLE) | images


@pytest.fixture
def with_secrets(tmp_path: Path) -> Path:
    """The folder as make-secrets.sh leaves it."""
    folder = tmp_path / "compose"
    (folder / "secrets").mkdir(parents=True)
    shutil.copy(FOLDER / "make-secrets.sh", folder)
    (folder / "secrets" / "x-token").write_text("t")
    for _ in range(2):
        subprocess.run(["sh", str(folder / "make-secrets.sh")], check=True, capture_output=True)
    return folder / "secrets"


def test_the_secrets_are_made_once_and_private(with_secrets: Path) -> None:
    made = {path.name for path in with_secrets.iterdir()}
    assert made == set(COMPOSE["secrets"])
    passwords = [path.read_text().strip().split(":")[4] for path in with_secrets.glob("pgpass-*")]
    assert len(set(passwords)) == len(passwords) == 6 and all(len(word) >= 32 for word in passwords)
    assert (with_secrets / "pg-owner-password").read_text() in passwords
    for path in with_secrets.glob("pg*"):
        # libpq does not use a password file that others may read.
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_migrate_gives_every_program_a_login_with_its_password_and_its_role(
    pg_url: str, with_secrets: Path, tmp_path: Path
) -> None:
    made = tmp_path / "bin"
    made.mkdir()
    for name, arguments in {"copytrader": "-m copytrader_cli.main", "python": ""}.items():
        (made / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (made / name).chmod(0o755)
    environment = clean_environment() | {
        "DATABASE_URL": pg_url, "SECRETS": str(with_secrets), "COPYTRADER_HOME": str(tmp_path / "home"),
        "PATH": f"{made}:{os.environ['PATH']}",
    }  # fmt: skip
    programs = [role.removeprefix("copytrader_") for role in ROLES]
    try:
        for _ in range(2):
            done = subprocess.run(
                ["sh", str(FOLDER / "migrate.sh")], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        for program in programs:
            word = (with_secrets / f"pgpass-{program}").read_text().strip().split(":")[4]
            url = pg_url.replace(urlsplit(pg_url).netloc.rpartition("@")[0], f"{program}:{word}")
            with psycopg.connect(url) as connection:
                member = connection.execute("SELECT pg_has_role(%s, 'USAGE')", (f"copytrader_{program}",)).fetchone()
                assert member == (True,)
    finally:
        with psycopg.connect(pg_url, autocommit=True) as connection:
            for program in programs:
                connection.execute(f"DROP ROLE IF EXISTS {program}")


def test_a_prometheus_job_is_told_where_the_services_tell() -> None:
    scraped = yaml.safe_load((REPO / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    ports = {job["job_name"]: job["static_configs"][0]["targets"][0].rpartition(":")[2] for job in scraped}
    assert ports["copytrader-ingest"] in SERVICES["ingest"]["command"]
    assert ports["copytrader-executor"] == SERVICES["executor"]["environment"]["COPYTRADER_EXECUTOR__METRICS_PORT"]
    (source,) = yaml.safe_load((REPO / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert f"--web.listen-address={urlsplit(source['url']).netloc}" in SERVICES["prometheus"]["command"]
    (provider,) = yaml.safe_load((REPO / "deploy/grafana/provisioning/dashboards/copytrader.yml").read_text())[
        "providers"
    ]
    assert any(mount.split(":")[1] == provider["options"]["path"] for mount in SERVICES["grafana"]["volumes"])


def test_the_example_trades_on_paper() -> None:
    assert EXAMPLE["COPYTRADER_MODE"] == "paper"
