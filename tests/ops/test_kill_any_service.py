"""Kill any one service at any moment: the others go on, it comes back, and nothing is lost.

All services run at once over an embedded Postgres, as deploy/systemd/ has them, while a market is traded. Each is
killed with SIGKILL, together with its children, and started again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copytrader_assets.lake import Lake
from copytrader_cli.alerts.alert import told_by
from executor.journal_view import kept_lines
from executor.wal import head_of, segments_of
from tests.assets import planted
from tests.assets.test_alerts import Receiver, receiver_at_work
from tests.cockpit.browser import Page, binary, browsing
from tests.executor.planted_market import FIRST_SLOT
from tests.executor.running import check
from tests.ops.commands import copytrader
from tests.ops.supervised import until
from tests.ops.whole_platform import POSTGRES, Platform, environment, platform_at_work

LEDGER = ("events", "trades", "open_positions")
LIVE = "document.querySelector('#pulse').innerText === 'live'"
# What has to run while a lost run of Dagster's is found and started again.
OTHERS = ("ingest", "executor", "cockpit", "alerts", "webserver", "daemon")


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    with receiver_at_work() as found:
        yield found


async def test_each_of_those_that_trade_is_killed_once(tmp_path: Path, webhook: Receiver) -> None:
    """The same without Dagster, whose processes take long to start: `make drill` kills those too."""
    binary()
    dice = random.Random(1)
    with platform_at_work(tmp_path, hook_file(tmp_path, webhook), 1, 4_000, with_dagster=False) as platform:
        await asyncio.to_thread(begin, platform)
        async with browsing(tmp_path / "browser") as page:
            await open_cockpit(page, platform)
            for name in dice.sample(platform.names, len(platform.names)):
                await kill(platform, page, name, dice)
        await asyncio.to_thread(end, platform, webhook)


@pytest.mark.drill
@pytest.mark.parametrize("seed", [2, 3])
async def test_each_service_is_killed_while_dagster_computes(tmp_path: Path, webhook: Receiver, seed: int) -> None:
    binary()
    dice = random.Random(seed)
    with platform_at_work(tmp_path, hook_file(tmp_path, webhook), seed, 10_000) as platform:
        await asyncio.to_thread(begin, platform)
        day = await asyncio.to_thread(plant_a_day, platform)
        async with browsing(tmp_path / "browser") as page:
            await open_cockpit(page, platform)
            for victim in ("code", POSTGRES):
                run = await asyncio.to_thread(lose_a_run, platform, day, victim)
                for name in dice.sample(OTHERS, len(OTHERS)):
                    await kill(platform, page, name, dice)
                await asyncio.to_thread(expect_computed, platform, run, day)
        await asyncio.to_thread(end, platform, webhook)


def hook_file(folder: Path, webhook: Receiver) -> str:
    path = folder / "hook"
    path.write_text(webhook.url)
    path.chmod(0o600)
    return str(path)


def begin(platform: Platform) -> None:
    """Everything at work, and something bought."""
    platform.wait_until_all_go_on(platform.names, "after the start")
    until(lambda: bool(fills(platform)), lambda: "nothing was bought\n" + platform.units["executor"].tail())


def plant_a_day(platform: Platform) -> dt.date:
    """A sealed day in Postgres that nobody has computed yet, and nobody does by himself."""
    for name in ("nightly", "intraday_refresh"):
        platform.stop_schedule(name)
    day = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=14)
    planted.load(platform.url, planted.moved_to(day, planted.Market(1, 1, 40).rows))
    planted.seal(platform.url, day)
    return day


def fills(platform: Platform) -> list[Any]:
    return [line for line in kept_lines(platform.home / "executor" / "paper") if line["kind"] == "FILL"]


async def open_cockpit(page: Page, platform: Platform) -> None:
    token = (platform.home / "cockpit.token").read_text().strip()
    await page.open(f"http://127.0.0.1:{platform.ports['cockpit']}/?token={token}")
    await page.until(LIVE, 60)
    await page.value("window.neverReloaded = true")


def lose_a_run(platform: Platform, day: dt.date, victim: str) -> str:
    """Kills what a run of Dagster's needs while it is at work. Returns the run."""
    run = platform.launch(LEDGER, day)
    until(
        lambda: platform.status_of(run) == "STARTED", lambda: "the run never began\n" + platform.units["daemon"].tail()
    )
    with platform.without(victim):
        # Long enough for the run, and whoever looks after it, to meet nobody.
        time.sleep(3)
    platform.wait_until_all_go_on(platform.names, f"after {victim} came back")
    return run


def expect_computed(platform: Platform, run: str, day: dt.date) -> None:
    """The run that was lost was found, and made up for."""

    def again() -> list[str]:
        return [one["status"] for one in platform.runs(dagster__root_run_id=run)]

    until(
        lambda: platform.status_of(run) == "SUCCESS" or "SUCCESS" in again(),
        lambda: f"{platform.status_of(run)}, {again()}\n{platform.units['daemon'].tail()}",
    )
    lake = Lake(platform.home / "lake")
    assert all(lake.days(name) == [day] for name in LEDGER)


async def kill(platform: Platform, page: Page, name: str, dice: random.Random) -> None:
    """The others go on without it; it comes back; the page shows it all again without being loaded again."""
    await asyncio.sleep(dice.uniform(0.0, 1.5))
    others = [unit for unit in platform.units if unit != name]
    pids = {unit: pid_of(platform, unit) for unit in others}
    with platform.without(name):
        if name != POSTGRES:
            await asyncio.to_thread(platform.wait_until_all_go_on, others, f"while {name} is away")
        else:
            await asyncio.to_thread(platform.wait_until_all_go_on, without_postgres(others), f"while {name} is away")
    await asyncio.to_thread(platform.wait_until_all_go_on, platform.names, f"after {name} came back")
    assert {unit: pid_of(platform, unit) for unit in others} == pids, f"{name} took others with it: {told(platform)}"
    await page.until(LIVE, 60)
    assert await page.value("window.neverReloaded === true")


def without_postgres(names: list[str]) -> list[str]:
    """What does its work, or looks for it, with the database away. Worker and daemon wait."""
    return [name for name in names if name not in ("ingest", "daemon")]


def pid_of(platform: Platform, unit: str) -> int:
    process = platform.units[unit].process
    assert process is not None
    return process.pid


def told(platform: Platform) -> str:
    return "\n".join(
        f"{unit.name} ended with {unit.ends}\n{unit.tail()}" for unit in platform.units.values() if unit.ends
    )


def end(platform: Platform, webhook: Receiver) -> None:
    """Sells what is held, ends the services in order, and looks whether anything is missing."""
    copytrader("executor", "flatten", "--reason", "end of the drill", environment=environment(platform))
    # Written once nothing is held and nothing is under way.
    flat = "SELECT 1 FROM exec_journal WHERE kind = 'FLATTENED'"
    until(lambda: bool(platform.rows(flat)), lambda: "not everything is sold\n" + platform.units["executor"].tail())
    for name in ("executor", "ingest"):
        assert platform.units[name].stop() == 0, platform.units[name].tail()
    expect_events(platform)
    expect_journal(platform)
    check(platform.url)
    expect_alerts(platform, webhook)


def expect_events(platform: Platform) -> None:
    """Every trade of every slot from the first to the checkpoint is there, once, and no slot is missing."""
    ((last,),) = platform.rows("SELECT slot FROM ingest_checkpoint")
    rows = platform.rows(
        f"SELECT sig, wallet, action, mint, base_raw::BIGINT FROM raw_events WHERE slot BETWEEN {FIRST_SLOT} AND {last}"
    )
    assert sorted(rows) == platform.market.truth(last)
    assert platform.rows("SELECT * FROM ingest_gaps") == []
    closed = platform.rows("SELECT count(*), count(DISTINCT slot) FROM ingest_slots")
    assert closed == [(last - FIRST_SLOT + 1,) * 2]


def expect_journal(platform: Platform) -> None:
    """No line of the journal is missing, in the files and in Postgres."""
    numbers = [line["seq"] for line in kept_lines(platform.home / "executor" / "paper")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert platform.rows("SELECT journal_seq FROM exec_journal ORDER BY 1") == [(number,) for number in numbers]


def expect_alerts(platform: Platform, webhook: Receiver) -> None:
    """Each fact worth telling arrived; what arrived twice says that it may be a repeat."""
    folder = platform.home / "executor" / "paper"
    journal = head_of(segments_of(folder)[-1])["journal_id"]
    wanted = {f"{journal}/{line['seq']}" for line in kept_lines(folder) if told_by(line, {}) is not None}

    def heard() -> list[dict[str, Any]]:
        return [alert for message in list(webhook.heard) for alert in message["alerts"]]

    until(lambda: wanted <= {alert["id"] for alert in heard()}, lambda: f"{len(wanted)} alerts, heard {len(heard())}")
    assert max(Counter(alert["id"] for alert in heard() if not alert["repeat"]).values()) == 1
    assert platform.units["alerts"].stop() == 0
