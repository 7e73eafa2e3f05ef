"""The page in a real browser, offline: it draws all, fits wide and narrow screens, and has nothing to complain of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from copytrader_core.settings import settings
from tests.cockpit.browser import Page, browsing
from tests.report.pages import written
from tests.report.planted import backtest_document, small_database, small_lake, small_values, wallet


@pytest.fixture
def address(home: Path, pg_url: str) -> str:
    """A written report with a value, a backtest and own trades."""
    small_lake(settings().lake_path)
    small_values(settings().lake_path)
    (home / "backtest.json").write_text(json.dumps(backtest_document()))
    with psycopg.connect(pg_url) as connection:
        small_database(connection)
        connection.execute("UPDATE wallets SET alias = '<b onclick=x>Eve</b>' WHERE wallet = %s", (wallet(2),))
        connection.commit()
    written("--out", str(home / "page.html"))
    return (home / "page.html").as_uri()


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browsing(tmp_path / "browser") as found:
        yield found


async def opened(page: Page, address: str) -> None:
    """Opens it and waits until it is drawn."""
    await page.open(address)
    await page.until("'drawn' in document.documentElement.dataset")


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
async def test_it_draws_without_a_complaint_and_never_scrolls_sideways(
    address: str, page: Page, width: int, dark: bool
) -> None:
    await page.size(width, 900, dark=dark, mobile=width < 500)
    await opened(page, address)
    assert await page.value("document.querySelectorAll('#ranking a.row').length") == 2
    assert await page.value("document.querySelectorAll('#overview .uplot canvas').length") == 3
    assert await page.value("document.querySelectorAll('#decays path').length") >= 1
    assert await page.value("document.documentElement.scrollWidth") <= width
    await page.value("document.querySelector('#theme').click()")
    assert await page.value("document.documentElement.dataset.theme") == ("light" if dark else "dark")
    assert await page.value("document.querySelectorAll('#overview .uplot canvas').length") == 3
    assert page.complaints == []


async def test_a_row_opens_the_wallets_page_and_back_returns(address: str, page: Page) -> None:
    await page.size(1440, 900)
    await opened(page, address)
    await page.value("document.querySelector('#ranking a.row').click()")
    await page.until("!document.querySelector('#wallet').hidden")
    shown = await page.text("#wallet")
    for words in (
        "Wallet against followed",
        "Still held, by age",
        "Exit rules for its copies",
        "Who follows it",
        wallet(2),
    ):
        assert words in shown
    assert await page.value("document.querySelectorAll('#wallet .u-legend .u-series').length") == 3, "UTC and two lines"
    assert "over seed +15.0 % (+5.0 % to +25.0 %)" in shown
    await page.value("history.back()")
    await page.until("document.querySelector('#wallet').hidden && !document.querySelector('#overview').hidden")
    assert page.complaints == []


async def test_what_is_not_known_of_a_wallet_is_a_dash_on_its_page(address: str, page: Page) -> None:
    await opened(page, f"{address}#wallet={wallet(1)}")
    shown = await page.text("#wallet")
    assert "Its buys have not been replayed yet" in shown
    assert "value of a copy" not in shown
    assert "Not known: no copy of it has landed in a replay" in shown


async def test_a_name_with_markup_is_text(address: str, page: Page) -> None:
    await opened(page, f"{address}#wallet={wallet(2)}")
    assert (await page.text("#wallet h2")).startswith("<b onclick=x>Eve</b>")
    assert await page.value("document.querySelectorAll('[onclick]').length") == 0
