"""The failure webhook: off by default, told once until it changes or ends, bounded; it never stops the daemon."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from copytrader_assets import alerts, told
from copytrader_core.errors import ConfigError
from copytrader_core.settings import settings


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it is told and answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[dict[str, Any]] = []
        self.status = 204

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?token=secret"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *what: object) -> None:
        """Tests print nothing."""


@contextmanager
def receiver_at_work() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiver_at_work() as server:
        yield server


@pytest.fixture(autouse=True)
def no_webhook(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def name_file(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setenv("COPYTRADER_DAGSTER__WEBHOOK_URL_FILE", str(file))
    settings.cache_clear()


def secret_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / alerts.CREDENTIAL
    file.write_text(text)
    file.chmod(mode)
    return file


def test_there_is_no_webhook_unless_one_is_named() -> None:
    assert alerts.webhook_url() is None


def test_the_url_comes_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_file(monkeypatch, secret_file(tmp_path, "https://hooks.example/x\n"))
    assert alerts.webhook_url() == "https://hooks.example/x"


def test_the_url_comes_from_the_services_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret_file(tmp_path, "https://hooks.example/x", 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert alerts.webhook_url() == "https://hooks.example/x"


def test_the_url_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COPYTRADER_DAGSTER__WEBHOOK_URL_ENV", "HOOK")
    monkeypatch.setenv("HOOK", "https://hooks.example/x")
    settings.cache_clear()
    assert alerts.webhook_url() == "https://hooks.example/x"


@pytest.mark.parametrize("url", ["http://hooks.example/x", "file:///etc/passwd", "https://", "http://[", "hooks"])
def test_an_unsafe_url_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    name_file(monkeypatch, secret_file(tmp_path, url))
    with pytest.raises(ConfigError) as refused:
        alerts.webhook_url()
    assert url not in str(refused.value)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_file(monkeypatch, secret_file(tmp_path, "https://hooks.example/x", 0o644))
    with pytest.raises(ConfigError, match="chmod 600"):
        alerts.webhook_url()


def test_a_missing_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_file(monkeypatch, tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot be read"):
        alerts.webhook_url()


def test_what_is_posted_arrives(receiver: Receiver) -> None:
    assert alerts.post(receiver.url, {"a": 1}) is None
    assert receiver.heard == [{"a": 1}]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_another_answer_is_a_problem_and_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.status = status
    assert alerts.post(receiver.url, {}) == f"it answered {status}"
    assert len(receiver.heard) == 1


def test_nobody_there_is_a_problem_that_does_not_show_the_url() -> None:
    assert alerts.post("http://127.0.0.1:1/hook?token=secret", {}) == "ConnectionRefusedError"


@dg.op(config_schema={"why": str})
def broken(context) -> None:  # type: ignore[no-untyped-def]
    if context.op_config["why"]:
        raise dg.Failure(context.op_config["why"] + " " + "x" * 10_000)


@dg.job
def refresh() -> None:
    broken()


@dataclass
class Night:
    """One job on one Dagster instance, run and looked at by both sensors as the daemon does it."""

    instance: dg.DagsterInstance

    def run(self, why: str = "", day: str = "2026-03-01") -> Any:
        """What the sensor says to one run, which fails where there is a reason why."""
        result = refresh.execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            tags={"dagster/partition": day},
            run_config={"ops": {"broken": {"config": {"why": why}}}},
        )
        run = self.instance.get_run_by_id(result.run_id)
        assert run is not None
        if result.success:
            event = next(e for e in result.all_events if e.event_type_value == "PIPELINE_SUCCESS")
            return alerts.mended_runs(dg.build_run_status_sensor_context("mended_runs", event, self.instance, run))
        event = result.get_run_failure_event()
        context = dg.build_run_status_sensor_context("failed_runs", event, self.instance, run)
        return alerts.failed_runs(context.for_run_failure())

    def a_day_later(self) -> None:
        """Whatever was told was told 25 hours earlier than it says."""
        for run in self.instance.get_runs(dg.RunsFilter(tags={told.TAG: "open"})):
            self.instance.add_run_tags(run.run_id, {told.AT_TAG: str(float(run.tags[told.AT_TAG]) - 90_000)})


@pytest.fixture
def night() -> Iterator[Night]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Night(instance)


@pytest.fixture
def listening(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    name_file(monkeypatch, secret_file(tmp_path, receiver.url))
    return receiver


def test_a_failed_run_is_told_in_a_bounded_message(listening: Receiver, night: Night) -> None:
    assert night.run("day 2026-03-01 is not sealed ") is None
    (heard,) = listening.heard
    assert (heard["job"], heard["days"], heard["failed_steps"]) == ("refresh", ["2026-03-01"], 1)
    assert heard["failures"][0]["step"] == "broken"
    assert heard["failures"][0]["error"].startswith("day 2026-03-01 is not sealed")
    assert "day 2026-03-01 is not sealed" in heard["text"] and len(json.dumps(heard)) < 8_000


def test_a_failure_that_repeats_itself_is_told_once_although_its_numbers_change(
    listening: Receiver, night: Night
) -> None:
    for slot in range(383_411_234, 383_411_240):
        night.run(f"the release up to slot {slot} misses {slot % 7} rows of 0x{slot:x}")
    assert [one["kind"] for one in listening.heard] == ["dagster_run_failed"]


def test_another_failure_of_the_same_job_is_told(listening: Receiver, night: Night) -> None:
    for why in ("no space left", "no space left", "no answer", "no answer"):
        night.run(why)
    assert [one["failures"][0]["error"][:9] for one in listening.heard] == ["no space ", "no answer"]


def test_the_same_failure_of_another_day_is_told(listening: Receiver, night: Night) -> None:
    night.run("no space left", "2026-03-01")
    night.run("no space left", "2026-03-02")
    assert [one["days"] for one in listening.heard] == [["2026-03-01"], ["2026-03-02"]]


def test_a_failure_that_lasts_is_told_every_day(listening: Receiver, night: Night) -> None:
    for _ in range(3):
        night.run("no space left")
        night.run("no space left")
        night.a_day_later()
    assert len(listening.heard) == 3


def test_the_end_of_a_failure_is_told_once_and_the_next_one_is_news(listening: Receiver, night: Night) -> None:
    for why in ("no space left", "no space left", "", "", "no space left"):
        night.run(why)
    kinds = [one["kind"] for one in listening.heard]
    assert kinds == ["dagster_run_failed", "dagster_run_mended", "dagster_run_failed"]
    assert listening.heard[1]["text"] == "copytrader: refresh works again"
    assert listening.heard[1]["failed_runs"] == [listening.heard[0]["run_id"]]


def test_another_days_success_mends_nothing(listening: Receiver, night: Night) -> None:
    night.run("no space left", "2026-03-01")
    assert isinstance(night.run("", "2026-03-02"), dg.SkipReason)
    assert len(listening.heard) == 1


def test_a_success_with_nothing_to_mend_is_not_told(listening: Receiver, night: Night) -> None:
    assert isinstance(night.run(), dg.SkipReason) and listening.heard == []


def test_what_did_not_arrive_is_told_by_the_next_failure(listening: Receiver, night: Night) -> None:
    listening.status = 500
    assert isinstance(night.run("no space left"), dg.SkipReason)
    listening.status = 204
    assert night.run("no space left") is None


def test_an_end_that_did_not_arrive_is_told_by_the_next_success(listening: Receiver, night: Night) -> None:
    night.run("no space left")
    listening.status = 500
    night.run()
    listening.status = 204
    assert night.run() is None and listening.heard[-1]["kind"] == "dagster_run_mended"


def test_a_webhook_that_is_away_skips_and_says_so(tmp_path: Path, night: Night, monkeypatch: Any) -> None:
    name_file(monkeypatch, secret_file(tmp_path, "http://127.0.0.1:1/?token=secret"))
    skipped = night.run("why")
    assert isinstance(skipped, dg.SkipReason) and "secret" not in str(skipped.skip_message)


def test_a_wrong_setting_skips_and_says_so(tmp_path: Path, night: Night, monkeypatch: Any) -> None:
    name_file(monkeypatch, tmp_path / "none")
    skipped = night.run("why")
    assert isinstance(skipped, dg.SkipReason) and "cannot be read" in str(skipped.skip_message)
