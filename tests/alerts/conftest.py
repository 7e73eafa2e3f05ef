"""A home with an executor's journal in it, a bot, and the process that stands between them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_bot import CHAT, TOKEN, FakeBot, eventually, serving

from copytrader_cli.alerts.service import run
from copytrader_core.settings import Settings
from copytrader_core.settings import settings as process_settings
from executor.wal import Wal

Running = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_database(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nowhere, unless the test asks for one; and no proxy in between."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    process_settings.cache_clear()


@pytest.fixture
async def bot() -> AsyncIterator[FakeBot]:
    async with serving(FakeBot()) as found:
        yield found


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def journal(home: Path) -> Iterator[Wal]:
    """The paper executor's, held open as by an executor that runs."""
    wal = Wal(home / "executor" / "paper")
    yield wal
    wal.close()


@pytest.fixture
def wanted(bot: FakeBot, token_file: Path) -> dict[str, Any]:
    """The section `alerts` for that bot."""
    return {
        "telegram": True,
        "telegram_token_file": str(token_file),
        "telegram_api": bot.url,
        "chat_ids": [CHAT],
        "control": True,
    }


@pytest.fixture
def running(home: Path, wanted: dict[str, Any]) -> Running:
    """Runs the alerts while a block runs, and ends them as SIGTERM would. Takes what is other than `wanted`."""

    @asynccontextmanager
    async def started(**other: Any) -> AsyncIterator[None]:
        stop = asyncio.Event()
        settings = Settings(home=home, alerts=wanted | other)
        task = asyncio.create_task(run(settings, "paper", stop))
        await eventually(lambda: (home / "alerts" / "alerts.json").exists() or task.done())
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 20)

    return started


@pytest.fixture
def process(home: Path, wanted: dict[str, Any]) -> Running:
    """The same as a process of its own, which can be killed."""

    async def begun(**other: Any) -> asyncio.subprocess.Process:
        names = {f"COPYTRADER_ALERTS__{key.upper()}": _text(value) for key, value in (wanted | other).items()}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "copytrader_cli.main", "alerts"),
            env=os.environ | {"COPYTRADER_HOME": str(home)} | names,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    return begun


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
