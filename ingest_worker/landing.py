"""From a slot's transactions to the rows and dead letters of a batch: decoding, scope, clock and names. No I/O.

The kernels take the transactions of the usual kinds; the decoder, which is the rule, takes the others, and everything
where not every event is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from solders.signature import Signature

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.store import raw_events
from copytrader_core.store.ingest import Batch, DeadLetter, LandedSlot
from copytrader_core.store.wallets import Wallet
from ingest_worker.assembly import ReadySlot
from ingest_worker.clock import SlotClock
from ingest_worker.drift_watch import DriftWatch
from ingest_worker.kernel.lane import DONE, LEFT, Lane
from ingest_worker.messages import SlotTransaction
from ingest_worker.scope import Keeper, Scope

if TYPE_CHECKING:
    from copytrader_core.pump.decode import Decoded

_SLOT = raw_events.COLUMNS.index("slot")
_NOTHING: Final[frozenset[bytes]] = frozenset()

Decoder = Callable[[pb.SubscribeUpdateTransactionInfo, int, int | None], "Decoded"]


def decoder() -> Decoder:
    """The decoder of both programs, as a function of (info, slot, block time)."""
    from copytrader_core.geyser.wire import transaction_from_update
    from copytrader_core.pump.decode import decode

    return lambda info, slot, block_time: decode(transaction_from_update(info, slot, block_time))


class Lander:
    """Fills batches. `wallets` may be exchanged at any time; a row carries the name that its wallet has then.

    `names_version` is that of the names (None: unknown).
    """

    def __init__(
        self,
        decode: Decoder | None,
        clock: SlotClock,
        keeper: Keeper | None = None,
        drift: DriftWatch | None = None,
        lane: Lane | None = None,
    ) -> None:
        """`decode` replaces decoder and kernels. `keeper` says which events become rows (all without one), `drift`
        looks at every transaction, `lane` are kernels that are loaded already."""
        self._decode = decode or decoder()
        self._clock = clock
        self._keeper = keeper or Keeper()
        self._drift = drift or DriftWatch()
        self._lane = (lane or Lane()) if decode is None and self._keeper.scope is Scope.ALL else None
        self._wallets: Mapping[str, Wallet] = {}
        self.names_version: int | None = None

    @property
    def wallets(self) -> Mapping[str, Wallet]:
        """The known wallets by address."""
        return self._wallets

    @wallets.setter
    def wallets(self, wallets: Mapping[str, Wallet]) -> None:
        self._wallets = wallets
        if self._lane is not None:
            self._lane.name(wallets)

    def land(self, ready: ReadySlot, batch: Batch) -> None:
        """Adds the slot's events to `batch`, and the slot itself if it is complete."""
        block_time = ready.block.block_time if ready.block else None
        recv_ts_ns = ready.transactions[0].recv_ts_ns if ready.transactions else 0
        ts_ns = self._clock.ts_ns(ready.slot, block_time, recv_ts_ns)
        before = batch.n_rows
        if not before:
            batch.names_version = self.names_version
        self._drift.begin(ready)
        if self._lane is not None and ready.transactions:
            self._land_fast(self._lane, ready, block_time, ts_ns, batch)
        else:
            for transaction in ready.transactions:
                self._land_transaction(transaction, ready.slot, block_time, ts_ns, batch)
        n_events = batch.n_rows - before
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

    def _land_fast(self, lane: Lane, ready: ReadySlot, block_time: int | None, ts_ns: int, batch: Batch) -> None:
        """The slot by kernel. What it leaves, and what does not go on where its coin was left, goes to the decoder."""
        transactions = ready.transactions
        landed = lane.land(transactions.raw, transactions.where, ready.slot, ts_ns)
        if len(landed.rows):
            batch.encoded.append(landed.rows)
        steps, moved = landed.steps_of(), landed.moved()
        left = set(np.flatnonzero(landed.status == LEFT).tolist())
        for at in sorted(left.union(steps, moved)):
            if at in left:
                decoded = self._land_transaction(transactions[at], ready.slot, block_time, ts_ns, batch)
                if decoded is not None:
                    lane.met([seen.values["user"] for seen in decoded.seen if "user" in seen.values])
            elif landed.status[at] == DONE and not self._drift.goes_on(moved.get(at, _NOTHING), steps.get(at, ())):
                self._look_again(transactions[at], ready.slot, block_time, batch)

    def _look_again(self, transaction: SlotTransaction, slot: int, block_time: int | None, batch: Batch) -> None:
        """A transaction whose rows are landed, and that shows drift: the decoder has the words for it."""
        decoded = self._decode(transaction.info, slot, block_time)
        self._drift.look(decoded, _signature(transaction.signature), slot, batch)

    def _land_transaction(
        self, transaction: SlotTransaction, slot: int, block_time: int | None, ts_ns: int, batch: Batch
    ) -> Decoded | None:
        """One transaction by decoder; None where there was nothing to decode, or it could not be."""
        try:
            info = transaction.info
            if info.is_vote or info.meta.HasField("err"):
                return None
            decoded = self._decode(info, slot, block_time)
        except Exception as error:  # noqa: BLE001 whatever one transaction does to the decoder, the stream must go on
            batch.dead_letters.append(_letter(transaction, slot, f"{type(error).__name__}: {error}"))
            self._drift.lost()
            return None
        for event in decoded.events:
            wallet = self._wallets.get(event.wallet)
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
            batch.dead_letters.append(_letter(transaction, slot, f"{problem.path}: {problem.reason}"))
        if decoded.frames or decoded.problems:
            self._drift.look(decoded, _signature(transaction.signature), slot, batch)
        return decoded

    def _land_earlier(self, batch: Batch) -> None:
        """Rows of the look-back, whose slots may have been landed without them: those are counted again."""
        earlier = self._keeper.take_earlier()
        batch.rows.extend(earlier)
        batch.late_slots.update([row[_SLOT] for row in earlier])


def unreadable(raw: bytes) -> DeadLetter:
    """The dead letter of a message that is no SubscribeUpdate; its hash keeps different ones apart."""
    return DeadLetter(None, None, f"not a SubscribeUpdate (sha256 {hashlib.sha256(raw).hexdigest()[:16]})", raw)


def _letter(transaction: SlotTransaction, slot: int, reason: str) -> DeadLetter:
    return DeadLetter(_signature(transaction.signature), slot, reason.replace("\0", ""), _as_update(transaction, slot))


def _as_update(transaction: SlotTransaction, slot: int) -> bytes:
    """A SubscribeUpdate with this one transaction, its bytes as they came even where protobuf cannot read them."""
    info = transaction.raw[transaction.begin : transaction.end]
    around = pb.SubscribeUpdateTransaction(slot=slot).SerializeToString()
    body = b"\x0a" + _varint(len(info)) + info + around
    return b"\x22" + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _signature(raw: bytes) -> str:
    try:
        return str(Signature.from_bytes(raw))
    except ValueError:
        return raw.hex()
