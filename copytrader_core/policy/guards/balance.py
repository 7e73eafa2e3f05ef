"""BALANCE: the wallet cannot pay for the buy."""

from __future__ import annotations

from copytrader_core.policy.entry import transaction_cost
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def balance(p: Proposal) -> Check:
    """The buy, its costs, and one exit of everything then held at the usual price of a transaction."""
    exits = p.book.open_positions + p.book.in_flight_buys + 1
    needed = p.cost_lamports + exits * transaction_cost(p.settings.executor)
    free = p.book.balance_lamports - p.book.in_flight_lamports
    return Check("BALANCE", needed <= free, {"needed_lamports": needed, "free_lamports": free})
