"""What a subscription asks for: a SubscribeRequest compiled to matchers, and the updates they make of one block.

Pure functions on messages: when an update is due, and to whom it goes, is simnet.yellowstone's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from solders.pubkey import Pubkey
from solders.signature import Signature

from copytrader_core.errors import StreamError
from copytrader_core.geyser.copytrader_geyser_pb2 import (
    CONFIRMED,
    FINALIZED,
    PROCESSED,
    SLOT_CONFIRMED,
    SLOT_FINALIZED,
    SLOT_PROCESSED,
    SlotStatus,
    SubscribeRequest,
    SubscribeRequestFilterBlocks,
    SubscribeRequestFilterTransactions,
    SubscribeUpdate,
    SubscribeUpdateBlock,
    SubscribeUpdateTransaction,
    SubscribeUpdateTransactionInfo,
)

__all__ = ["Subscription", "compile_request"]

_MAX_NAME_BYTES = 128
_STATUS: dict[int, SlotStatus] = {PROCESSED: SLOT_PROCESSED, CONFIRMED: SLOT_CONFIRMED, FINALIZED: SLOT_FINALIZED}
_Filter = TypeVar("_Filter")
_Compiled = TypeVar("_Compiled")


@dataclass(frozen=True, slots=True)
class _TransactionFilter:
    """All set fields must agree; a list agrees with any of its accounts (`required`: with all). Unset agrees always."""

    name: str
    vote: bool | None
    failed: bool | None
    signature: bytes | None
    include: frozenset[bytes]
    exclude: frozenset[bytes]
    required: frozenset[bytes]

    def matches(self, info: SubscribeUpdateTransactionInfo, keys: frozenset[bytes]) -> bool:
        return (
            (self.vote is None or self.vote == info.is_vote)
            and (self.failed is None or self.failed == info.meta.HasField("err"))
            and (self.signature is None or self.signature == info.signature)
            and (not self.include or not self.include.isdisjoint(keys))
            and self.exclude.isdisjoint(keys)
            and self.required <= keys
        )


@dataclass(frozen=True, slots=True)
class _BlockFilter:
    """A block with the transactions that touch `include` (all of them if empty), or with none at all."""

    name: str
    include: frozenset[bytes]
    with_transactions: bool


@dataclass(frozen=True, slots=True)
class _SlotFilter:
    name: str
    own_commitment_only: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """A compiled request. `commitment` is the level at which blocks, transactions and metas are given."""

    commitment: int
    from_slot: int | None
    transactions: tuple[_TransactionFilter, ...]
    transactions_status: tuple[_TransactionFilter, ...]
    blocks: tuple[_BlockFilter, ...]
    blocks_meta: tuple[str, ...]
    slots: tuple[_SlotFilter, ...]

    def content(self, block: SubscribeUpdateBlock) -> Iterator[SubscribeUpdate | bytes]:
        """What this subscription gets of `block` at its commitment: transactions in order, block, block_meta.

        What is large comes serialized, as a copy into another message costs several times as much as its bytes.
        """
        keys = [_account_keys(info) for info in block.transactions] if self._reads_keys else []
        yield from self._transactions(block, keys)
        for wanted in self.blocks:
            yield _block_update(wanted, block, keys)
        if self.blocks_meta:
            yield _meta_update(self.blocks_meta, block)

    def status(self, level: int, slot: int, parent: int) -> SubscribeUpdate | None:
        """The update that `slot` has reached `level`, or None if no slot filter asks for it."""
        names = [f.name for f in self.slots if not f.own_commitment_only or level == self.commitment]
        if not names:
            return None
        update = SubscribeUpdate(filters=names)
        update.slot.slot, update.slot.parent, update.slot.status = slot, parent, _STATUS[level]
        return update

    @property
    def is_empty(self) -> bool:
        """Whether nothing but pings would ever be sent."""
        return not (self.wants_content or self.slots)

    @property
    def wants_content(self) -> bool:
        """Whether anything of a block is sent beyond its slot's status."""
        return bool(self.transactions or self.transactions_status or self.blocks or self.blocks_meta)

    @property
    def _reads_keys(self) -> bool:
        return bool(self.transactions or self.transactions_status or any(f.include for f in self.blocks))

    def _transactions(
        self, block: SubscribeUpdateBlock, keys: list[frozenset[bytes]]
    ) -> Iterator[SubscribeUpdate | bytes]:
        if not (self.transactions or self.transactions_status):
            return
        for info, accounts in zip(block.transactions, keys, strict=True):
            if names := [f.name for f in self.transactions if f.matches(info, accounts)]:
                content = SubscribeUpdateTransaction(slot=block.slot).SerializeToString()
                content += _field(SubscribeUpdateTransaction.TRANSACTION_FIELD_NUMBER, info.SerializeToString())
                yield _update(names, SubscribeUpdate.TRANSACTION_FIELD_NUMBER, content)
            if names := [f.name for f in self.transactions_status if f.matches(info, accounts)]:
                yield _status_update(names, block.slot, info)


def compile_request(request: SubscribeRequest) -> Subscription:
    """Compiles `request`; filters of one kind are ordered by name. Raises StreamError for what a server refuses.

    Account filters are accepted and stay silent: a tape holds no account updates.
    """
    commitment = int(request.commitment)
    if commitment not in _STATUS:
        raise StreamError(f"failed to create filter: failed to create CommitmentLevel from {commitment}")
    return Subscription(
        commitment=commitment,
        from_slot=request.from_slot if request.HasField("from_slot") else None,
        transactions=_compile(request.transactions, _transaction_filter),
        transactions_status=_compile(request.transactions_status, _transaction_filter),
        blocks=_compile(request.blocks, _block_filter),
        blocks_meta=_compile(request.blocks_meta, lambda name, _: name),
        slots=_compile(request.slots, lambda name, wanted: _SlotFilter(name, wanted.filter_by_commitment)),
    )


def _compile(filters: Mapping[str, _Filter], build: Callable[[str, _Filter], _Compiled]) -> tuple[_Compiled, ...]:
    if any(len(name.encode()) > _MAX_NAME_BYTES for name in filters):
        raise StreamError(f"failed to create filter: a filter name is longer than {_MAX_NAME_BYTES} bytes")
    return tuple(build(name, filters[name]) for name in sorted(filters))


def _transaction_filter(name: str, wanted: SubscribeRequestFilterTransactions) -> _TransactionFilter:
    return _TransactionFilter(
        name=name,
        vote=wanted.vote if wanted.HasField("vote") else None,
        failed=wanted.failed if wanted.HasField("failed") else None,
        signature=_signature(wanted.signature) if wanted.HasField("signature") else None,
        include=_accounts(wanted.account_include),
        exclude=_accounts(wanted.account_exclude),
        required=_accounts(wanted.account_required),
    )


def _block_filter(name: str, wanted: SubscribeRequestFilterBlocks) -> _BlockFilter:
    with_transactions = wanted.include_transactions or not wanted.HasField("include_transactions")
    return _BlockFilter(name, _accounts(wanted.account_include), with_transactions)


def _accounts(addresses: Iterable[str]) -> frozenset[bytes]:
    try:
        return frozenset(bytes(Pubkey.from_string(address)) for address in addresses)
    except ValueError as error:
        raise StreamError(f"failed to create filter: Invalid Base58 address ({error})") from error


def _signature(text: str) -> bytes:
    try:
        return bytes(Signature.from_string(text))
    except ValueError as error:
        raise StreamError(f"failed to create filter: invalid signature ({error})") from error


def _account_keys(info: SubscribeUpdateTransactionInfo) -> frozenset[bytes]:
    """Every account that the transaction names, those loaded from lookup tables included."""
    meta = info.meta
    return frozenset(
        chain(info.transaction.message.account_keys, meta.loaded_writable_addresses, meta.loaded_readonly_addresses)
    )


def _block_update(wanted: _BlockFilter, block: SubscribeUpdateBlock, keys: Sequence[frozenset[bytes]]) -> bytes:
    number = SubscribeUpdate.BLOCK_FIELD_NUMBER
    if wanted.with_transactions and not any(map(wanted.include.isdisjoint, keys if wanted.include else ())):
        return _update([wanted.name], number, block.SerializeToString())
    parts = [_without_transactions(block).SerializeToString()]
    if wanted.with_transactions:
        for info, accounts in zip(block.transactions, keys, strict=True):
            if not wanted.include.isdisjoint(accounts):
                parts.append(_field(SubscribeUpdateBlock.TRANSACTIONS_FIELD_NUMBER, info.SerializeToString()))
    return _update([wanted.name], number, b"".join(parts))


def _update(names: Iterable[str], number: int, content: bytes) -> bytes:
    """A SubscribeUpdate with the message `content` as its field `number`."""
    return SubscribeUpdate(filters=names).SerializeToString() + _field(number, content)


def _field(number: int, content: bytes) -> bytes:
    """A message field on the wire: its tag (wire type 2), its length, its bytes."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _without_transactions(block: SubscribeUpdateBlock) -> SubscribeUpdateBlock:
    """The block's other fields, taken one by one: copying it whole only to clear it would copy every transaction."""
    bare = SubscribeUpdateBlock()
    for field, value in block.ListFields():
        if field.name == "transactions":
            continue
        if field.message_type is None:
            setattr(bare, field.name, value)
        else:
            getattr(bare, field.name).CopyFrom(value)
    return bare


def _meta_update(names: Iterable[str], block: SubscribeUpdateBlock) -> SubscribeUpdate:
    update = SubscribeUpdate(filters=names)
    meta = update.block_meta
    for field in (
        "slot",
        "blockhash",
        "parent_slot",
        "parent_blockhash",
        "executed_transaction_count",
        "entries_count",
    ):
        setattr(meta, field, getattr(block, field))
    for field in ("block_time", "block_height"):
        if block.HasField(field):
            getattr(meta, field).CopyFrom(getattr(block, field))
    return update


def _status_update(names: Iterable[str], slot: int, info: SubscribeUpdateTransactionInfo) -> SubscribeUpdate:
    update = SubscribeUpdate(filters=names)
    status = update.transaction_status
    status.slot, status.signature, status.is_vote, status.index = slot, info.signature, info.is_vote, info.index
    if info.meta.HasField("err"):
        status.err.CopyFrom(info.meta.err)
    return update
