"""Log lines: what they look like, and what they never show."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from ingest_worker.logs import LogFormat, configure

TOKEN = "s3cr3t-t\"k'n"


@pytest.fixture(autouse=True)
def usual_logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def lines(form: LogFormat, *secrets: str | None) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    configure(form, secrets=secrets, stream=stream)
    return logging.getLogger("copytrader.ingest"), stream


def test_text_is_one_line_of_time_level_logger_and_message() -> None:
    log, stream = lines(LogFormat.TEXT)
    log.warning("gap_opened from_slot=%d reason=%r", 7, "missing parent")
    time, *rest = stream.getvalue().split(" ", 3)
    assert time.endswith("Z") and "T" in time
    assert rest == ["WARNING", "copytrader.ingest", "gap_opened from_slot=7 reason='missing parent'\n"]


def test_json_takes_the_message_apart() -> None:
    log, stream = lines(LogFormat.JSON)
    log.error("refused error=%r retry_seconds=%.1f endpoint=%s level=%s", 'no "x" = y', 0.2, "h:10000", 3)
    document = json.loads(stream.getvalue())
    assert document.pop("at").endswith("Z")
    assert document.pop("message").startswith("refused error=")
    assert document == {
        "level": "ERROR", "logger": "copytrader.ingest", "event": "refused", "error": 'no "x" = y',
        "retry_seconds": 0.2, "endpoint": "h:10000", "level_": 3,
    }  # fmt: skip


def test_json_stays_one_line_whatever_is_logged() -> None:
    log, stream = lines(LogFormat.JSON)
    try:
        raise ValueError("planted\nin two lines")
    except ValueError:
        log.exception("oh dear\nme")
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert document["event"] == "oh" and "ValueError: planted" in document["traceback"]


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_secret_shows_nowhere(form: LogFormat) -> None:
    log, stream = lines(form, TOKEN, None, "")
    try:
        raise ValueError(f"the provider said {TOKEN}")
    except ValueError as error:
        log.exception("token=%s error=%r %s", TOKEN, str(error), {"x-token": TOKEN})
    text = stream.getvalue()
    assert "***" in text
    for form_of_it in (TOKEN, json.dumps(TOKEN)[1:-1], repr(TOKEN)[1:-1], "s3cr3t"):
        assert form_of_it not in text
    for line in text.splitlines() if form is LogFormat.JSON else []:
        json.loads(line)
