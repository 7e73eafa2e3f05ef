"""The page in a real browser: it lives, it fits, it can be used with keys alone, and the console has nothing to say."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from browser import Page, browsing
from running_cockpit import TOKEN, Running
from test_cockpit_page import closed, opened

from executor.control import read_control
from executor.wal import Wal
from tests.executor.journal_lines import decided, line

LIVE = "document.querySelector('#pulse').innerText === 'live'"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browsing(tmp_path / "browser") as found:
        yield found


@pytest.fixture
def journal(home: Path) -> Any:
    wal = Wal(home / "executor" / "paper")
    now = time.time_ns()
    wal.append(line("RUN", {"state": "ACTIVE"}, at_ns=now))
    wal.append(decided(at_ns=now, leader_sig="s", mint="m", code="GATE_WIN_RATE"))
    wal.append(opened("held", at_ns=now))
    wal.append(opened("gone", at_ns=now))
    wal.append(closed("gone", 800_000_000, at_ns=now))
    yield wal
    wal.close()


async def open_page(page: Page, running: Running) -> None:
    await page.open(f"{running.url}/?token={TOKEN}")
    await page.until(LIVE)


async def test_the_page_lives(page: Page, cockpit: Any, journal: Wal) -> None:
    async with cockpit(signed_in=False) as running:
        await open_page(page, running)
        assert await page.value("location.href") == running.url + "/"
        await page.until("document.querySelector('#positions').innerText.includes('coin-held')")
        await page.until("document.querySelectorAll('#plot canvas').length === 1")
        assert "+0.0500" in await page.text("#tiles") and "GATE_WIN_RATE" in await page.text("#guards")
        journal.append(closed("held", 600_000_000, at_ns=time.time_ns()))
        await page.until("document.querySelector('#positions').innerText.includes('Nothing is held')")
        await page.until("document.querySelector('#tiles').innerText.includes('-0.1000')")
        await page.until("document.querySelector('#pnl-says').innerText.includes('2 results today')")
    assert page.complaints == [], "no error while the cockpit was there"


async def test_clocks_count_down_to_the_exit_and_beyond(page: Page, cockpit: Any, journal: Wal) -> None:
    clock = "document.querySelector('#positions [data-until]')"
    async with cockpit(signed_in=False) as running:
        await open_page(page, running)
        before = await page.value(f"parseFloat({clock}.innerText.slice(3))")
        await page.until(f"parseFloat({clock}.innerText.slice(3)) < {before}")
        await page.until(f"{clock}.innerText.endsWith(' over') && {clock}.classList.contains('down')")


async def test_a_page_whose_cockpit_is_gone_says_that_it_stands_still(page: Page, cockpit: Any, journal: Wal) -> None:
    async with cockpit(signed_in=False) as running:
        await open_page(page, running)
        port = running.port
    await page.until("document.querySelector('#pulse').innerText.includes('stands still')")
    assert await page.value("document.body.classList.contains('stale')")
    async with cockpit(port=port, signed_in=False):
        await page.until(LIVE)


@pytest.mark.parametrize("width", [1440, 390, 320])
@pytest.mark.parametrize("dark", [False, True])
async def test_the_page_fits(page: Page, cockpit: Any, journal: Wal, width: int, dark: bool) -> None:
    async with cockpit(actions=True, signed_in=False) as running:
        await page.size(width, 844, dark=dark, mobile=width < 500)
        await open_page(page, running)
        assert await page.value("document.documentElement.scrollWidth") <= width
        paper = await page.value("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(18, 20, 23)") is dark
        small = (
            "[...document.querySelectorAll('button')].filter(b => b.offsetParent && "
            "(b.offsetHeight < 24 || b.offsetWidth < 24)).length"
        )
        assert await page.value(small) == 0
    assert page.complaints == []


async def test_halt_by_keys_alone_and_not_by_one_of_them(page: Page, cockpit: Any, home: Path, journal: Wal) -> None:
    def state() -> str:
        return read_control(home / "executor").state

    async with cockpit(actions=True, signed_in=False) as running:
        await open_page(page, running)
        await page.value("document.querySelector('[data-opens=halt]').focus()")
        await page.press("Enter")
        await page.until("document.querySelector('#ask-halt').open")
        await page.press("Escape")
        await page.until("!document.querySelector('#ask-halt').open")
        assert state() == "ACTIVE"
        await page.press("Enter")
        await page.until("document.querySelector('#ask-halt').open")
        for _ in range(2):
            await page.press("Tab")
        assert await page.value("document.activeElement.innerText") == "Halt"
        await page.press("Enter")
        await page.until("document.querySelector('#state').innerText.includes('HALTED')")
        assert "Nothing is sent any more".lower() in (await page.text("#answer")).lower()
        assert state() == "HALTED" and "by cockpit" in await page.text("#state")
        assert await page.value("document.querySelector('#ask-halt').open") is False
    assert page.complaints == []


async def test_another_page_gets_nothing_out_of_the_cockpit(
    page: Page, cockpit: Any, home: Path, tmp_path: Path
) -> None:
    async with cockpit(actions=True, signed_in=False) as running:
        await open_page(page, running)
        word = await page.value("document.querySelector('[name=word]').value")
        elsewhere = tmp_path / "elsewhere.html"
        elsewhere.write_text(
            f"<form method=post action='{running.url}/act/reduce'><input name=word value='{word}'></form>"
            f"<iframe src='{running.url}/'></iframe>"
        )
        await page.open(elsewhere.as_uri())
        assert await page.value("document.querySelector('iframe').contentDocument === null")
        get = f"fetch('{running.url}/', {{credentials: 'include'}}).then(() => 'read', () => 'refused')"
        assert await page.value(get) == "refused"
        await page.value("document.querySelector('form').submit()")
        await page.until("document.body.innerText.includes('refused')")
    assert not (home / "executor" / "control.json").exists()


async def test_the_first_load_is_small(page: Page, cockpit: Any, journal: Wal) -> None:
    """Over a tunnel from a phone: less than 91 kB on the wire, packed as the browser asks for it."""
    async with cockpit(signed_in=False) as running:
        await open_page(page, running)
        assert 10_000 < sum(page.received.values()) < 91_000
