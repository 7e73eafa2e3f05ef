"""The kernels, compiled once, and transactions to try them on."""

from __future__ import annotations

import pytest

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from ingest_worker.kernel.lane import Lane
from simnet.demo_tape import TAPE
from simnet.tape import read_tape


@pytest.fixture(scope="session")
def lane() -> Lane:
    """Kernels that know no names."""
    return Lane()


@pytest.fixture(scope="session")
def taped() -> list[bytes]:
    """Every transaction of the committed tape."""
    return [info.SerializeToString() for block in read_tape(TAPE).blocks for info in block.transactions]


@pytest.fixture(scope="session")
def recorded(shared) -> list[bytes]:
    """The recorded mainnet transactions."""
    files = sorted((shared / "recorded" / "yellowstone").glob("*.pb"))
    updates = [pb.SubscribeUpdate.FromString(file.read_bytes()) for file in files]
    return [update.transaction.transaction.SerializeToString() for update in updates]
