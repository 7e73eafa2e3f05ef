"""Scopes: what is kept is exactly what the definition says, across batches and restarts."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from chain_double import T0, WALLETS, address, event

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.records import Event
from copytrader_core.store import days, ingest
from copytrader_core.store.ingest import Batch
from copytrader_core.store.scope import touched_mints
from copytrader_core.store.wallets import Wallet
from ingest_worker.assembly import BlockInfo, ReadySlot
from ingest_worker.clock import SlotClock
from ingest_worker.landing import Lander
from ingest_worker.messages import SlotTransaction, SlotTransactions
from ingest_worker.scope import SAMPLE_KEY, Keeper, Scope, ScopeRules

COINS = [address(f"coin {n}") for n in range(60)]
TRACKED = set(WALLETS[:2])
KNOWN = {wallet: Wallet(wallet, None, wallet in TRACKED) for wallet in WALLETS[:4]}
LOOKBACK_SLOTS = 40
RULES = ScopeRules(Scope.TOUCHED, sample_fraction=0.1, lookback_seconds=LOOKBACK_SLOTS * 0.4)


def plant(n_slots: int = 200, seed: int = 3) -> list[Event]:
    """One event a slot: a coin that some wallet trades; tracked wallets come to some coins only, and late."""
    rng = random.Random(seed)
    events = []
    for n in range(n_slots):
        coin = rng.choice(COINS)
        liked = COINS.index(coin) % 3 == 0 and n > 60
        wallet = rng.choice(WALLETS[:2] if liked and rng.random() < 0.5 else WALLETS[2:])
        events.append(event(1000 + n, 0, f"sig{n:04}", 0, wallet, mint=coin, base_mint=coin))
    return events


def clock_ns(planted: Event) -> int:
    return T0 * 10**9 + (planted.slot - 1000) * 400_000_000


def is_sampled(coin: str) -> bool:
    return Keeper(ScopeRules(Scope.TOUCHED, sample_fraction=0.1))._is_sampled(coin)


def due(events: list[Event], *, lookback_slots: int = LOOKBACK_SLOTS) -> set[str]:
    """The definition: whole sampled coins; of a touched coin all from the first tracked trade on, and a look-back."""
    first: dict[str, int] = {}
    for planted in events:
        if planted.wallet in TRACKED:
            first.setdefault(planted.mint, planted.slot)
    return {
        planted.sig
        for planted in events
        if is_sampled(planted.mint) or (planted.mint in first and planted.slot >= first[planted.mint] - lookback_slots)
    }


def kept_by(keeper: Keeper, events: list[Event]) -> set[str]:
    kept = set()
    for planted in events:
        row = keeper.keep(planted, planted.wallet in TRACKED, ts_ns=clock_ns(planted), recv_ts_ns=1, alias=None)
        rows = [*keeper.take_earlier(), *([row] if row else [])]
        sigs = {row[4] for row in rows}
        assert len(sigs) == len(rows)
        assert not sigs & kept
        kept |= sigs
    return kept


def test_touched_keeps_exactly_what_its_definition_says():
    events = plant()
    assert kept_by(Keeper(RULES), events) == due(events)
    assert 0 < len(due(events)) < len(events)


def test_the_look_back_is_what_makes_the_difference():
    events = plant()
    without = kept_by(Keeper(ScopeRules(Scope.TOUCHED, sample_fraction=0.1, lookback_seconds=0)), events)
    assert without == due(events, lookback_slots=0)
    assert without < due(events)


def test_all_keeps_all_and_tracked_only_tracked_wallets():
    events = plant()
    assert len(kept_by(Keeper(), events)) == len(events)
    tracked = {planted.sig for planted in events if planted.wallet in TRACKED}
    assert kept_by(Keeper(ScopeRules(Scope.TRACKED)), events) == tracked


def test_rows_of_sampled_coins_say_so_whoever_touches_them():
    keeper = Keeper(RULES)
    for planted in plant():
        row = keeper.keep(planted, planted.wallet in TRACKED, ts_ns=clock_ns(planted), recv_ts_ns=1, alias=None)
        if row is not None:
            assert (row[-1].get(SAMPLE_KEY) is True) == is_sampled(planted.mint)


def test_the_sample_is_a_share_of_the_coins_and_the_same_in_every_run():
    rules = ScopeRules(Scope.TOUCHED, sample_fraction=0.02)
    chosen = [[coin for n in range(5000) if Keeper(rules)._is_sampled(coin := address(f"c{n}"))] for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert 60 <= len(chosen[0]) <= 140


def test_the_look_back_stays_within_its_bytes_and_forgets_the_oldest():
    keeper = Keeper(ScopeRules(Scope.TOUCHED, sample_fraction=0, lookback_bytes=50_000))
    coin = COINS[0]
    for n in range(2_000):
        planted = event(1000, n, f"sig{n:04}", 0, WALLETS[5], mint=coin)
        keeper.keep(planted, False, ts_ns=T0 * 10**9, recv_ts_ns=1, alias=None)
        assert keeper.lookback_bytes <= 50_000
    touching = event(1001, 0, "touch", 0, WALLETS[0], mint=coin)
    keeper.keep(touching, True, ts_ns=T0 * 10**9, recv_ts_ns=1, alias=None)
    earlier = [row[4] for row in keeper.take_earlier()]
    assert earlier == [f"sig{n:04}" for n in range(2_000 - len(earlier), 2_000)]
    assert len(earlier) > 20
    assert keeper.lookback_bytes == 0


def test_rows_of_the_look_back_come_back_as_they_were():
    keeper, all_of_it = Keeper(RULES), Keeper()
    coin = next(coin for coin in COINS if not is_sampled(coin))
    early = event(1000, 7, "early", 3, WALLETS[5], mint=coin, meta={"name": "x\u20ac", "hops": [1, 2**70]})
    keeper.keep(early, False, ts_ns=5, recv_ts_ns=6, alias="a")
    keeper.keep(event(1001, 0, "touch", 0, WALLETS[0], mint=coin), True, ts_ns=7, recv_ts_ns=8, alias=None)
    assert keeper.take_earlier() == [all_of_it.keep(early, False, ts_ns=5, recv_ts_ns=6, alias="a")]
    assert keeper.take_earlier() == []


def test_a_route_between_two_coins_touches_both():
    keeper = Keeper(ScopeRules(Scope.TOUCHED, sample_fraction=0))
    route = event(1000, 0, "route", 0, WALLETS[0], action="SWAP", mint=COINS[1], quote_mint=COINS[2])
    keeper.keep(route, True, ts_ns=1, recv_ts_ns=1, alias=None)
    for coin in COINS[1:3]:
        assert keeper.keep(event(1001, 0, coin, 0, WALLETS[5], mint=coin), False, ts_ns=2, recv_ts_ns=1, alias=None)


# --- in the database -------------------------------------------------------------------------------------------------


def landing(keeper: Keeper, events: list[Event]) -> tuple[Lander, list[ReadySlot]]:
    """A lander whose decoder finds the planted event of each slot, and those slots."""
    by_slot = {planted.slot: planted for planted in events}

    def decode(info: Any, slot: int, block_time: int | None) -> Any:
        return SimpleNamespace(events=(by_slot[slot],), problems=(), frames=())

    lander = Lander(decode, SlotClock(), keeper)
    lander.wallets = KNOWN
    slots = []
    for slot in by_slot:
        info = pb.SubscribeUpdateTransactionInfo(index=0)
        block = BlockInfo(slot - 1, f"hash{slot}", T0 + (slot - 1000) * 2 // 5)
        slots.append(ReadySlot(slot, block, SlotTransactions.joined([SlotTransaction.of(info, 1)]), closes=True))
    return lander, slots


def commit_in_batches(connection: psycopg.Connection, lander: Lander, slots: list[ReadySlot], size: int = 7) -> None:
    for start in range(0, len(slots), size):
        batch = Batch()
        for ready in slots[start : start + size]:
            lander.land(ready, batch)
        ingest.commit(connection, batch)


@pytest.fixture
def connection(pg_url: str) -> Any:
    with psycopg.connect(pg_url, autocommit=True) as connection:
        rows = [(wallet.wallet, wallet.is_tracked) for wallet in KNOWN.values()]
        connection.cursor().executemany("INSERT INTO wallets (wallet, is_tracked) VALUES (%s, %s)", rows)
        yield connection


def sigs(connection: psycopg.Connection) -> set[str]:
    return {sig for (sig,) in connection.execute("SELECT sig FROM raw_events")}


def whole_seconds(events: list[Event]) -> set[str]:
    """`due` by the clock of the chain, whose block times are whole seconds."""
    keeper, kept = Keeper(RULES), set()
    for planted in events:
        ts_ns = (T0 + (planted.slot - 1000) * 2 // 5) * 10**9
        row = keeper.keep(planted, planted.wallet in TRACKED, ts_ns=ts_ns, recv_ts_ns=1, alias=None)
        kept |= {row[4] for row in [*keeper.take_earlier(), *([row] if row else [])]}
    return kept


def test_rows_of_the_look_back_land_with_the_slot_that_touches_and_every_slot_counts_its_own(connection):
    events = plant()
    commit_in_batches(connection, *landing(Keeper(RULES), events))
    assert sigs(connection) == whole_seconds(events)
    assert connection.execute(
        "SELECT count(*) FROM ingest_slots s WHERE n_events <>"
        " (SELECT count(*) FROM raw_events r WHERE r.slot = s.slot)"
    ).fetchone() == (0,)
    assert connection.execute("SELECT count(*), min(scope), max(scope) FROM ingest_slots").fetchone() == (
        *(200, "touched", "touched"),
    )


def test_a_restart_goes_on_with_the_coins_that_were_touched(connection):
    events = plant(400)
    commit_in_batches(connection, *landing(Keeper(RULES), events[:250]))
    touched = touched_mints(connection)
    assert touched == {planted.mint for planted in events[:250] if planted.wallet in TRACKED}
    again = Keeper(RULES)
    again.touch(touched)
    commit_in_batches(connection, *landing(again, events[250:]))
    missing = due(events) - sigs(connection)
    first_after = {planted.sig for planted in events[:250]}
    assert missing <= first_after  # only a look-back that the restart has forgotten
    assert {planted.sig for planted in events[250:] if planted.mint in touched} <= sigs(connection)


def test_both_ends_of_a_tracked_route_are_touched_after_a_restart(connection):
    route = event(1000, 0, "route", 0, WALLETS[0], action="SWAP", mint=COINS[1], quote_mint=COINS[2])
    commit_in_batches(connection, *landing(Keeper(RULES), [route]))
    assert touched_mints(connection) == set(COINS[1:3])


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ((Scope.ALL, Scope.ALL), "all"),
        ((Scope.ALL, Scope.TOUCHED), "touched"),
        ((Scope.TOUCHED, Scope.TRACKED), "tracked"),
    ],
)
def test_a_day_was_landed_under_the_narrowest_scope_of_its_slots(connection, scopes, expected):
    events = plant(20)
    for scope, part in zip(scopes, (events[:10], events[10:]), strict=True):
        commit_in_batches(connection, *landing(Keeper(ScopeRules(scope)), part))
    days.seal(connection, days.day_of(T0), "test")
    assert connection.execute("SELECT scope FROM ingest_days").fetchall() == [(expected,)]


def test_landing_a_slot_again_under_a_wider_scope_widens_it(connection):
    events = plant(20)
    for scope in (Scope.TRACKED, Scope.ALL, Scope.TOUCHED):
        commit_in_batches(connection, *landing(Keeper(ScopeRules(scope)), events))
    assert connection.execute("SELECT DISTINCT scope FROM ingest_slots").fetchall() == [("all",)]
    assert len(sigs(connection)) == 20


def test_a_day_without_slots_was_loaded_by_other_means_and_counts_as_whole(connection):
    days.seal(connection, days.day_of(T0), "cli")
    assert connection.execute("SELECT scope FROM ingest_days").fetchall() == [("all",)]


def test_a_feed_of_wallets_alone_is_never_called_whole():
    assert Keeper(whole_feed=False).scope is Scope.TRACKED
