"""Fixtures that every room uses: a throw-away Postgres, a home folder, the folder of recorded material."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest

from copytrader_core.settings import settings
from copytrader_core.store.embedded import EmbeddedPostgres
from copytrader_core.store.migrations import migrate

# Before the first import of grpc: it logs every ordinary end of a connection otherwise.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# Starting a program forks, and gRPC's own threads do not always survive being prepared for that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# How long an example takes depends on what else the machine does: it is no fault of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with recorded mainnet transactions and official vectors, beside the checkout."""
    folder = REPO.parent / "shared"
    if not (folder / "vectors").is_dir():
        pytest.skip("no ../shared: recorded transactions and official vectors are not checked here")
    return folder


@pytest.fixture(scope="session")
def pg_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a running Postgres with a migrated template database."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("pg"), durable=False)
    url = server.start()
    migrate(url)
    yield url
    server.remove()


@pytest.fixture
def pg_url(pg_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a fresh, migrated database, also set as DATABASE_URL."""
    base, _, template = pg_server.rpartition("/")
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    url = f"{base}/{name}"
    monkeypatch.setenv("DATABASE_URL", url)
    settings.cache_clear()
    yield url
    settings.cache_clear()
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh COPYTRADER_HOME."""
    folder = tmp_path / "home"
    monkeypatch.setenv("COPYTRADER_HOME", str(folder))
    settings.cache_clear()
    yield folder
    settings.cache_clear()


def unit_directives(path: Path) -> dict[str, list[str]]:
    """The directives of all sections of a systemd unit, each with its values in order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found
