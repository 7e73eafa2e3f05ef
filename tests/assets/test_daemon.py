"""Dagster as it is operated, with its real daemon: a night, a backfill from the UI, bad data, a store that hiccups."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from copytrader_assets.catalog import STAGES
from copytrader_assets.lake import Lake
from tests.assets import planted
from tests.assets.planted import Market
from tests.assets.services import Services, until
from tests.assets.test_alerts import Receiver, receiver_at_work

DAYS, SEALED = 12, 2
LEDGER = ("events", "trades", "open_positions")
STANDING_ON_EVENTS = (*LEDGER, "wallet_patterns")
EXECUTABLE = [name for names in STAGES.values() for name in names if name != "raw_events"]
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass
class Desk:
    """The services, the database below them, who hears of failures, and the planted days in order."""

    services: Services
    url: str
    webhook: Receiver
    days: list[dt.date]

    @property
    def lake(self) -> Lake:
        return Lake(self.services.home / "lake")

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement)

    def materialized(self, asset: str) -> int:
        """How many materializations of the asset were recorded."""
        query = "SELECT count(*) FROM dagster.event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'"
        return int(self.sql(f"""{query} AND asset_key = '["{asset}"]'""")[0][0])

    def retries(self, run_id: str) -> int:
        kind = "dagster_event_type = 'STEP_UP_FOR_RETRY'"
        return int(self.sql(f"SELECT count(*) FROM dagster.event_logs WHERE {kind} AND run_id = '{run_id}'")[0][0])


HICCUP = """
CREATE SEQUENCE tries;
CREATE FUNCTION hiccup() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('tries') = 1 THEN RAISE EXCEPTION 'hiccup' USING ERRCODE = '40001'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hiccup BEFORE INSERT ON releases FOR EACH ROW EXECUTE FUNCTION hiccup()
"""


def plant(url: str, first: dt.date) -> None:
    """A small market on the days from `first` on, of which the first ones are sealed."""
    planted.track(url, wallet_1="one", wallet_2="two")
    planted.load(url, planted.moved_to(first, Market(1, DAYS, events_per_day=40).rows))
    planted.seal(url, *(first + dt.timedelta(days=n) for n in range(SEALED)))


@pytest.fixture(scope="module")
def database(pg_server: str) -> Iterator[str]:
    base, _, template = pg_server.rpartition("/")
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield f"{base}/{name}"
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def desk(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The processes at work. The daemon was away for the last nights: the schedule has been on since then."""
    # Before 01:15 the newest tick is yesterday's, which asks for the day before it.
    first = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=DAYS + 1)
    plant(database, first)
    with receiver_at_work() as webhook:
        services = Services(
            database, tmp_path_factory.mktemp("desk"), HOOK=webhook.url,
            COPYTRADER_DAGSTER__WEBHOOK_URL_ENV="HOOK", COPYTRADER_DAGSTER__RETRY_SECONDS="0.1",
        )  # fmt: skip
        try:
            services.start()
            found = Desk(services, database, webhook, [first + dt.timedelta(days=n) for n in range(DAYS)])
            found.execute(HICCUP)
            turn_on(found, "nightly", dt.timedelta(days=1, hours=2))
            # A half hour that passes meanwhile would compute what the tests plant, and fail on what they break.
            services.stop_schedule("intraday_refresh")
            services.start_daemon()
            yield found
        finally:
            services.stop()


def turn_on(desk: Desk, schedule: str, since: dt.timedelta) -> None:
    """Stops and starts a schedule as the UI does, and moves the moment into the past."""
    desk.services.stop_schedule(schedule)
    start = "mutation($selector: ScheduleSelector!) { startSchedule(scheduleSelector: $selector) { __typename } }"
    done = desk.services.ask(start, selector=desk.services.schedule(schedule))
    assert done["startSchedule"]["__typename"] == "ScheduleStateResult"
    moment = (dt.datetime.now(dt.UTC) - since).timestamp()
    desk.execute(
        f"""UPDATE dagster.instigators SET instigator_body =
        regexp_replace(instigator_body, '"start_timestamp": [0-9.]+', '"start_timestamp": {moment}')"""
    )
    ((body,),) = desk.sql("SELECT instigator_body FROM dagster.instigators")
    assert str(moment) in body, body


def end_of(desk: Desk, **tags: str) -> dict[str, Any]:
    """The newest run with these tags, once it is over."""

    def look() -> dict[str, Any] | None:
        runs = desk.services.runs(**tags)
        return runs[0] if runs and runs[0]["status"] in {"SUCCESS", "FAILURE", "CANCELED"} else None

    return until(look, f"the end of a run with {tags}")


def test_the_schedule_computes_the_sealed_days_that_were_missed_in_one_run(desk: Desk) -> None:
    run = end_of(desk, dagster__schedule_name="nightly")
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert run["status"] == "SUCCESS"
    assert [tags[name] for name in RANGE] == [str(desk.days[0]), str(desk.days[SEALED - 1])]
    assert desk.lake.days("wallet_patterns") == desk.days[:SEALED]
    assert len(desk.services.runs(dagster__schedule_name="nightly")) == 1
    assert desk.sql("SELECT as_of FROM release_current JOIN releases USING (release_id)") == [(desk.days[SEALED - 1],)]


def test_a_store_that_hiccups_is_tried_again_and_nobody_is_told(desk: Desk) -> None:
    """The first write of a release fails as a database under load does; the night ends well all the same."""
    run = end_of(desk, dagster__schedule_name="nightly")
    assert desk.sql("SELECT last_value FROM tries") == [(2,)]
    assert run["status"] == "SUCCESS" and desk.retries(run["runId"]) == 1
    assert desk.webhook.heard == []


def test_a_backfill_of_ten_days_from_the_ui_materializes_each_of_them_once(desk: Desk) -> None:
    """In one run an asset and parent, not a run a day: forty seconds a day would be lost between them."""
    days = desk.days[SEALED:]
    desk.services.stop_schedule("nightly")
    planted.seal(desk.url, *days)
    before = {name: desk.materialized(name) for name in LEDGER}
    backfill = desk.services.backfill(LEDGER, days)
    assert desk.services.end_of_backfill(backfill) == "COMPLETED_SUCCESS"
    runs = desk.services.runs(dagster__backfill=backfill)
    assert [run["status"] for run in runs] == ["SUCCESS", "SUCCESS"]
    assert {name: desk.materialized(name) - before[name] for name in LEDGER} == dict.fromkeys(LEDGER, 10)
    assert desk.lake.days("open_positions") == desk.days


def test_a_failing_check_is_shown_and_blocks_what_stands_on_it_without_a_retry(desk: Desk) -> None:
    broken, told = desk.days[5], len(desk.webhook.heard)
    before = {name: desk.materialized(name) for name in EXECUTABLE}
    content = desk.lake.snapshot("events", broken).content_hash
    desk.execute(f"UPDATE ingest_days SET n_events = n_events + 7 WHERE day = '{broken}'")
    backfill = desk.services.backfill(STANDING_ON_EVENTS, [broken])
    assert desk.services.end_of_backfill(backfill) == "COMPLETED_FAILED"
    (run,) = desk.services.runs(dagster__backfill=backfill)
    assert run["status"] == "FAILURE" and desk.retries(run["runId"]) == 0
    assert {name: desk.materialized(name) for name in EXECUTABLE} == before
    assert desk.lake.snapshot("events", broken).content_hash == content
    assert check_of(desk, "events", "completeness") == (run["runId"], "FAILED", "ERROR")
    assert check_of(desk, "events", "rules") == (run["runId"], "SUCCEEDED", "ERROR")
    heard = until(lambda: desk.webhook.heard[told:] or None, "the failure webhook")
    assert [one["run_id"] for one in heard] == [run["runId"]]
    assert f"day {broken} was sealed with" in heard[0]["text"]
    desk.execute(f"UPDATE ingest_days SET n_events = n_events - 7 WHERE day = '{broken}'")


def check_of(desk: Desk, asset: str, check: str) -> tuple[str, str, str]:
    """Run, status and severity of the check's last execution, as the UI shows them."""
    found = desk.services.ask(
        """query($key: AssetKeyInput!, $check: String!) {
            assetCheckExecutions(assetKey: $key, checkName: $check, limit: 1) {
                runId status evaluation { severity } } }""",
        key={"path": [asset]},
        check=check,
    )["assetCheckExecutions"][0]
    return found["runId"], found["status"], found["evaluation"]["severity"]


def test_the_sensor_has_reported_the_sealed_days(desk: Desk) -> None:
    assert desk.materialized("raw_events") >= SEALED


def test_the_failure_was_told_once(desk: Desk) -> None:
    runs = [one["run_id"] for one in desk.webhook.heard]
    assert len(runs) == len({*runs}) == 1
