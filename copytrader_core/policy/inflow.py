"""What a leader's followers are worth to a copy: how many stand ahead of us, how much is bought behind us.

The forecast comes with the release (`Inflow`); here it is read at our place in the queue and turned into lamports by
the venue's own arithmetic: the others' buys ahead of us raise what we pay, those behind us what we get. Own size counts
on both ways. Not here: the forecast itself, and whether the value is enough (`decide`).
"""

from __future__ import annotations

from dataclasses import dataclass

from copytrader_core.errors import QuoteError
from copytrader_core.policy.interpolation import between
from copytrader_core.policy.market import MarketState, after_buy, quote_buy, quote_sell
from copytrader_core.records import LAMPORTS_PER_SOL, Inflow


@dataclass(frozen=True, slots=True)
class Queue:
    """Expected buys of a leader's followers around our own: lamports ahead and behind, number of them ahead."""

    ahead_lamports: int
    behind_lamports: int
    followers_ahead: float


NOBODY = Queue(0, 0, 0.0)


def queue_at(inflow: Inflow | None, slots_late: float) -> Queue:
    """The queue for a buy that lands `slots_late` slots after the leader's; nobody where nothing is known.

    Linear between the slots of the forecast, and the last one's values after it.
    """
    if inflow is None:
        return NOBODY
    ahead, behind, followers = (
        between(inflow.slots, values, slots_late)
        for values in (inflow.ahead_sol, inflow.behind_sol, inflow.followers_ahead)
    )
    return Queue(int(ahead * LAMPORTS_PER_SOL), int(behind * LAMPORTS_PER_SOL), followers)


def queue_value(market: MarketState, queue: Queue, spend_lamports: int, network_lamports: int) -> int | None:
    """Profit in lamports of buying behind `queue.ahead` and selling all after `queue.behind`, every cost counted.

    `market` is the one right after the leader. None where the venue gives no quote on the way.
    """
    try:
        before = after_buy(market, queue.ahead_lamports)
        bought = quote_buy(before, spend_lamports)
        full = after_buy(after_buy(before, spend_lamports), queue.behind_lamports)
        sold = quote_sell(full, bought.tokens_raw)
    except QuoteError:
        return None
    return sold.proceeds_lamports - bought.paid_lamports - 2 * network_lamports
