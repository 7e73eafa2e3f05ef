"""What the worker asks a provider for: the two programs at `confirmed`, in one of two shapes, with a heartbeat."""

from __future__ import annotations

from enum import StrEnum

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump.addresses import AMM_PROGRAM, PUMP_PROGRAM

PROGRAMS = (str(PUMP_PROGRAM), str(AMM_PROGRAM))
_FILTER = "copytrader"


class Shape(StrEnum):
    """How transactions come: whole `blocks`, one message a slot, or single `transactions` and a block_meta a slot."""

    BLOCKS = "blocks"
    TRANSACTIONS = "transactions"


def request(shape: Shape, from_slot: int | None) -> pb.SubscribeRequest:
    """The subscription, replaying from `from_slot` (inclusive) if given, live otherwise."""
    wanted = pb.SubscribeRequest(commitment=pb.CONFIRMED, from_slot=from_slot)
    wanted.blocks_meta[_FILTER].SetInParent()
    wanted.slots[_FILTER].filter_by_commitment = True
    if shape is Shape.BLOCKS:
        blocks = wanted.blocks[_FILTER]
        blocks.account_include.extend(PROGRAMS)
        blocks.include_transactions = True
        blocks.include_accounts = False
        blocks.include_entries = False
    else:
        transactions = wanted.transactions[_FILTER]
        transactions.account_include.extend(PROGRAMS)
        transactions.vote = False
        transactions.failed = False
    return wanted
