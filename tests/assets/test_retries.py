"""A store out of reach is tried again, wrong data and bugs are not."""

from __future__ import annotations

import dagster as dg
import psycopg
import pytest
from psycopg import errors

from copytrader_assets import retries
from copytrader_core.errors import StoreError
from copytrader_core.settings import settings
from tests.assets.conftest import Platform
from tests.assets.planted import day, event


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPYTRADER_DAGSTER__RETRY_SECONDS", "0.01")
    settings.cache_clear()


def raised_from(cause: Exception) -> Exception:
    try:
        raise StoreError("the database cannot be reached") from cause
    except StoreError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("server closed the connection unexpectedly"),
        errors.SerializationFailure(),
        errors.DeadlockDetected(),
        errors.AdminShutdown(),
        psycopg.InterfaceError("the connection is closed"),
        ConnectionResetError(),
        TimeoutError(),
        raised_from(psycopg.OperationalError("refused")),
    ],
)
def test_what_may_be_gone_in_a_while(error: Exception) -> None:
    assert retries.is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        dg.Failure("wrong data", allow_retries=False),
        StoreError("the day is not in the lake"),
        ValueError(),
        FileNotFoundError(),
        PermissionError(),
        errors.InvalidPassword(),
        errors.InvalidCatalogName(),
        errors.UndefinedTable(),
        errors.UniqueViolation(),
    ],
)
def test_what_no_waiting_heals(error: Exception) -> None:
    assert not retries.is_transient(error)


def test_the_waits_double_with_jitter_and_end_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPYTRADER_DAGSTER__RETRY_SECONDS", "20")
    settings.cache_clear()
    for retry, longest in ((0, 20), (1, 40), (2, 80), (10, 300)):
        waits = [retries.wait_seconds(retry) for _ in range(50)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


def hiccups(platform: Platform, times: int, state: str = "40001") -> None:
    """The first writes of a release fail; a sequence counts them, as what a failed transaction wrote is gone."""
    platform.execute(
        f"""CREATE SEQUENCE tries;
        CREATE FUNCTION hiccup() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('tries') <= {times} THEN RAISE EXCEPTION 'hiccup' USING ERRCODE = '{state}'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER hiccup BEFORE INSERT ON releases FOR EACH ROW EXECUTE FUNCTION hiccup()"""
    )


def kinds(result: dg.ExecuteInProcessResult) -> list[str]:
    return [event.event_type_value for event in result.all_events]


@pytest.fixture
def planted(platform: Platform) -> Platform:
    platform.plant([event(1, "BUY", 10, 10)], day(0))
    return platform


def test_a_hiccup_is_retried_and_the_day_is_released_once(planted: Platform) -> None:
    hiccups(planted, 2)
    result = planted.succeed(day(0))
    assert kinds(result).count("STEP_UP_FOR_RETRY") == 2
    assert planted.sql("SELECT count(*) FROM releases") == [(1,)]


def test_a_store_that_stays_away_fails_the_step_after_the_last_retry(planted: Platform) -> None:
    hiccups(planted, 100)
    result = planted.run(day(0))
    assert not result.success and kinds(result).count("STEP_UP_FOR_RETRY") == settings().dagster.retries
    assert planted.sql("SELECT count(*) FROM releases") == [(0,)]


def test_a_bug_is_not_retried(planted: Platform) -> None:
    hiccups(planted, 1, state="42P01")
    result = planted.run(day(0))
    assert not result.success and "STEP_UP_FOR_RETRY" not in kinds(result)


def test_wrong_data_is_not_retried(planted: Platform) -> None:
    planted.execute("UPDATE ingest_days SET n_events = 7")
    result = planted.run(day(0))
    assert not result.success and "STEP_UP_FOR_RETRY" not in kinds(result)
    assert planted.lake.days("events") == []
