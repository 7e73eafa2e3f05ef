"""The deployed programs for the tests that run transactions."""

from __future__ import annotations

import pytest

from copytrader_core.errors import ConfigError
from simnet.bytecode import Snapshot, load_snapshot


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """The deployed programs; tests that run them are skipped where neither cache nor package index has them."""
    try:
        return load_snapshot()
    except ConfigError as error:
        pytest.skip(f"the deployed programs are not at hand: {error}")
