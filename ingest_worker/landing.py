"""From a slot's transactions to the rows and dead letters of a batch: decoding, scope, clock and names. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from solders.signature import Signature

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.store import raw_events
from copytrader_core.store.ingest import Batch, DeadLetter, LandedSlot
from copytrader_core.store.wallets import Wallet
from ingest_worker.assembly import ReadySlot, SlotTransaction
from ingest_worker.clock import SlotClock

if TYPE_CHECKING:
    from copytrader_core.pump.decode import Decoded

Decoder = Callable[[pb.SubscribeUpdateTransactionInfo, int, int | None], "Decoded"]


def decoder() -> Decoder:
    """The decoder of both programs, as a function of (info, slot, block time)."""
    from copytrader_core.geyser.wire import transaction_from_update
    from copytrader_core.pump.decode import decode

    return lambda info, slot, block_time: decode(transaction_from_update(info, slot, block_time))


class Lander:
    """Fills batches. `wallets` may be exchanged at any time; a row carries the name that its wallet has then."""

    def __init__(self, decode: Decoder, clock: SlotClock, *, tracked_only: bool = False) -> None:
        """`tracked_only` keeps the events of tracked wallets alone."""
        self.wallets: Mapping[str, Wallet] = {}
        self._decode = decode
        self._clock = clock
        self._tracked_only = tracked_only

    def land(self, ready: ReadySlot, batch: Batch) -> None:
        """Adds the slot's events to `batch`, and the slot itself if it is complete."""
        block_time = ready.block.block_time if ready.block else None
        recv_ts_ns = ready.transactions[0].recv_ts_ns if ready.transactions else 0
        ts_ns = self._clock.ts_ns(ready.slot, block_time, recv_ts_ns)
        before = len(batch.rows)
        for transaction in ready.transactions:
            self._land_transaction(transaction, ready.slot, block_time, ts_ns, batch)
        if block_time is None:
            batch.estimated_slots.add(ready.slot)
        if ready.block is None or not ready.closes:
            batch.late_slots.add(ready.slot)
            return
        batch.slots.append(
            LandedSlot(
                ready.slot,
                ready.block.parent_slot,
                ready.block.blockhash,
                block_time,
                len(ready.transactions),
                len(batch.rows) - before,
            )
        )

    def _land_transaction(
        self, transaction: SlotTransaction, slot: int, block_time: int | None, ts_ns: int, batch: Batch
    ) -> None:
        info = transaction.info
        if info.is_vote or info.meta.HasField("err"):
            return
        try:
            decoded = self._decode(info, slot, block_time)
        except Exception as error:  # noqa: BLE001 whatever one transaction does to the decoder, the stream must go on
            batch.dead_letters.append(_letter(info, slot, f"{type(error).__name__}: {error}"))
            return
        for event in decoded.events:
            wallet = self.wallets.get(event.wallet)
            if self._tracked_only and not (wallet and wallet.is_tracked):
                continue
            alias = wallet.alias if wallet else None
            batch.rows.append(raw_events.row(event, ts_ns=ts_ns, recv_ts_ns=transaction.recv_ts_ns, alias=alias))
        for problem in decoded.problems:
            batch.dead_letters.append(_letter(info, slot, f"{problem.path}: {problem.reason}"))


def unreadable(raw: bytes) -> DeadLetter:
    """The dead letter of a message that is no SubscribeUpdate; its hash keeps different ones apart."""
    return DeadLetter(None, None, f"not a SubscribeUpdate (sha256 {hashlib.sha256(raw).hexdigest()[:16]})", raw)


def _letter(info: pb.SubscribeUpdateTransactionInfo, slot: int, reason: str) -> DeadLetter:
    whole = pb.SubscribeUpdate(transaction=pb.SubscribeUpdateTransaction(transaction=info, slot=slot))
    return DeadLetter(_signature(info.signature), slot, reason.replace("\0", ""), whole.SerializeToString())


def _signature(raw: bytes) -> str:
    try:
        return str(Signature.from_bytes(raw))
    except ValueError:
        return raw.hex()
