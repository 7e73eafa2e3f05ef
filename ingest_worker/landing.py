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
from ingest_worker.drift_watch import DriftWatch
from ingest_worker.scope import Keeper

if TYPE_CHECKING:
    from copytrader_core.pump.decode import Decoded

_SLOT = raw_events.COLUMNS.index("slot")

Decoder = Callable[[pb.SubscribeUpdateTransactionInfo, int, int | None], "Decoded"]


def decoder() -> Decoder:
    """The decoder of both programs, as a function of (info, slot, block time)."""
    from copytrader_core.geyser.wire import transaction_from_update
    from copytrader_core.pump.decode import decode

    return lambda info, slot, block_time: decode(transaction_from_update(info, slot, block_time))


class Lander:
    """Fills batches. `wallets` may be exchanged at any time; a row carries the name that its wallet has then."""

    def __init__(
        self, decode: Decoder, clock: SlotClock, keeper: Keeper | None = None, drift: DriftWatch | None = None
    ) -> None:
        """`keeper` says which events become rows (all without one), `drift` looks at every transaction."""
        self.wallets: Mapping[str, Wallet] = {}
        self._decode = decode
        self._clock = clock
        self._keeper = keeper or Keeper()
        self._drift = drift or DriftWatch()

    def land(self, ready: ReadySlot, batch: Batch) -> None:
        """Adds the slot's events to `batch`, and the slot itself if it is complete."""
        block_time = ready.block.block_time if ready.block else None
        recv_ts_ns = ready.transactions[0].recv_ts_ns if ready.transactions else 0
        ts_ns = self._clock.ts_ns(ready.slot, block_time, recv_ts_ns)
        before = len(batch.rows)
        self._drift.begin(ready)
        for transaction in ready.transactions:
            self._land_transaction(transaction, ready.slot, block_time, ts_ns, batch)
        n_events = len(batch.rows) - before
        self._land_earlier(batch)
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
                n_events,
                ready.block.recv_ts_ns,
                ready.block.created_at_ns,
                self._keeper.scope,
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
            self._drift.lost()
            return
        for event in decoded.events:
            wallet = self.wallets.get(event.wallet)
            row = self._keeper.keep(
                event,
                wallet is not None and wallet.is_tracked,
                ts_ns=ts_ns,
                recv_ts_ns=transaction.recv_ts_ns,
                alias=wallet.alias if wallet else None,
            )
            if row is not None:
                batch.rows.append(row)
        for problem in decoded.problems:
            batch.dead_letters.append(_letter(info, slot, f"{problem.path}: {problem.reason}"))
        if decoded.frames or decoded.problems:
            sig = decoded.events[0].sig if decoded.events else _signature(info.signature)
            self._drift.look(decoded, sig, slot, batch)

    def _land_earlier(self, batch: Batch) -> None:
        """Rows of the look-back, whose slots may have been landed without them: those are counted again."""
        earlier = self._keeper.take_earlier()
        batch.rows.extend(earlier)
        batch.late_slots.update([row[_SLOT] for row in earlier])


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
