"""What nodes say of our balances counts only where they have seen all that we have seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from solders.pubkey import Pubkey
from test_identities import ACCOUNT, COMPLETE, HELD, MINT, TOKEN_PROGRAM, live_run, position

from copytrader_core.solana.chain_rpc import HeldTokens
from executor.broker import Landed
from executor.ledger import ledger_from
from executor.live import Outcome
from executor.live_run import LiveRun
from executor.reconcile import Truth

SOLD_AT = 1_500
TOKENS = (HeldTokens(ACCOUNT, MINT, Pubkey.from_string(TOKEN_PROGRAM), HELD),)


def tell(run: LiveRun, now: SimpleNamespace, slot: int, lamports: int, tokens: tuple[HeldTokens, ...]) -> None:
    """The same answer from all nodes, in three looks."""
    for _ in range(3):
        now.ns += 20 * 10**9
        run.chain.on_truth(Truth(now.ns / 1e9, slot, lamports, tokens, (), frozenset()))


def test_nodes_that_are_behind_an_earlier_run_say_nothing_even_if_they_agree(tmp_path: Path) -> None:
    """A sale has landed; the next run asks nodes that have all stopped before it."""
    now = SimpleNamespace(ns=10**18)
    with live_run(tmp_path, now) as run:
        tell(run, now, SOLD_AT - 9, 10**9, ())
        run.engine.desk.market.learn(str(MINT), replace(COMPLETE, real_base_raw=6 * 10**14, complete=False))
        held = position()
        held.due = "timer"
        run.engine.desk.adopt(held)
        run.engine.on_tick()
        (signature,) = run.broker.flights
        sold = Landed(HELD, 5 * 10**8, 5 * 10**6, 105_000, 0)
        run.chain.on_outcome(Outcome(signature, SOLD_AT, sold, final=True))
        assert not run.engine.desk.holdings.open and not run.broker.flights
        cash = run.engine.desk.holdings.balance_lamports
        assert cash == 10**9 + 5 * 10**8 - 105_000
        # What the journal begins its next file with tells it too.
        assert ledger_from(run.engine.desk.journal.ledger.snapshot()).moved_slot == SOLD_AT
    with live_run(tmp_path, now) as run:
        tell(run, now, SOLD_AT - 1, 10**9, TOKENS)
        assert not run.engine.is_reconciled
        assert run.engine.desk.holdings.balance_lamports == cash
        assert not run.chain.wanted() and not run.engine.desk.journal.ledger.quarantined
        tell(run, now, SOLD_AT, cash, ())
        assert run.engine.is_reconciled
        assert run.engine.desk.holdings.balance_lamports == cash
