"""Record against replay: what the executor wrote down of a day is what the tape gives, and where it is not, why."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from backtest_world import day_of, events_of, random_world, release_of
from planted_market import LEADER, World

from copytrader_assets.analysis.parity import parities
from copytrader_assets.analysis.shadow import Overlap, audit, overlaps, shadows_of
from copytrader_assets.analysis.tape_rows import tape_rows
from copytrader_assets.lake import Lake
from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_cli import backtest
from copytrader_cli.backtest import OWN, walk_forward
from copytrader_core.errors import StoreError
from copytrader_core.policy.record import JournalledDecision, settings_document
from copytrader_core.policy.resolved import resolved
from copytrader_core.records import LandingCount, Release
from copytrader_core.replay.day import TapeDay
from copytrader_core.settings import Settings
from executor.backtest.account import Account
from executor.backtest.memory import Line
from executor.backtest.walk import Walker

DAY = dt.date(2026, 10, 12)
CONFIG = Settings(policy={"require_positive_ev": False}, risk={"mint_cool_down_ms": 0})


def record(world: World, release: Release) -> tuple[TapeDay, list[JournalledDecision]]:
    """A day's decisions as Postgres has them."""
    day, lines = day_of(world), []
    walker = Walker(CONFIG, lines.append)
    walker.walk(day, release)
    settings = json.loads(json.dumps(settings_document(CONFIG)))
    return day, [_journalled(line, lines, settings) for line in lines if line["kind"] == "DECISION"]


def _journalled(line: Line, lines: list[Line], settings: dict[str, object]) -> JournalledDecision:
    def last(side: str) -> dict[str, object] | None:
        about = [one for one in lines if (one["leader_sig"], one["mint"]) == (line["leader_sig"], line["mint"])]
        ends = [one for one in about if one["kind"] in ("FILL", "REVERTED") and one["payload"].get("side") == side]
        return {name: ends[-1][name] for name in ("kind", "slot", "payload")} if ends else None

    payload = json.loads(json.dumps({name: line["payload"][name] for name in ("inputs", "decision")}))
    return JournalledDecision(
        *("paper", line["leader"], line["mint"], line["leader_sig"], line["slot"]),
        *(payload["inputs"], payload["decision"], settings, last("BUY"), last("SELL")),
    )


def test_every_decision_and_every_fill_of_a_paper_day_is_its_replay() -> None:
    day, decisions = record(random_world(5), release_of(LEADER, typical_exit_style="time_stop"))
    found = parities(day, decisions)
    filled = [one for one in found if one.tokens_raw is not None]
    assert len(found) == len(decisions) and len(filled) > 5
    assert {one.cause for one in found} <= {"none", "latency", "landing"}
    assert all(one.replayed_tokens_raw == one.tokens_raw for one in filled)
    # What failed attempts cost is no part of the position's own result.
    first = {one.leader_sig for one in decisions if one.sold is not None and one.sold["payload"]["attempt"] == 1}
    sold = [one for one in filled if one.sig in first]
    assert len(sold) > 3 and all(one.replayed_pnl_lamports == one.pnl_lamports for one in sold)


def test_another_decision_and_other_coins_are_told_apart() -> None:
    day, decisions = record(random_world(5), release_of(LEADER))
    bought = next(one for one in decisions if one.bought is not None and one.bought["kind"] == "FILL")
    changed = dataclasses.replace(bought, decision={**bought.decision, "code": "LOCKED", "entry": None, "exit": None})
    payload = {**bought.bought["payload"], "base_raw": int(bought.bought["payload"]["base_raw"]) - 1}
    fewer = dataclasses.replace(bought, bought={**bought.bought, "payload": payload})
    lost = dataclasses.replace(bought, settings=None)
    assert [one.cause for one in parities(day, [changed, fewer, lost])] == ["decision", "price", "unknown"]


def test_real_and_shadow_book_together_are_all_signals() -> None:
    day, account = day_of(random_world(3)), Account()
    walker = Walker(CONFIG, account.hear)
    walker.walk(day, release_of(LEADER))
    shadows = shadows_of(day, account.refusals, CONFIG)
    accepted = account.decisions["ACCEPTED"]
    assert accepted + len(shadows) == sum(account.decisions.values()) > accepted > 0
    assert sum(one.refused for one in audit(shadows)) == len(shadows)
    assert all(one.low_lamports <= one.pnl_lamports <= one.high_lamports for one in audit(shadows))


def test_a_refusal_that_would_have_won_is_missed_and_one_that_would_have_lost_is_avoided() -> None:
    for stranger_buys, sign in ((True, 1), (False, -1)):
        world = World()
        world.next()
        held = world.buy("stranger", "coin", 10.0)
        world.next()
        world.buy(LEADER, "coin", 1.0)
        world.next(4)
        if stranger_buys:
            world.buy("stranger", "coin", 10.0)
        else:
            world.sell("stranger", "coin", held.base_raw)
        world.next(60)
        account = Account()
        blocked = Settings(policy={"require_positive_ev": False, "min_sample_trades": 10_000})
        walker = Walker(blocked, account.hear)
        walker.walk(day_of(world), release_of(LEADER, typical_exit_style="time_stop"))
        (one,) = shadows_of(day_of(world), account.refusals, blocked)
        assert (one.code, one.outcome) == ("GATE_SAMPLE", "LANDED")
        assert one.pnl_lamports * sign > 0


def test_a_refusal_names_every_guard_that_would_have_refused_it_and_only_sole_ones_count_alone() -> None:
    day, account = day_of(random_world(3)), Account()
    strict = Settings(
        policy={"require_positive_ev": False, "min_win_rate": 0.9},
        risk={"min_leader_size_sol": 0.5, "mint_cool_down_ms": 0},
    )
    Walker(strict, account.hear).walk(day, release_of(LEADER))
    shadows = shadows_of(day, account.refusals, strict)
    small = [one for one in shadows if one.code == "LEADER_MIN_SIZE"]
    large = [one for one in shadows if one.code == "GATE_WIN_RATE"]
    assert small and large and len(small) + len(large) == len(shadows)
    assert {one.also for one in small} == {("GATE_WIN_RATE",)} and {one.also for one in large} == {()}

    by_code = {one.code: one for one in audit(shadows)}
    assert (by_code["LEADER_MIN_SIZE"].alone, by_code["GATE_WIN_RATE"].alone) == (0, len(large))
    assert by_code["GATE_WIN_RATE"].alone_lamports == by_code["GATE_WIN_RATE"].pnl_lamports != 0
    assert overlaps(shadows) == [
        Overlap("GATE_WIN_RATE", "GATE_WIN_RATE", len(shadows)),
        Overlap("GATE_WIN_RATE", "LEADER_MIN_SIZE", len(small)),
        Overlap("LEADER_MIN_SIZE", "LEADER_MIN_SIZE", len(small)),
    ]


def test_a_sole_refusal_is_accepted_once_its_guard_is_lifted_and_no_other_one_is() -> None:
    world = random_world(3)
    account, lifted = Account(), Account()
    strict = {"policy": {"require_positive_ev": False}, "risk": {"min_leader_size_sol": 0.5, "max_open_positions": 1}}
    Walker(Settings(**strict), account.hear).walk(day_of(world), release_of(LEADER))
    alone = {one.leader_sig for one in shadows_of(day_of(world), account.refusals, Settings(**strict)) if not one.also}
    first = next(one for one in account.refusals if one.code == "LEADER_MIN_SIZE" and one.leader_sig in alone)
    loose = Settings(policy=strict["policy"], risk=strict["risk"] | {"min_leader_size_sol": 0.0})
    Walker(loose, lifted.hear).walk(day_of(world), release_of(LEADER))
    assert first.leader_sig not in {one.leader_sig for one in lifted.refusals}


def test_refusals_are_followed_as_late_as_our_own_orders_are_and_some_are_lost() -> None:
    day, account = day_of(random_world(3)), Account()
    blocked = Settings(policy={"require_positive_ev": False, "min_sample_trades": 10_000})
    Walker(blocked, account.hear).walk(day, release_of(LEADER))
    counts = (LandingCount("BUY", 2, 400), LandingCount("BUY", -1, 400))
    ours = resolved(blocked, dataclasses.replace(release_of(LEADER), landings=counts))
    usual, measured = (shadows_of(day, account.refusals, config) for config in (blocked, ours))
    lost = [one for one in measured if one.outcome == "LOST"]
    kept = {one.leader_sig: one for one in measured if one.outcome != "LOST"}
    assert 0 < len(lost) < len(measured)
    assert all(one.pnl_lamports == 0 for one in lost)
    assert all(one == kept[one.leader_sig] for one in usual if one.leader_sig in kept)


def lake_of(folder: Path, world: World, days: list[dt.date]) -> Lake:
    lake = Lake.at(folder)
    slots = pa.table(
        {
            "slot": np.array([block.slot for block in world.blocks]),
            "seconds": np.array([block.block_time.timestamp for block in world.blocks]),
        }
    )
    for day in days:
        tape = TAPE.conform(tape_rows(events_of(world)))
        lake.publish([lake.stage(TAPE.name, day, tape, {}), lake.stage(TAPE_SLOTS.name, day, slots, {})])
    return lake


def test_the_same_days_give_the_same_document_whoever_else_is_walked_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, release = lake_of(tmp_path / "lake", random_world(4), [DAY]), release_of(LEADER)
    monkeypatch.setattr(backtest, "release_as_of", lambda lake, day: release if day < DAY else None)
    first = walk_forward(lake, [DAY], CONFIG)
    again = walk_forward(lake, [DAY], CONFIG, baselines=False)
    assert first.hashes[OWN] == again.hashes[OWN]
    assert first.own.equity == again.own.equity and first.own.trips
    assert walk_forward(lake, [DAY], CONFIG).text() == first.text()
    document = json.loads(first.text())
    assert document["signals"] == sum(document["decisions"].values()) > 0
    assert document["pnl_lamports"] == sum(day["pnl_lamports"] for day in document["days"])
    assert {*document["baselines"]} == {"seed", "everybody"}


def test_a_day_without_a_tape_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"tape {DAY} is not in the lake"):
        walk_forward(Lake.at(tmp_path), [DAY], CONFIG)


def test_a_backtest_says_which_days_were_drawn_from_which_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [DAY, DAY + dt.timedelta(days=1)]
    lake = lake_of(tmp_path / "lake", random_world(4), days)
    ours = dataclasses.replace(release_of(LEADER), landings=(LandingCount("BUY", 5, 200),))
    monkeypatch.setattr(backtest, "release_as_of", lambda lake, day: ours if day < DAY else release_of(LEADER))
    found = walk_forward(lake, days, CONFIG, baselines=False, shadow=False)
    first, second = json.loads(found.text())["landing"]
    assert [day.landing for day in found.days] == [first["name"], second["name"]]
    assert (first["days"], first["as_of"]) == (["2026-10-12"], "2026-10-11")
    assert first["measured"]["BUY"]["slots"] == [2, 5] and first["expected"]["BUY"]["slots"] == [2]
    assert (second["name"], second["days"], second["as_of"]) == ("settings", ["2026-10-13"], None)
    assert 5 in {trip.slots_late for trip in found.own.trips} <= {2, 5}
