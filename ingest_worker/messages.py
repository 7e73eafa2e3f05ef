"""What the worker keeps of a message: where its transactions lie in the bytes as they came. No slots, no decoding.

Blocks and transactions are found by the kernels without parsing; everything else, and whatever they do not understand,
goes through protobuf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, overload

import numpy as np
from google.protobuf.message import DecodeError as ProtobufError

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import created_at_ns
from ingest_worker.kernel import wire

__all__ = ["Block", "SlotTransaction", "SlotTransactions", "Transaction", "Update", "parse", "stamp_ns"]

_SIGNATURE_BYTES: Final = 64
_NS: Final = 10**9
_MAX_TRANSACTIONS: Final = 1 << 16


class SlotTransaction(NamedTuple):
    """A transaction as it came: a SubscribeUpdateTransactionInfo within `raw`, its place in the block, when it came."""

    raw: bytes
    begin: int
    end: int
    signature_at: int
    place: int
    recv_ts_ns: int

    @property
    def signature(self) -> bytes:
        """Its 64 bytes; of a damaged one whatever tells it from others."""
        if self.signature_at < 0:
            return hashlib.sha256(self.raw[self.begin : self.end]).digest()
        return self.raw[self.signature_at : self.signature_at + _SIGNATURE_BYTES]

    @property
    def info(self) -> pb.SubscribeUpdateTransactionInfo:
        """The message, parsed. Raises protobuf's DecodeError where it is none."""
        return pb.SubscribeUpdateTransactionInfo.FromString(self.raw[self.begin : self.end])

    @classmethod
    def of(cls, info: pb.SubscribeUpdateTransactionInfo, recv_ts_ns: int) -> SlotTransaction:
        """A parsed transaction as if it had just come."""
        raw = info.SerializeToString()
        where = np.zeros(5, np.int64)
        wire.scan_info(np.frombuffer(raw, np.uint8), 0, len(raw), where)
        return cls(raw, 0, len(raw), int(where[wire.TX_SIGNATURE]), info.index, recv_ts_ns)


class SlotTransactions(Sequence[SlotTransaction]):
    """Transactions of a slot in block order, within one `raw`.

    `where` has a row of (begin, end, signature, place in the block, recv_ts_ns) for each. Single ones are made when
    they are asked for: most never are.
    """

    __slots__ = ("raw", "where")

    def __init__(self, raw: bytes, where: np.ndarray) -> None:
        """`where` in any order."""
        places = where[:, wire.TX_INDEX]
        in_order = bool((places[1:] >= places[:-1]).all())
        self.raw = raw
        self.where = where if in_order else where[np.argsort(places, kind="stable")]

    @classmethod
    def joined(cls, transactions: Sequence[SlotTransaction]) -> SlotTransactions:
        """Single ones, brought together."""
        where = np.array([transaction[1:] for transaction in transactions], np.int64).reshape(-1, 5)
        sizes = where[:, wire.TX_END] - where[:, wire.TX_BEGIN]
        where[:, :3] += np.where(where[:, :3] < 0, 0, (np.cumsum(sizes) - sizes - where[:, wire.TX_BEGIN])[:, None])
        return cls(b"".join([one.raw[one.begin : one.end] for one in transactions]), where)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.where)

    def signatures(self) -> tuple[bytes, ...]:
        """Their signatures, one after the other in few pieces: a slot is remembered for a while after it is landed."""
        at = self.where[:, wire.TX_SIGNATURE]
        if (at < 0).any():
            return tuple([one.signature for one in self])
        return (np.frombuffer(self.raw, np.uint8)[at[:, None] + np.arange(_SIGNATURE_BYTES)].tobytes(),)

    @overload
    def __getitem__(self, at: int) -> SlotTransaction: ...
    @overload
    def __getitem__(self, at: slice) -> SlotTransactions: ...
    def __getitem__(self, at: int | slice) -> SlotTransaction | SlotTransactions:
        """One of them, or some."""
        if isinstance(at, slice):
            return SlotTransactions(self.raw, self.where[at])
        return SlotTransaction(self.raw, *self.where[at].tolist())


@dataclass(frozen=True, slots=True)
class Block:
    """A SubscribeUpdateBlock. `where`: see SlotTransactions, but for the time of receiving."""

    slot: int
    parent_slot: int
    blockhash: str
    block_time: int | None
    created_at_ns: int | None
    raw: bytes
    where: np.ndarray

    def transactions(self, recv_ts_ns: int) -> SlotTransactions:
        """All of them."""
        self.where[:, wire.TX_RECEIVED] = recv_ts_ns
        return SlotTransactions(self.raw, self.where)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A SubscribeUpdateTransaction."""

    slot: int
    created_at_ns: int | None
    raw: bytes
    where: tuple[int, int, int, int]

    def transaction(self, recv_ts_ns: int) -> SlotTransaction:
        """What it brings."""
        return SlotTransaction(self.raw, *self.where, recv_ts_ns)


Update = Block | Transaction | pb.SubscribeUpdate


def parse(raw: bytes) -> Update | None:
    """The message of these bytes; None where they are no SubscribeUpdate."""
    found = _scan(raw)
    if found is not None:
        return found
    try:
        update = pb.SubscribeUpdate.FromString(raw)
    except ProtobufError:
        return None
    if not (update.HasField("block") or update.HasField("transaction")):
        return update
    # Written in an unusual way: protobuf writes it again in the usual one.
    return _scan(update.SerializeToString())


def _scan(raw: bytes) -> Block | Transaction | None:
    data = np.frombuffer(raw, np.uint8)
    head = np.empty(6, np.int64)
    if not wire.scan_update(data, head):
        return None
    kind, begin, end, has_stamp, seconds, nanos = head.tolist()
    created_at = seconds * _NS + nanos if has_stamp else None
    if kind == wire.BLOCK:
        return _scan_block(raw, data, begin, end, created_at)
    if kind == wire.TRANSACTION:
        where = np.empty(5, np.int64)
        slot = int(wire.scan_transaction(data, begin, end, where))
        at, until, signature, index, _ = where.tolist()
        return None if slot < 0 else Transaction(slot, created_at, raw, (at, until, signature, index))
    return None


def _scan_block(raw: bytes, data: np.ndarray, begin: int, end: int, created_at: int | None) -> Block | None:
    head, room = np.empty(6, np.int64), _room()
    n = wire.scan_block(data, begin, end, head, room)
    if n < 0:
        return None
    slot, parent, hash_at, hash_length, has_time, time = head.tolist()
    try:
        blockhash = raw[hash_at : hash_at + hash_length].decode()
    except UnicodeDecodeError:
        return None
    return Block(slot, parent, blockhash, time if has_time else None, created_at, raw, room[:n].copy())


@lru_cache(maxsize=1)
def _room() -> np.ndarray:
    return np.empty((_MAX_TRANSACTIONS, 5), np.int64)


def stamp_ns(update: Update) -> int | None:
    """The provider's stamp on a message in unix nanoseconds, None where it gives none."""
    return created_at_ns(update) if isinstance(update, pb.SubscribeUpdate) else update.created_at_ns
