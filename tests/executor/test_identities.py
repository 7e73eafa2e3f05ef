"""An order's identity never comes twice: not after a restart, and not for coins that are found twice in one slot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from copytrader_core.policy.market import MarketState
from copytrader_core.policy.values import ExitPlan
from copytrader_core.records import Release
from copytrader_core.settings import Settings
from copytrader_core.solana.chain_rpc import HeldTokens
from copytrader_core.solana.coins import Coin
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.programs import associated_token_address
from executor.accounts import CoinNews
from executor.broker import Reverted
from executor.control import ACTIVE, Switch
from executor.journal import Journal
from executor.live import Outcome
from executor.live_run import LiveRun
from executor.orders import Order, Position
from executor.outside import Outside
from executor.reconcile import Truth
from executor.wal import Wal

MINT = Keypair.from_seed(bytes([1]) * 32).pubkey()
TOKEN_PROGRAM = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
ACCOUNT = associated_token_address(Signer(bytes(range(32))).pubkey, MINT, Pubkey.from_string(TOKEN_PROGRAM))
COIN = {
    "creator": str(Keypair.from_seed(bytes([2]) * 32).pubkey()),
    "token_program": TOKEN_PROGRAM,
    "is_cashback": False,
    "is_mayhem": False,
    "venue": "curve",
    "may_complete": False,
}
HELD = 10**12
# Complete: what is found waits for its pool.
COMPLETE = MarketState("curve", None, 100, 0, 9 * 10**14, 4 * 10**10, 6 * 10**14, 10**10, 0, 95, 30, True)


@contextmanager
def live_run(home: Path, now: SimpleNamespace) -> Iterator[LiveRun]:
    """A live run without nodes and routes, that knows a complete curve; `now` is its time."""
    wal = Wal(home / "live")
    switch = Switch(home)
    switch.heard(ACTIVE)
    config = Settings(home=home)
    config = config.model_copy(update={"executor": config.executor.model_copy(update={"unknown_balances": "sell"})})
    world = Outside(Signer(bytes(range(32))), (), (), now_ns=lambda: now.ns, time=lambda: now.ns / 1e9)
    run = LiveRun(Journal(wal, "live", "run", lambda: switch.state), config, Release("r", "", {}, ()), switch, world)
    run.broker.head.take(Hash.new_unique(), 1000)
    run.broker.withdraw_authority = Pubkey.default()
    run.engine.desk.market.learn(str(MINT), COMPLETE)
    run.chain.resume()
    try:
        yield run
    finally:
        wal.close()


def position() -> Position:
    return Position(
        position_id="p",
        leader="",
        leader_sig="found",
        mint=str(MINT),
        opened_slot=1,
        opened_ts_ns=1,
        qty_raw=HELD,
        cost_lamports=0,
        paid_in_lamports=0,
        plan=ExitPlan(None, None, 10**9, False),
        coin=COIN,
    )


def migrated(run: LiveRun) -> Order:
    """The order of one attempt to move the coin into its pool."""
    (held,) = run.engine.desk.holdings.open.values()
    assert run.engine.desk.migrate(held)
    return next(order for order in run.broker.orders if order.side == "MIGRATE")


def test_a_second_migration_after_a_restart_is_another_order(tmp_path: Path) -> None:
    now = SimpleNamespace(ns=10**18)
    with live_run(tmp_path, now) as run:
        run.engine.desk.adopt(position())
        first = migrated(run)
        signature = next(iter(run.broker.flights))
        run.chain.on_outcome(Outcome(signature, 106, Reverted("somebody else was first", 105_000, 6026), True))
    with live_run(tmp_path, now) as run:
        second = migrated(run)
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.intent_id != second.intent_id


def test_coins_that_are_found_twice_in_one_slot_are_two_positions(tmp_path: Path) -> None:
    now = SimpleNamespace(ns=10**18)
    token = HeldTokens(ACCOUNT, MINT, Pubkey.from_string(TOKEN_PROGRAM), HELD)
    seen: set[str] = set()
    with live_run(tmp_path, now) as run:
        for _ in range(2):
            for tokens in ((token,), (token,), (), ()):
                now.ns += 20 * 10**9
                run.chain.on_truth(Truth(now.ns / 1e9, 0, 0, tokens, (), frozenset()))
                if str(MINT) in run.chain.wanted() and not run.engine.desk.holdings.open:
                    run.chain.on_coin(str(MINT), CoinNews(Coin(MINT), COMPLETE, None))
                seen.update(run.engine.desk.holdings.open)
    assert len(seen) == 2


def reverted(run: LiveRun) -> Order:
    """The sale that is under way, after the chain has refused it."""
    (signature,) = run.broker.flights
    order = run.broker.flights[signature].order
    run.chain.on_outcome(Outcome(signature, order.decided_slot, Reverted("constraint seeds", 105_000, 2006), True))
    return order


def test_a_sale_waits_no_longer_once_the_coin_turns_out_to_be_another(tmp_path: Path) -> None:
    now = SimpleNamespace(ns=10**18)
    trading = replace(COMPLETE, real_base_raw=6 * 10**14, real_quote_raw=10**10, complete=False)
    taken_over = Coin(MINT, Keypair.from_seed(bytes([3]) * 32).pubkey(), Pubkey.from_string(TOKEN_PROGRAM))
    with live_run(tmp_path, now) as run:
        run.engine.desk.market.learn(str(MINT), trading)
        held = position()
        held.due = "timer"
        run.engine.desk.adopt(held)
        for _ in range(12):
            now.ns += 31 * 10**9
            run.engine.on_tick()
            assert reverted(run).coin is not None
        now.ns += 10**9
        run.engine.on_tick()
        assert not run.broker.orders, "so soon after so many failures"
        # What is known already changes nothing.
        known = Coin(MINT, Pubkey.from_string(COIN["creator"]), Pubkey.from_string(TOKEN_PROGRAM))
        run.chain.on_coin(str(MINT), CoinNews(known, trading, None))
        assert not run.broker.orders
        run.chain.on_coin(str(MINT), CoinNews(taken_over, trading, None))
        (order,) = run.broker.orders
        assert order.coin is not None and order.coin["creator"] == str(taken_over.creator)
        reverted(run)
    with live_run(tmp_path, now) as run:
        (found,) = run.engine.desk.holdings.open.values()
        assert found.coin is not None and found.coin["creator"] == str(taken_over.creator)
        assert run.chain.wanted() == [str(MINT)], "it may be another again"
