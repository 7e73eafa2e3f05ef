"""Who hears of a failed run, and of its end: HTTP POSTs to a webhook, if the settings name one. Off by default.

The URL is a secret for whoever it is: it is read from a file, a service's credential or the environment, never logged.
"""

from __future__ import annotations

import datetime as dt
import http.client
import ipaddress
import json
import logging
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import dagster as dg

from copytrader_assets import told
from copytrader_core.errors import ConfigError
from copytrader_core.settings import settings

CREDENTIAL: Final = "dagster-webhook"
_TIMEOUT_SECONDS: Final = 10.0
_SHOWN_STEPS: Final = 5
_SHOWN_CHARS: Final = 600
_OTHERS_MAY: Final = 0o077
_log = logging.getLogger("copytrader.dagster.alerts")


@dg.run_failure_sensor(
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the webhook of the settings of failed runs: a failure that repeats itself once a day. "
    "Skips while no webhook is set.",
)
def failed_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """Tells the webhook of every failure that is news. A webhook that does not answer never stops the daemon."""
    content = message(context)
    kind = told.fingerprint(content["failures"], content["error"])
    run = context.dagster_run
    if not told.is_news(context.instance, run, kind):
        return dg.SkipReason(f"{run.job_name} fails as before, which was told less than a day ago")
    if (skipped := _tell(content, run.run_id)) is not None:
        return skipped
    told.note_told(context.instance, run, kind)
    return None


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the webhook of the settings that what had failed works again.",
)
def mended_runs(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
    """Tells once that failures that were told are over: a later run has computed the same."""
    run = context.dagster_run
    over = told.mended_by(context.instance, run)
    if not over:
        return dg.SkipReason(f"no failure of {run.job_name} is open")
    content = {
        "text": f"copytrader: {run.job_name} works again",
        "kind": "dagster_run_mended",
        "run_id": run.run_id,
        "job": run.job_name,
        "days": told.days_of(run),
        "failed_runs": [one.run_id for one in over[:_SHOWN_STEPS]],
        "at": _now(),
    }
    if (skipped := _tell(content, run.run_id)) is not None:
        return skipped
    told.note_mended(context.instance, over)
    return None


def _tell(content: dict[str, Any], run_id: str) -> dg.SkipReason | None:
    """None when it has arrived, else why not."""
    try:
        url = webhook_url()
    except ConfigError as error:
        _log.error("failure_webhook error=%r", str(error))
        return dg.SkipReason(str(error))
    if url is None:
        return dg.SkipReason("no failure webhook is set")
    if problem := post(url, content):
        _log.error("failure_webhook run=%s error=%r", run_id, problem)
        return dg.SkipReason(f"the failure webhook was not reached: {problem}")
    return None


def webhook_url() -> str | None:
    """The URL of the settings' file, of the service's credential or of the named variable; None for no webhook.

    Raises ConfigError where the file cannot be read or others can, or where the URL is neither https nor loopback.
    """
    given, folder = settings().dagster, os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder) / CREDENTIAL if folder else None
    file = given.webhook_url_file or (credential if credential is not None and credential.is_file() else None)
    url = _text(file) if file is not None else os.environ.get(given.webhook_url_env or "", "").strip()
    if url and not _is_safe(url):
        raise ConfigError("the failure webhook must be an https URL; http is taken for loopback addresses only")
    return url or None


def message(context: dg.RunFailureSensorContext) -> dict[str, Any]:
    """What is posted: the run, its days, and why its first steps failed. Bounded, whatever the errors say."""
    run, events = context.dagster_run, context.get_step_failure_events()
    failed = [{"step": event.step_key, "error": _reason(event)[:_SHOWN_CHARS]} for event in events[:_SHOWN_STEPS]]
    return {
        "text": f"copytrader: {run.job_name} failed"
        + "".join(f"\n{step['step']}: {step['error']}" for step in failed[:1]),
        "kind": "dagster_run_failed",
        "run_id": run.run_id,
        "job": run.job_name,
        "days": told.days_of(run),
        "failed_steps": len(events),
        "failures": failed,
        "error": context.failure_event.message[:_SHOWN_CHARS] if context.failure_event.message else None,
        "at": _now(),
    }


def post(url: str, content: dict[str, Any]) -> str | None:
    """Posts JSON; returns what went wrong, without the URL, or None. Follows no redirect and takes 10 s at most."""
    request = urllib.request.Request(  # noqa: S310 - https, or loopback: see webhook_url
        url, json.dumps(content).encode(), {"Content-Type": "application/json", "User-Agent": "copytrader"}
    )
    try:
        with _OPENER.open(request, timeout=_TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return f"it answered {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return type(getattr(error, "reason", error)).__name__


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *request: Any) -> None:
        return None


_OPENER: Final = urllib.request.build_opener(_NoRedirect())


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _reason(event: dg.DagsterEvent) -> str:
    """Our own words where the step refused, else the first line of what was raised at the bottom."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else event.message or "failed"


def _text(file: Path) -> str:
    try:
        rights = file.stat().st_mode
        text = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the webhook's URL cannot be read ({type(error).__name__})") from error
    if rights & _OTHERS_MAY and os.environ.get("CREDENTIALS_DIRECTORY") != str(file.parent):
        raise ConfigError(f"{file}: others can read the webhook's URL: chmod 600 {file}")
    return text


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return bool(host)
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
