"""Slots from messages, in whatever order they come: which slot is complete, and when. No decoding, no database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from copytrader_core.geyser import copytrader_geyser_pb2 as pb

# How many closed slots are remembered to tell a late transaction from a repeated one, and a known parent from a hole.
_REMEMBERED = 256
_KNOWN_PARENTS = 4096
# Confirmed slots behind the newest closed one after which a block_meta that has not come is given up.
_STALE_SLOTS = 32
# Slots without a block_meta that are kept at most; a provider that never sends one must not fill the memory.
_MAX_OPEN = 256
# Slots that may wait for a missing parent; more than that and waiting costs too much memory.
_MAX_WAITING = 64


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """What closes a slot. `parent_slot` is the last slot before it that has a block; `block_time` is unix seconds."""

    parent_slot: int
    blockhash: str
    block_time: int | None


@dataclass(frozen=True, slots=True)
class SlotTransaction:
    """A transaction as it came, with its local receive time."""

    info: pb.SubscribeUpdateTransactionInfo
    recv_ts_ns: int


@dataclass(frozen=True, slots=True)
class ReadySlot:
    """Transactions that can be landed, in block order.

    `closes`: these are all of the slot. Otherwise they came after it had been closed, or its block_meta was lost
    (`block` is None then).
    """

    slot: int
    block: BlockInfo | None
    transactions: tuple[SlotTransaction, ...]
    closes: bool


@dataclass(slots=True)
class _OpenSlot:
    transactions: dict[bytes, SlotTransaction] = field(default_factory=dict)
    block: BlockInfo | None = None
    whole: bool = False
    since: float = 0.0


class SlotAssembler:
    """Collects messages of a stream at `confirmed` and hands out slots in the order of their parents.

    A slot that came whole closes at once, one that came in pieces when its block_meta is there and a later slot has
    been heard of, or `grace_seconds` have passed. If its parent has not closed yet, it waits up to `hold_seconds`.
    """

    def __init__(self, known: Iterable[int] = (), *, grace_seconds: float = 0.25, hold_seconds: float = 1.0) -> None:
        """`known`: recent slots that an earlier run has closed."""
        self._grace_seconds = grace_seconds
        self._hold_seconds = hold_seconds
        self._open: dict[int, _OpenSlot] = {}
        self._known = dict.fromkeys(sorted(known))
        self._closed: dict[int, tuple[BlockInfo, set[bytes]]] = {}
        self._late: dict[int, dict[bytes, SlotTransaction]] = {}
        self._newest_seen = -1
        self._newest_closed = -1
        self._first = True

    def restart(self) -> None:
        """A new subscription begins: replayed slots count anew, and the first one follows on nothing."""
        self._closed.clear()
        self._newest_seen = -1
        self._first = True

    @property
    def waiting(self) -> bool:
        """Whether something here may become ready by the mere passing of time."""
        return bool(self._late) or any(slot.block is not None for slot in self._open.values())

    def add_block(self, block: pb.SubscribeUpdateBlock, recv_ts_ns: int, now: float) -> None:
        """A whole slot in one message. `now` is a monotonic clock in seconds, here and below."""
        if block.slot in self._closed:
            for info in block.transactions:
                self._add_late(block.slot, info, recv_ts_ns)
            return
        opened = self._open.setdefault(block.slot, _OpenSlot())
        for info in block.transactions:
            opened.transactions.setdefault(info.signature, SlotTransaction(info, recv_ts_ns))
        opened.whole = True
        self._set_block(block.slot, block, now)

    def add_transaction(self, message: pb.SubscribeUpdateTransaction, recv_ts_ns: int) -> None:
        """One transaction of a slot that comes in pieces."""
        self.see(message.slot)
        if message.slot in self._closed:
            self._add_late(message.slot, message.transaction, recv_ts_ns)
        else:
            opened = self._open.setdefault(message.slot, _OpenSlot())
            opened.transactions.setdefault(
                message.transaction.signature, SlotTransaction(message.transaction, recv_ts_ns)
            )

    def add_meta(self, meta: pb.SubscribeUpdateBlockMeta, now: float) -> None:
        """The block_meta of a slot that comes in pieces."""
        if meta.slot not in self._closed:
            self._open.setdefault(meta.slot, _OpenSlot())
            self._set_block(meta.slot, meta, now)

    def see(self, slot: int) -> None:
        """The stream has come to `slot`, so that slots before it are over."""
        self._newest_seen = max(self._newest_seen, slot)

    def take(self, now: float) -> list[ReadySlot]:
        """The slots that are ready, and late transactions, each once."""
        ready = self._take_late()
        for slot in sorted(slot for slot, opened in self._open.items() if opened.block is not None):
            if self._may_close(slot, self._open[slot], now):
                ready.append(self._close(slot))
        ready.extend(self._take_stale())
        return ready

    def drain(self) -> list[ReadySlot]:
        """All that is left at the end of the stream: slots with their block_meta closed, the others as they are."""
        ready = self._take_late()
        for slot in sorted(self._open):
            ready.append(self._close(slot) if self._open[slot].block is not None else self._give_up(slot))
        return ready

    def _set_block(self, slot: int, block: pb.SubscribeUpdateBlock | pb.SubscribeUpdateBlockMeta, now: float) -> None:
        opened = self._open[slot]
        if opened.block is None:
            opened.since = now
        opened.block = BlockInfo(
            parent_slot=_parent(slot, block.parent_slot),
            blockhash=block.blockhash,
            block_time=block.block_time.timestamp if block.HasField("block_time") else None,
        )
        self.see(slot)

    def _may_close(self, slot: int, opened: _OpenSlot, now: float) -> bool:
        waited = now - opened.since
        is_over = opened.whole or self._newest_seen > slot or waited >= self._grace_seconds
        if not is_over or opened.block is None:
            return False
        follows = self._first or opened.block.parent_slot in self._known
        return follows or waited >= self._hold_seconds or len(self._open) > _MAX_WAITING

    def _close(self, slot: int) -> ReadySlot:
        opened = self._open.pop(slot)
        assert opened.block is not None
        self._first = False
        self._newest_closed = max(self._newest_closed, slot)
        self._known[slot] = None
        self._closed[slot] = (opened.block, set(opened.transactions))
        _forget(self._known, _KNOWN_PARENTS)
        _forget(self._closed, _REMEMBERED)
        return ReadySlot(slot, opened.block, _in_block_order(opened.transactions), closes=True)

    def _add_late(self, slot: int, info: pb.SubscribeUpdateTransactionInfo, recv_ts_ns: int) -> None:
        _, landed = self._closed[slot]
        if info.signature not in landed:
            landed.add(info.signature)
            self._late.setdefault(slot, {})[info.signature] = SlotTransaction(info, recv_ts_ns)

    def _take_late(self) -> list[ReadySlot]:
        late, self._late = self._late, {}
        return [
            ReadySlot(slot, self._closed[slot][0] if slot in self._closed else None, _in_block_order(txs), closes=False)
            for slot, txs in sorted(late.items())
        ]

    def _take_stale(self) -> list[ReadySlot]:
        over = self._newest_closed - _STALE_SLOTS
        without_block = sorted(slot for slot, opened in self._open.items() if opened.block is None)
        too_many = max(0, len(without_block) - _MAX_OPEN)
        return [self._give_up(slot) for n, slot in enumerate(without_block) if slot < over or n < too_many]

    def _give_up(self, slot: int) -> ReadySlot:
        return ReadySlot(slot, None, _in_block_order(self._open.pop(slot).transactions), closes=False)


def _parent(slot: int, parent_slot: int) -> int:
    """The parent as told; where the provider does not tell it, the slot before, so that a hole is never overlooked."""
    return parent_slot if 0 < parent_slot < slot else max(slot - 1, 0)


def _in_block_order(transactions: dict[bytes, SlotTransaction]) -> tuple[SlotTransaction, ...]:
    return tuple(sorted(transactions.values(), key=lambda transaction: transaction.info.index))


def _forget(remembered: dict[int, Any], limit: int) -> None:
    while len(remembered) > limit:
        del remembered[next(iter(remembered))]
