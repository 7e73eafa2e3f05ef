"""`copytrader ui`."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from types import FrameType
from typing import Annotated

import typer

from copytrader_assets.instance import prepare_environment
from copytrader_core.errors import CopytraderError

app = typer.Typer()
_HOST = "127.0.0.1"
_LOCATION = ["-m", "copytrader_assets.definitions"]
_GRACE_SECONDS = 20.0


@app.command()
def ui(port: Annotated[int, typer.Option(help="port of the web server, on 127.0.0.1")] = 3000) -> None:
    """Open Dagster's web server and daemon; Ctrl-C stops both."""
    _demand_free(port)
    prepare_environment()
    commands = {
        "dagster-webserver": ["dagster_webserver", "-h", _HOST, "-p", str(port), *_LOCATION],
        "dagster-daemon": ["dagster._daemon", "run", *_LOCATION],
    }
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            # A session of their own: Ctrl-C reaches them through us only, once, in order.
            running[name] = subprocess.Popen([sys.executable, "-m", *command], start_new_session=True)
        print(f"Dagster: http://{_HOST}:{port} (Ctrl-C stops it)", flush=True)
        _watch(running)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        _end(running)


def _watch(running: dict[str, subprocess.Popen[bytes]]) -> None:
    while True:
        for name, process in running.items():
            if (status := process.poll()) is not None:
                raise CopytraderError(f"{name} ended by itself with status {status}: see its messages above")
        time.sleep(0.5)


def _end(running: dict[str, subprocess.Popen[bytes]]) -> None:
    for process in running.values():
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in running.values():
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _demand_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise CopytraderError(f"port {port} of {_HOST} is taken: choose another with --port") from error


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
