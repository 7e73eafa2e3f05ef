"""What the cockpit carries: little, since it runs beside an executor whose memory is worth more."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numpy", "pandas", "numba", "pyarrow", "dagster", "sqlalchemy", "grpc", "google.protobuf", "solders", "nacl")
HEAVY += ("cryptography", "anchorpy_idl", "aiohttp", "duckdb")


@pytest.mark.parametrize("module", ["copytrader_cli.commands.cockpit"])
def test_nothing_heavy_is_loaded_before_it_is_needed(module: str) -> None:
    script = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
