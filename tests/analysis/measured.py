"""The whole way from planted rows to fingerprints, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import pyarrow as pa
from planted_trips import AS_OF

from copytrader_assets.analysis.day_facts import DayFacts
from copytrader_assets.analysis.fingerprint import measure, publishable
from copytrader_assets.analysis.window import TripWindow, end_ns
from copytrader_assets.pattern_schemas import WALLET_PATTERNS
from copytrader_core.settings import PatternSettings


def fingerprints(
    trips: pa.Table,
    held: pa.Table,
    events: pa.Table,
    wallets: Mapping[str, str | None],
    *,
    as_of: date = AS_OF,
    scores: pa.Table | None = None,
    days: int | None = None,
    settings: PatternSettings | None = None,
    window: TripWindow | None = None,
) -> pa.Table:
    """`wallet_patterns` of the planted rows, all of them seen on one day; `days` is how long there were any."""
    settings = settings or PatternSettings()
    window = window or TripWindow("planted", settings.window_days, settings.last_trades)
    names = sorted(wallets)
    history = as_of - timedelta(days=(days or window.days or 30) - 1)
    facts = DayFacts.of(trips, events, held, pa.array(names, pa.string()), end_ns(as_of), 400.0)
    parts = [measure(facts, names, window, as_of=as_of, history=history, settings=settings)] if names else []
    return publishable(parts, WALLET_PATTERNS.arrow, aliases=wallets, as_of=as_of, window=window, scores=scores)
