"""`copytrader simnet live` in a process of its own: one line of addresses, then the chain until it is told to stop."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest


@pytest.mark.usefixtures("snapshot")
def test_the_command_prints_its_addresses_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "copytrader_cli.main", "simnet", "live", "--slot-ms", "50", "--faults", "drop=0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            addresses = json.loads(process.stdout.readline())
            assert addresses.keys() == {"geyser", "rpc", "block_engine", "faults", "tpu", "slot"}
            with urllib.request.urlopen(addresses["faults"], timeout=10) as answer:
                assert json.loads(answer.read())["drop"] == 0.5
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
