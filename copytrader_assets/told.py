"""Which failures somebody has been told of: kept as tags of the runs themselves, so that the UI shows it too.

What is sent, and to whom, is the business of `alerts`.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg

__all__ = ["days_of", "fingerprint", "is_news", "mended_by", "note_mended", "note_told"]

TAG: Final = "copytrader/failure_told"
AT_TAG: Final = "copytrader/failure_told_at"
KIND_TAG: Final = "copytrader/failure_kind"
_OPEN: Final = "open"
_MENDED: Final = "mended"
_AGAIN_SECONDS: Final = 86_400.0
_LOOKED_AT: Final = 100
_DAY_TAGS: Final = ("partition", "asset_partition_range_start", "asset_partition_range_end")
_NUMBER: Final = re.compile(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b", re.IGNORECASE)


def days_of(run: dg.DagsterRun) -> list[str]:
    """The partition of a run, or the first and the last one of its range; empty for jobs without partitions."""
    days = [run.tags.get(f"dagster/{name}") for name in _DAY_TAGS]
    return [day for day in days if day]


def fingerprint(failures: Sequence[Mapping[str, str]], error: str | None) -> str:
    """The same for the same failure: slots, counts, ids and times in it do not matter."""
    said = [f"{one['step']}: {one['error']}" for one in failures] or [error or ""]
    return hashlib.sha256(_NUMBER.sub("#", "\n".join(said)).encode()).hexdigest()[:16]


def is_news(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: str) -> bool:
    """False where the same job failed in the same way on the same days, which was told less than a day ago."""
    for told in _open(instance, run.job_name):
        if days_of(told) == days_of(run) and told.asset_selection == run.asset_selection:
            is_recent = time.time() - float(told.tags.get(AT_TAG, "0")) < _AGAIN_SECONDS
            return told.tags.get(KIND_TAG) != kind or not is_recent
    return True


def note_told(instance: dg.DagsterInstance, run: dg.DagsterRun, kind: str) -> None:
    """Somebody has heard of this failure."""
    instance.add_run_tags(run.run_id, {TAG: _OPEN, KIND_TAG: kind, AT_TAG: f"{time.time():.0f}"})


def mended_by(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[dg.DagsterRun]:
    """The failures, told and not mended yet, whose days and assets this run has now computed; newest first."""
    return [told for told in _open(instance, run.job_name) if _covers(run, told)]


def note_mended(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> None:
    """Somebody has heard that these are over."""
    for run in runs:
        instance.add_run_tags(run.run_id, {TAG: _MENDED})


def _open(instance: dg.DagsterInstance, job_name: str) -> Sequence[dg.DagsterRun]:
    found: Any = instance.get_runs(dg.RunsFilter(job_name=job_name, tags={TAG: _OPEN}), limit=_LOOKED_AT)
    return list(found)


def _covers(run: dg.DagsterRun, told: dg.DagsterRun) -> bool:
    ours, theirs = days_of(run), days_of(told)
    has_days = ours == theirs == [] or bool(ours and theirs and ours[0] <= theirs[0] and theirs[-1] <= ours[-1])
    if run.asset_selection is None or told.asset_selection is None:
        return has_days and run.asset_selection is None
    return has_days and told.asset_selection <= run.asset_selection
