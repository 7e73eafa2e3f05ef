"""The failure webhook: off by default, told once and bounded, and nothing that it does stops the daemon."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from copytrader_assets import alerts
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


@dg.op
def broken() -> None:
    raise dg.Failure("day 2026-03-01 is not sealed " + "x" * 10_000)


@dg.job
def failing() -> None:
    broken()


def evaluate() -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        result = failing.execute_in_process(
            instance=instance, raise_on_error=False, tags={"dagster/partition": "2026-03-01"}
        )
        context = dg.build_run_status_sensor_context(
            "failed_runs", result.get_run_failure_event(), instance, result.dagster_run
        ).for_run_failure()
        return alerts.failed_runs(context)


def test_a_failed_run_is_told_in_a_bounded_message(receiver: Receiver, tmp_path: Path, monkeypatch: Any) -> None:
    name_file(monkeypatch, secret_file(tmp_path, receiver.url))
    assert evaluate() is None
    (told,) = receiver.heard
    assert (told["job"], told["days"], told["failed_steps"]) == ("failing", ["2026-03-01"], 1)
    assert told["failures"][0]["step"] == "broken"
    assert told["failures"][0]["error"].startswith("day 2026-03-01 is not sealed")
    assert "day 2026-03-01 is not sealed" in told["text"] and len(json.dumps(told)) < 8_000


def test_a_webhook_that_is_away_skips_and_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    name_file(monkeypatch, secret_file(tmp_path, "http://127.0.0.1:1/?token=secret"))
    skipped = evaluate()
    assert isinstance(skipped, dg.SkipReason) and "secret" not in str(skipped.skip_message)


def test_a_wrong_setting_skips_and_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    name_file(monkeypatch, tmp_path / "none")
    skipped = evaluate()
    assert isinstance(skipped, dg.SkipReason) and "cannot be read" in str(skipped.skip_message)
