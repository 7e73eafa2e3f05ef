"""SOL_FLOOR: what the wallet must keep."""

from __future__ import annotations

from copytrader_core.policy.entry import (
    TOKEN_ACCOUNT_RENT_LAMPORTS,
    VOLUME_ACCOUNT_RENT_LAMPORTS,
    lamports,
    transaction_cost,
)
from copytrader_core.policy.escalation import dearest_exit
from copytrader_core.policy.guards.proposal import Proposal
from copytrader_core.policy.values import Check


def sol_floor(p: Proposal) -> Check:
    """Left is the balance less every buy under way and this one, with costs and rents, less an exit of everything then
    held at the dearest price that the escalation allows. A wallet below that may hold coins that it cannot sell.
    """
    executor, book, floor = p.settings.executor, p.book, lamports(p.settings.risk.sol_floor)
    opening = transaction_cost(executor) + TOKEN_ACCOUNT_RENT_LAMPORTS
    under_way = book.in_flight_lamports + book.in_flight_buys * opening
    own = p.spend_lamports + opening + (VOLUME_ACCOUNT_RENT_LAMPORTS if book.first_trade else 0)
    exits = (book.open_positions + book.in_flight_buys + 1) * dearest_exit(executor)
    left = book.balance_lamports - under_way - own - exits
    return Check("SOL_FLOOR", left >= floor, {"left_lamports": left, "sol_floor_lamports": floor})
