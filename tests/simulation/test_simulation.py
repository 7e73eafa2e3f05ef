"""Worlds full of faults in which processes die at every turn: what must hold holds, and what would break it is found.

The little trader shows that the world is fair (honesty survives it) and strict (each classic mistake is found).
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.records import Event
from tests.simulation.__main__ import run_seed
from tests.simulation.faults import names
from tests.simulation.story import Death, Story, deaths
from tests.simulation.toy import Line, Toy, subject
from tests.simulation.world import World

SHORT = Story(deaths=60, slots=300)


@pytest.mark.parametrize("seed", range(10))
def test_an_honest_trader_survives_every_death(seed: int) -> None:
    report = run_seed(subject(), seed, SHORT)
    assert report.violations == []
    assert report.deaths >= 10
    assert report.landed["BUY"] > 0


@pytest.mark.parametrize("step", range(1, 400, 13))
def test_a_single_death_at_any_step_changes_nothing_that_must_hold(step: int) -> None:
    report = run_seed(subject(), 1, Story(slots=120), crash_at=step)
    assert (report.violations, report.deaths) == ([], 1)


def test_the_same_seed_gives_the_same_sends_and_journal_byte_for_byte(tmp_path: Path) -> None:
    first, second = (World(5, tmp_path, SHORT).run(subject(), deaths(5)) for _ in range(2))
    assert first.sends > 50
    assert (first.digest, first.steps, first.sends) == (second.digest, second.steps, second.sends)
    other = World(5, tmp_path, SHORT).run(subject(), iter([Death(40, "between", 10**9)]))
    assert other.digest != first.digest


def test_every_fault_of_the_menu_strikes_somewhere() -> None:
    struck: Counter[str] = Counter()
    for seed in range(1, 8):
        struck += run_seed(subject(), seed, Story(deaths=20, slots=250)).struck
    assert set(struck) == set(names())


class SendsFirst(Toy):
    """Writes down what it has sent after sending it."""

    def _write(self, kind: str, intent: str, **facts: Any) -> None:
        if kind == "SIGNED":
            self._fold.signed[intent] = {**facts, "kind": kind, "intent": intent}
            asyncio.get_running_loop().call_later(0.01, partial(super()._write, kind, intent, **facts))
        else:
            super()._write(kind, intent, **facts)


class TrustsProcessed(Toy):
    """Takes what the stream shows for final."""

    def _hear(self, update: pb.SubscribeUpdate) -> None:
        super()._hear(update)
        if update.HasField("transaction"):
            raw = transaction_from_update(update.transaction.transaction, update.transaction.slot)
            for event in decode(raw).events:
                if event.wallet == self._outside.signer.address:
                    self._filled(event, raw.post_balances[0] - raw.pre_balances[0])

    def _filled(self, event: Event, change: int) -> None:
        for intent in self._fold.under_way():
            if self._fold.signed[intent]["signature"] == event.sig:
                quote = (event.quote_raw or 0) * (1 if event.action == "SELL" else -1)
                cash = quote - event.tx_fee_lamports - event.tip_lamports
                self._write("FILL", intent, base=event.base_raw, slot=event.slot, cash=cash, rent=cash - change)


class GivesUpEarly(Toy):
    """Takes a signature that no node knows for one that will never land."""

    async def _resolve(self, intent: str) -> None:
        line = self._fold.signed[intent]
        known = [await node.statuses([line["signature"]]) for node in self._outside.nodes]
        if known == [[None]] * len(known):
            self._write("EXPIRED", intent)
        else:
            await super()._resolve(intent)


class Forgets(Toy):
    """Remembers what it has bought only as long as it lives, and not even that well."""

    def _consider(self, event: Event) -> None:
        orders = self._fold.orders
        if self._latest is None or self._is_halted() or not event.meta["real_base_raw"]:
            return
        what: Line = {"side": "BUY", "mint": event.mint, "leader_sig": event.sig}
        # Equal bytes would have the same signature, which lands once.
        self._order(f"{len(orders)} {event.mint}", what, 300_000_000 + len(orders), 1)


class IgnoresHalts(Toy):
    """Goes on whatever it is told."""

    def _is_halted(self) -> bool:
        return False


class NeverSells(Toy):
    """Holds for ever."""

    def _exits(self) -> None:
        return


@pytest.mark.parametrize(
    ("trader", "complaint"),
    [
        (SendsFirst, "is not in the journal"),
        (TrustsProcessed, "on chain"),
        (GivesUpEarly, "on chain"),
        (Forgets, "for one leader buy"),
        (IgnoresHalts, "while HALTED"),
        (NeverSells, "is still held"),
    ],
)
def test_each_classic_mistake_is_found(trader: type[Toy], complaint: str) -> None:
    for seed in range(1, 30):
        if any(complaint in violation for violation in run_seed(subject(trader), seed, SHORT).violations):
            return
    pytest.fail(f"{trader.__name__} came through")


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], env={**os.environ})


@pytest.mark.parametrize("options", [("--toy", "--seed", "5"), ("--seed", "8")], ids=["toy", "executor"])
def test_a_seed_is_played_again_by_one_command(options: tuple[str, ...]) -> None:
    """Byte for byte: what is told of a world ends with the digest of its sends and its journal."""
    first, second = (simulate(*options, "--deaths", "30", "--slots", "150", "-v") for _ in range(2))
    assert first.returncode == 0, first.stdout + first.stderr
    assert (told := re.search(r"seed \d+: .* (\d+) sends, .* digest \w{16}$", first.stdout, re.MULTILINE))
    assert int(told[1]) > 0
    assert told[0] in second.stdout.splitlines()


def test_the_executor_survives_a_hundred_worlds() -> None:
    done = simulate("--seeds", "100")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
