"""Reading what a watched worker shows: its metrics, its pages, and what its service manager heard."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from ingest_worker.monitor import Monitor


@contextmanager
def listening_manager(folder: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket and the NOTIFY_SOCKET that leads to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(folder / "notify"))
        listening.setblocking(False)
        yield listening, str(folder / "notify")


def heard(listening: socket.socket) -> list[str]:
    lines: list[str] = []
    while True:
        try:
            lines += listening.recv(999).decode().split("\n")
        except BlockingIOError:
            return lines


def samples(exposition: bytes) -> dict[str, float]:
    """`name{label=value,...}` without the common prefix -> value."""
    found = {}
    for family in text_string_to_metric_families(exposition.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            name = sample.name.removeprefix("copytrader_ingest_")
            found[name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


async def fetch(monitor: Monitor, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{monitor.port}{path}") as answer:
        body = await answer.read()
        return answer.status, (await answer.json() if path == "/healthz" else body)
