"""A headless Chromium driven over its own debugging protocol: what the tests of the page need of one, and no more."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def binary() -> str:
    """The browser; without one the test is skipped, and says so."""
    found = os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium: the cockpit's page is not tested in a browser (install chromium, or set CHROMIUM)")
    return found


class Page:
    """One tab. `complaints` are the console's errors and what the browser refused or could not load."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []
        self.received: dict[str, int] = {}
        self._reading = asyncio.create_task(self._read())

    async def send(self, method: str, **values: Any) -> Any:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": values})
        return await asyncio.wait_for(self._waiting[number], 30)

    async def open(self, url: str) -> None:
        await self.send("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def value(self, script: str) -> Any:
        """What `script` (promises are awaited) gives."""
        found = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, script: str, seconds: float = 20.0) -> Any:
        """Waits until `script` gives something true."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            with contextlib.suppress(AssertionError):
                if found := await self.value(script):
                    return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"never true: {script}; the page says {await self.value('document.body.innerText')!r}")

    async def text(self, selector: str) -> str:
        found: str = await self.value(f"document.querySelector({selector!r}).innerText")
        return found

    async def press(self, key: str) -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        facts = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, 0), "text": text}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **facts)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)

    async def size(self, width: int, height: int, *, dark: bool = False, mobile: bool = False) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def shot(self, path: Path) -> None:
        found = await self.send("Page.captureScreenshot", captureBeyondViewport=True)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(found["data"]))

    async def close(self) -> None:
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        async for message in self._socket:
            document = message.json()
            if "id" in document:
                answer = self._waiting.pop(document["id"])
                if not answer.done():
                    answer.set_result(document.get("result", {"exceptionDetails": document.get("error")}))
            else:
                self._note(document["method"], document["params"])

    def _note(self, method: str, values: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([one.get("value") for one in values["args"]]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(values["exceptionDetails"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.complaints.append(values["entry"]["text"])
        elif method == "Network.loadingFinished":
            self.received[values["requestId"]] = int(values["encodedDataLength"])


@asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Page]:
    """A browser with one empty tab and a profile of its own in `folder`."""
    process = await asyncio.create_subprocess_exec(
        *(binary(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
        *("--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        port = await asyncio.wait_for(_port(process), 60)
        async with aiohttp.ClientSession() as session:
            address = await _tab(session, port)
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                for part in ("Page", "Runtime", "Log", "Network"):
                    await page.send(f"{part}.enable")
                yield page
                await page.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _tab(session: aiohttp.ClientSession, port: int) -> str:
    while True:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tabs = [one for one in await answer.json() if one["type"] == "page"]
        if tabs:
            found: str = tabs[0]["webSocketDebuggerUrl"]
            return found
        await asyncio.sleep(0.05)


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stderr is not None
    while line := (await process.stderr.readline()).decode():
        if "DevTools listening" in line:
            return int(line.split(":")[2].split("/")[0])
    raise AssertionError("Chromium ended before it could be spoken to")
