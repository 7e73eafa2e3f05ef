"""What a guard looks at and what a guard is. Nothing here judges anything."""

from __future__ import annotations

from collections.abc import Callable

from copytrader_core.policy.copy_terms import CopyTerms
from copytrader_core.policy.entry import transaction_cost
from copytrader_core.policy.values import Book, Check, LeaderBuy, Now
from copytrader_core.quick import quick_record
from copytrader_core.records import CopyValue, Pattern
from copytrader_core.settings import Settings


@quick_record
class Proposal:
    """The signal, who gave it, what we hold, and what we would spend."""

    signal: LeaderBuy
    pattern: Pattern
    book: Book
    settings: Settings
    now: Now
    spend_lamports: int
    value: CopyValue | None = None
    terms: CopyTerms | None = None
    """What a copy is worth with the coin as it is; None where the release does not say."""

    @property
    def cost_lamports(self) -> int:
        """What the buy puts at stake: the spend and what its transaction costs, rents not counted."""
        return self.spend_lamports + transaction_cost(self.settings.executor)


Guard = Callable[[Proposal], Check]
"""Looks and compares; never sizes, quotes for others, or changes anything."""
