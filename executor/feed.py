"""The stream as the executor hears it: subscription, reconnection, and what one update means. No decisions.

It listens at `processed`: a signal must be early, and what is final is the ingest worker's business. After a broken
connection trades may have been missed; a coin's reserves are right again with its next trade.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Endpoint, Received, YellowstoneClient, parsed
from copytrader_core.geyser.failures import BadFilter, OutOfRange, ReplayFailed, StreamFailure, Unauthenticated
from copytrader_core.geyser.wire import Unread, unread
from copytrader_core.pump.addresses import AMM_PROGRAM, PUMP_PROGRAM

_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 5.0
_REFUSED_SECONDS: Final = 10.0


def request(from_slot: int | None, own: str | None = None) -> pb.SubscribeRequest:
    """Transactions of the two programs, and block metas at processed, replayed from `from_slot` if given.

    With a wallet of our `own` also its failed transactions, and what becomes of slots.
    """
    filters = {
        name: pb.SubscribeRequestFilterTransactions(vote=False, failed=False, account_include=[str(program)])
        for name, program in (("pump", PUMP_PROGRAM), ("amm", AMM_PROGRAM))
    }
    slots = {}
    if own is not None:
        filters["own"] = pb.SubscribeRequestFilterTransactions(vote=False, account_include=[own])
        slots["slots"] = pb.SubscribeRequestFilterSlots(filter_by_commitment=False)
    return pb.SubscribeRequest(
        transactions=filters,
        slots=slots,
        blocks_meta={"meta": pb.SubscribeRequestFilterBlocksMeta()},
        commitment=pb.PROCESSED,
        from_slot=from_slot,
    )


async def updates(
    endpoint: Endpoint, from_slot: int | None, stall_seconds: float, own: str | None = None
) -> AsyncIterator[Received]:
    """Every update, over as many connections as it takes; those of transactions are `wire.Unread`.

    Raises StreamFailure where trying again cannot help; for a wallet of our `own` it tries for ever.
    """
    pause, start = _FIRST_PAUSE_SECONDS, from_slot
    newest: Unread | None = None
    while True:
        if newest is not None:
            start, newest = _later(start, newest.read_slot()), None
        try:
            async with (
                YellowstoneClient(endpoint, stall_seconds=stall_seconds) as client,
                aclosing(client.subscribe(request(start, own), _unread_or_parsed)) as stream,
            ):
                async for received in stream:
                    update = received.update
                    if isinstance(update, Unread):
                        # Which slot it is of only a reconnection has to know.
                        newest = update
                    elif update is None:
                        continue
                    else:
                        start = _later(start, _slot_of(update))
                    pause = _FIRST_PAUSE_SECONDS
                    yield received
        except (Unauthenticated, BadFilter) as failure:
            if own is None:
                raise
            # Positions may be open, and their exits need no stream.
            _log.error(
                "%s; what is held is sold by what the nodes say; asking again in %.0f s", failure, _REFUSED_SECONDS
            )
            pause = _REFUSED_SECONDS
        except (OutOfRange, ReplayFailed) as failure:
            # The replay that was asked for is not to be had: the present is better than nothing.
            _log.warning("%s; going on without a replay", failure)
            start = newest = None
        except StreamFailure as failure:
            _log.warning("%s; connecting again in %.2f s", failure, pause)
        await asyncio.sleep(pause)
        pause = _FIRST_PAUSE_SECONDS if pause == _REFUSED_SECONDS else min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _unread_or_parsed(raw: bytes) -> Unread | pb.SubscribeUpdate | None:
    return unread(raw) or parsed(raw)


def _later(one: int | None, other: int | None) -> int | None:
    return max(one or 0, other or 0) or None


def _slot_of(update: pb.SubscribeUpdate) -> int | None:
    """The slot of a transaction or block meta; None for anything else."""
    kind = update.WhichOneof("update_oneof")
    if kind == "transaction":
        return int(update.transaction.slot)
    return int(update.block_meta.slot) if kind == "block_meta" else None
