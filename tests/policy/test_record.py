"""Decisions from the journal: taken again they are the same, of today and of before there were today's guards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from policy_inputs import BOOK, EDGES, NOW, PATTERN, SIGNAL, SOL, settings

from copytrader_core.policy.decide import decide
from copytrader_core.policy.record import (
    canonical,
    decision_document,
    decision_from,
    inputs_document,
    replay,
    settings_document,
)
from copytrader_core.policy.values import Book, Lock

OLD = json.loads((Path(__file__).parent / "decisions_of_version_1.json").read_text())

keys = st.sampled_from(["mint", "leader", "another"])
totals = st.dictionaries(keys, st.integers(0, 4 * SOL))
counts = st.dictionaries(keys, st.integers(0, 1))
times = st.dictionaries(keys, st.integers(NOW.ts_ns - 2_000_000_000, NOW.ts_ns))
locks = st.builds(
    Lock,
    st.sampled_from(["leader", "mint"]),
    keys,
    st.text(max_size=5),
    st.none() | st.integers(NOW.ts_ns - 1, NOW.ts_ns + 1),
)
books = st.builds(
    replace,
    st.just(BOOK),
    mint_count=counts,
    leader_count=counts,
    mint_exposure_lamports=totals,
    leader_exposure_lamports=totals,
    last_trade_ns=times,
    last_loss_ns=times,
    stray_sales=counts,
    stream_age_ms=st.integers(0, 3_500),
    drift=st.none() | st.just("pump has a new event"),
    locks=st.lists(locks, max_size=2).map(tuple),
    first_trade=st.booleans(),
)
RESTED = {"risk": {"mint_cool_down_ms": 1_000, "leader_cool_down_ms": 1_000}}


@hypothesis_settings(max_examples=200, deadline=None)
@given(books)
def test_a_journalled_decision_is_taken_again_identically(book: Book) -> None:
    chosen = settings(**RESTED)
    decision = decide(SIGNAL, PATTERN, EDGES, book, chosen, NOW)
    inputs = json.loads(canonical(inputs_document(SIGNAL, PATTERN, EDGES, book, NOW)))
    kept = json.loads(canonical(decision_document(decision)))
    again = replay(inputs, json.loads(canonical(settings_document(chosen))))
    assert again == decision == decision_from(kept)
    assert canonical(decision_document(again)) == canonical(kept)


def test_of_the_book_only_what_concerns_the_signal_is_kept() -> None:
    both = {"mint": 1, "leader": 2, "another": 3}
    book = replace(
        BOOK,
        mint_count=both,
        leader_count=both,
        mint_exposure_lamports=both,
        leader_exposure_lamports=both,
        last_trade_ns=both,
        last_loss_ns=both,
        locks=(Lock("all", "", "a"), Lock("mint", "another", "b"), Lock("leader", "leader", "c", 5)),
    )
    kept = inputs_document(SIGNAL, PATTERN, EDGES, book, NOW)["book"]
    for name in ("mint_count", "mint_exposure_lamports", "last_trade_ns"):
        assert kept[name] == {"mint": 1}
    for name in ("leader_count", "leader_exposure_lamports", "last_loss_ns"):
        assert kept[name] == {"leader": 2}
    assert [lock["reason"] for lock in kept["locks"]] == ["a", "c"]


@pytest.mark.parametrize("old", OLD, ids=[f"{n} {old['decision']['code']}" for n, old in enumerate(OLD)])
def test_a_decision_of_before_these_guards_is_taken_again_by_the_guards_of_then(old: dict[str, Any]) -> None:
    assert replay(old["inputs"], old["settings"]) == decision_from(old["decision"])


def test_settings_name_the_guards_that_are_asked() -> None:
    kept = settings_document(settings())
    assert kept["guards"][0] == "TRADING_STATE"
    without = {**kept, "guards": [name for name in kept["guards"] if name != "LOCKED"]}
    book = replace(BOOK, locks=(Lock("all", "", "audit"),))
    inputs = inputs_document(SIGNAL, PATTERN, EDGES, book, NOW)
    assert replay(inputs, kept).code == "LOCKED"
    assert replay(inputs, without).code == "ACCEPTED"
