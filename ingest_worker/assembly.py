"""Slots from messages, in whatever order they come: which slot is complete, and when. No decoding, no database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from ingest_worker.messages import Block, SlotTransaction, SlotTransactions, Transaction

# How many closed slots are remembered to tell a late transaction from a repeated one, and a known parent from a hole.
_REMEMBERED = 256
_KNOWN_PARENTS = 4096
# Confirmed slots behind the newest closed one after which a block_meta that has not come is given up.
_STALE_SLOTS = 32
# Slots without a block_meta that are kept at most; a provider that never sends one must not fill the memory.
_MAX_OPEN = 256
# Slots and bytes that may wait here; more than that and waiting costs too much memory.
_MAX_WAITING = 64
_MAX_BYTES = 48 * 2**20
# Several lanes: how far those that are ahead may run before they are held back, and how many holds a lane is waited for
# that has come past a slot without reporting it.
_MAX_AHEAD = 32
_LANE_HOLDS = 5
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """What closes a slot. `parent_slot` is the last slot before it that has a block; `block_time` is unix seconds.

    `recv_ts_ns`: when this came; `created_at_ns`: the provider's stamp on it, None where it gives none.
    """

    parent_slot: int
    blockhash: str
    block_time: int | None
    recv_ts_ns: int | None = None
    created_at_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ReadySlot:
    """Transactions that can be landed, in block order.

    `closes`: these are all of the slot. Otherwise they came after it had been closed, or its block_meta was lost
    (`block` is None then). `other_blockhash`: the slot was closed before, with this hash: its block was another one.
    """

    slot: int
    block: BlockInfo | None
    transactions: SlotTransactions
    closes: bool
    other_blockhash: str | None = None


@dataclass(slots=True)
class _OpenSlot:
    """A slot that is not complete. `whole_of`: the lanes that have reported its end, and whether in one message.

    What came in one message stays together in `whole` until something else comes.
    """

    whole: SlotTransactions | None = None
    transactions: dict[bytes, SlotTransaction] = field(default_factory=dict)
    block: BlockInfo | None = None
    whole_of: dict[int, bool] = field(default_factory=dict)
    since: float = 0.0
    n_bytes: int = 0

    def add(self, transaction: SlotTransaction) -> None:
        """One that came by itself; again is the same as once."""
        if self.whole is not None:
            self._take_apart(self.whole)
        self.transactions.setdefault(transaction.signature, transaction)

    def add_all(self, transactions: SlotTransactions) -> None:
        """Those of a whole block."""
        if not self.transactions and self.whole is None:
            self.whole = transactions
            return
        if self.whole is not None:
            self._take_apart(self.whole)
        self._take_apart(transactions)

    def all(self) -> SlotTransactions:
        """In block order."""
        return SlotTransactions.joined(list(self.transactions.values())) if self.whole is None else self.whole

    def _take_apart(self, transactions: SlotTransactions) -> None:
        self.whole = None
        for transaction in transactions:
            self.transactions.setdefault(transaction.signature, transaction)


class SlotAssembler:
    """Collects messages of streams at `confirmed` and hands out slots in the order of their parents.

    A slot that came whole closes at once, one that came in pieces when its block_meta is there and a later slot has
    been heard of, or `grace_seconds` have passed. If its parent has not closed yet, it waits up to `hold_seconds`.
    With several lanes (streams with different filters) a slot closes when each of them has reported its end.
    """

    def __init__(
        self,
        known: Iterable[int] | Mapping[int, str | None] = (),
        *,
        grace_seconds: float = 0.25,
        hold_seconds: float = 1.0,
        lanes: int = 1,
    ) -> None:
        """`known`: recent slots that an earlier run has closed, with their block hashes where they are known."""
        self._grace_seconds = grace_seconds
        self._hold_seconds = hold_seconds
        self._n_lanes = lanes
        self._open: dict[int, _OpenSlot] = {}
        hashes = known if isinstance(known, Mapping) else dict.fromkeys(known)
        self._known: dict[int, str | None] = {slot: hashes[slot] for slot in sorted(hashes)}
        self._closed: dict[int, tuple[BlockInfo, tuple[bytes, ...]]] = {}
        # The signatures of closed slots of which something came again.
        self._landed: dict[int, set[bytes]] = {}
        self._late: dict[int, dict[bytes, SlotTransaction]] = {}
        self._newest_seen = [-1] * lanes
        self._newest_closed = -1
        self._first = True
        self._n_bytes = 0

    def restart(self, lane: int = 0) -> None:
        """A new subscription begins: replayed slots count anew, and the first one follows on nothing."""
        self._newest_seen[lane] = -1
        if self._n_lanes == 1:
            self._closed.clear()
            self._landed.clear()
            self._first = True

    @property
    def waiting(self) -> bool:
        """Whether something here may become ready without another message."""
        return bool(self._late) or any(slot.block is not None for slot in self._open.values())

    @property
    def n_bytes(self) -> int:
        """Bytes of the slots that are not complete, as far as they were told."""
        return self._n_bytes

    def ahead(self) -> frozenset[int]:
        """The lanes that should not be read now: others have to report the slots first that these have reported."""
        if self._n_lanes == 1:
            return frozenset()
        partial = [slot for slot, opened in self._open.items() if 0 < len(opened.whole_of) < self._n_lanes]
        if len(partial) <= _MAX_AHEAD and (self._n_bytes <= _MAX_BYTES // 2 or not partial):
            return frozenset()
        return frozenset(self._open[min(partial)].whole_of)

    def add_block(
        self,
        block: Block,
        recv_ts_ns: int,
        now: float,
        *,
        lane: int = 0,
        n_bytes: int = 0,
    ) -> None:
        """A whole slot in one message. `now` is a monotonic clock in seconds, here and below."""
        if block.slot in self._closed:
            for transaction in block.transactions(recv_ts_ns):
                self._add_late(block.slot, transaction)
            return
        self._opened(block.slot, n_bytes).add_all(block.transactions(recv_ts_ns))
        info = BlockInfo(
            _parent(block.slot, block.parent_slot), block.blockhash, block.block_time, recv_ts_ns, block.created_at_ns
        )
        self._report(block.slot, info, now, lane, is_whole=True)

    def add_transaction(self, message: Transaction, recv_ts_ns: int, *, lane: int = 0, n_bytes: int = 0) -> None:
        """One transaction of a slot that comes in pieces."""
        self.see(message.slot, lane)
        transaction = message.transaction(recv_ts_ns)
        if message.slot in self._closed:
            self._add_late(message.slot, transaction)
            return
        self._opened(message.slot, n_bytes).add(transaction)

    def add_meta(
        self,
        meta: pb.SubscribeUpdateBlockMeta,
        now: float,
        recv_ts_ns: int | None = None,
        created_at_ns: int | None = None,
        *,
        lane: int = 0,
    ) -> None:
        """The block_meta of a slot that comes in pieces. How many transactions it tells of is not believed: the count
        is of the whole block, whatever the filter, and providers disagree on votes."""
        if meta.slot not in self._closed:
            self._opened(meta.slot, 0)
            info = BlockInfo(
                _parent(meta.slot, meta.parent_slot),
                meta.blockhash,
                meta.block_time.timestamp if meta.HasField("block_time") else None,
                recv_ts_ns,
                created_at_ns,
            )
            self._report(meta.slot, info, now, lane, is_whole=False)

    def see(self, slot: int, lane: int = 0) -> None:
        """The lane's stream has come to `slot`, so that slots before it are over."""
        self._newest_seen[lane] = max(self._newest_seen[lane], slot)

    def take(self, now: float) -> list[ReadySlot]:
        """The slots that are ready, and late transactions, each once."""
        ready = self._take_late()
        for slot in sorted(slot for slot, opened in self._open.items() if opened.block is not None):
            if self._may_close(slot, self._open[slot], now):
                ready.append(self._close(slot))
        ready.extend(self._take_stale(now))
        return ready

    def drain(self) -> list[ReadySlot]:
        """All that is left at the end of the stream: slots that every lane has reported closed, the others as they
        are."""
        ready = self._take_late()
        for slot in sorted(self._open):
            is_complete = len(self._open[slot].whole_of) == self._n_lanes
            ready.append(self._close(slot) if is_complete else self._give_up(slot))
        return ready

    def _opened(self, slot: int, n_bytes: int) -> _OpenSlot:
        opened = self._open.setdefault(slot, _OpenSlot())
        opened.n_bytes += n_bytes
        self._n_bytes += n_bytes
        return opened

    def _report(
        self,
        slot: int,
        block: BlockInfo,
        now: float,
        lane: int,
        *,
        is_whole: bool,
    ) -> None:
        """A lane has told the end of a slot."""
        opened = self._open[slot]
        if lane not in opened.whole_of:
            opened.since = now
        opened.whole_of[lane] = is_whole or opened.whole_of.get(lane, False)
        opened.block = block
        self.see(slot, lane)

    def _may_close(self, slot: int, opened: _OpenSlot, now: float) -> bool:
        if opened.block is None or len(opened.whole_of) < self._n_lanes:
            return False
        waited = now - opened.since
        if waited < self._grace_seconds and not all(
            is_whole or self._newest_seen[lane] > slot for lane, is_whole in opened.whole_of.items()
        ):
            return False
        follows = self._first or opened.block.parent_slot in self._known
        return follows or waited >= self._hold_seconds or self._is_full

    @property
    def _is_full(self) -> bool:
        return len(self._open) > _MAX_WAITING or self._n_bytes > _MAX_BYTES

    def _close(self, slot: int) -> ReadySlot:
        opened = self._pop(slot)
        assert opened.block is not None
        self._first = False
        self._newest_closed = max(self._newest_closed, slot)
        before = self._known.get(slot)
        other = before if before and opened.block.blockhash and before != opened.block.blockhash else None
        self._known[slot] = opened.block.blockhash
        transactions = opened.all()
        self._closed[slot] = (opened.block, transactions.signatures())
        _forget(self._known, _KNOWN_PARENTS)
        self._forget_closed()
        return ReadySlot(slot, opened.block, transactions, True, other)

    def _forget_closed(self) -> None:
        _forget(self._closed, _REMEMBERED)
        for slot in [slot for slot in self._landed if slot not in self._closed]:
            del self._landed[slot]

    def _add_late(self, slot: int, transaction: SlotTransaction) -> None:
        landed = self._landed.get(slot)
        if landed is None:
            landed = self._landed[slot] = _apart(self._closed[slot][1])
        signature = transaction.signature
        if signature not in landed:
            landed.add(signature)
            self._late.setdefault(slot, {})[signature] = transaction

    def _take_late(self) -> list[ReadySlot]:
        late, self._late = self._late, {}
        return [
            ReadySlot(slot, self._closed[slot][0] if slot in self._closed else None, _joined(txs), closes=False)
            for slot, txs in sorted(late.items())
        ]

    def _take_stale(self, now: float) -> list[ReadySlot]:
        """Slots that will not be complete any more: their transactions are landed, the hole shows by its child."""
        if not self._open:
            return []
        stale = [slot for slot in sorted(self._open) if self._is_stale(slot, self._open[slot], now)]
        without_block = sorted(
            slot for slot, opened in self._open.items() if opened.block is None and slot not in stale
        )
        too_many = max(0, len(without_block) - _MAX_OPEN) if self._n_bytes <= _MAX_BYTES else len(without_block) // 2
        return [self._give_up(slot) for slot in (*stale, *without_block[:too_many])]

    def _is_stale(self, slot: int, opened: _OpenSlot, now: float) -> bool:
        if opened.block is None:
            return slot < self._newest_closed - _STALE_SLOTS
        missing = [lane for lane in range(self._n_lanes) if lane not in opened.whole_of]
        is_passed = bool(missing) and all(self._newest_seen[lane] > slot for lane in missing)
        return is_passed and now - opened.since >= self._hold_seconds * _LANE_HOLDS

    def _give_up(self, slot: int) -> ReadySlot:
        opened = self._pop(slot)
        return ReadySlot(slot, opened.block, opened.all(), closes=False)

    def _pop(self, slot: int) -> _OpenSlot:
        opened = self._open.pop(slot)
        self._n_bytes -= opened.n_bytes
        return opened


def _parent(slot: int, parent_slot: int) -> int:
    """The parent as told; where the provider does not tell it, the slot before, so that a hole is never overlooked."""
    return parent_slot if 0 < parent_slot < slot else max(slot - 1, 0)


def _apart(signatures: tuple[bytes, ...]) -> set[bytes]:
    """The single signatures of pieces that hold one or many."""
    return {piece[at : at + _SIGNATURE_BYTES] for piece in signatures for at in range(0, len(piece), _SIGNATURE_BYTES)}


def _joined(transactions: Mapping[bytes, SlotTransaction]) -> SlotTransactions:
    return SlotTransactions.joined(list(transactions.values()))


def _forget(remembered: dict[int, Any], limit: int) -> None:
    while len(remembered) > limit:
        del remembered[next(iter(remembered))]
