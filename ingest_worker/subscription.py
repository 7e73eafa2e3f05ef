"""What the worker asks a provider for: programs or wallets, in one of two shapes, with a heartbeat.

Always at `confirmed`: what is recorded must not be taken back, and a replay at `processed` leaves out the first part of
the slot that is being built.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump.addresses import AMM_PROGRAM, PUMP_PROGRAM

PROGRAMS = (str(PUMP_PROGRAM), str(AMM_PROGRAM))
_FILTER = "copytrader"


class Shape(StrEnum):
    """How transactions come: whole `blocks`, one message a slot, or single `transactions` and a block_meta a slot."""

    BLOCKS = "blocks"
    TRANSACTIONS = "transactions"


class Filter(StrEnum):
    """Whose transactions are asked for: all of the two programs, or those of the tracked wallets."""

    PROGRAMS = "programs"
    WALLETS = "wallets"


def chunks(wallets: Collection[str], size: int) -> list[tuple[str, ...]]:
    """The wallets in groups of at most `size`, one subscription each: providers cap the accounts of a stream."""
    ordered = sorted(wallets)
    return [tuple(ordered[start : start + size]) for start in range(0, len(ordered), size)]


def request(shape: Shape, from_slot: int | None, accounts: Sequence[str] = PROGRAMS) -> pb.SubscribeRequest:
    """The subscription to transactions that name any of `accounts`, from `from_slot` (inclusive) or live (None)."""
    wanted = pb.SubscribeRequest(commitment=pb.CONFIRMED, from_slot=from_slot)
    wanted.blocks_meta[_FILTER].SetInParent()
    wanted.slots[_FILTER].filter_by_commitment = True
    if shape is Shape.BLOCKS:
        blocks = wanted.blocks[_FILTER]
        blocks.account_include.extend(accounts)
        blocks.include_transactions = True
        blocks.include_accounts = False
        blocks.include_entries = False
    else:
        transactions = wanted.transactions[_FILTER]
        transactions.account_include.extend(accounts)
        transactions.vote = False
        transactions.failed = False
    return wanted
