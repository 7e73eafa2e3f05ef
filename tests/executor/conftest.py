"""Every test has a home of its own, where its executors keep their journals."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def executor_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COPYTRADER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
