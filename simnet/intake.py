"""Transactions on their way to a block: which route they came by, which slots may hold them, what befalls them.

Running them is `simnet.live_chain`'s, receiving them the servers'.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from simnet.bank import Bank
from simnet.faults import Faults
from simnet.leaders import SLOTS_PER_LEADER, Leaders

__all__ = ["ONE_SHOT_SLOTS", "Delivery", "Intake"]

# A leader keeps what nobody repeats to it for its own slots and the next leader's.
ONE_SHOT_SLOTS = 2 * SLOTS_PER_LEADER


@dataclass(frozen=True, slots=True)
class Delivery:
    """One transaction, or a bundle. `until`: the last slot that may hold it (None: while its blockhash lives)."""

    transactions: tuple[VersionedTransaction, ...]
    until: int | None = None
    not_before: int = 0
    leader: Pubkey | None = None
    bundle_id: str | None = None
    tip_lamports: int = 0


class Intake:
    """What waits for a block."""

    def __init__(self, bank: Bank, leaders: Leaders, faults: Faults) -> None:
        self._bank = bank
        self._leaders = leaders
        self._faults = faults
        self._waiting: list[Delivery] = []

    def submit(self, delivery: Delivery, slot: int) -> None:
        """Takes a delivery in at `slot`, unless it is lost; it may be held up, or come twice."""
        if self._faults.strikes("drop"):
            return
        if self._faults.strikes("late"):
            until = None if delivery.until is None else delivery.until + self._faults.late_slots + ONE_SHOT_SLOTS
            delivery = replace(delivery, not_before=slot + self._faults.late_slots, until=until, leader=None)
        self._waiting.append(delivery)
        if self._faults.strikes("duplicate"):
            self._waiting.append(delivery)

    def due(self, slot: int) -> list[Delivery]:
        """What the leader of `slot` may put into its block: bundles by their tip, then the others as they came.

        Whatever has no chance any more is forgotten.
        """
        self._waiting = [one for one in self._waiting if self._has_a_chance(one, slot)]
        due = [one for one in self._waiting if self._fits(one, slot)]
        self._waiting = [one for one in self._waiting if one not in due]
        return sorted(due, key=lambda one: (one.bundle_id is None, -one.tip_lamports))

    def is_waiting(self, bundle_id: str) -> bool:
        """Whether a bundle may still land."""
        return any(one.bundle_id == bundle_id for one in self._waiting)

    def _has_a_chance(self, delivery: Delivery, slot: int) -> bool:
        in_time = delivery.until is None or slot <= delivery.until
        return in_time and all(self._bank.lives(transaction) for transaction in delivery.transactions)

    def _fits(self, delivery: Delivery, slot: int) -> bool:
        if slot < delivery.not_before or delivery.leader not in (None, self._leaders.at(slot)):
            return False
        return delivery.bundle_id is None or self._leaders.is_jito(slot)
