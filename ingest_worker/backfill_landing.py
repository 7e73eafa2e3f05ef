"""From a node's JSON to the rows and dead letters of a batch, the same that the worker makes of the stream. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from copytrader_core.errors import DataError
from copytrader_core.pump.decode import Decoded, decode
from copytrader_core.pump.drift import examine
from copytrader_core.solana.rpc_json import transaction_from_json
from copytrader_core.store import raw_events
from copytrader_core.store.ingest import Batch, DeadLetter, LandedSlot
from copytrader_core.store.wallets import Wallet
from ingest_worker.clock import SlotClock
from ingest_worker.subscription import PROGRAMS

__all__ = ["Block", "Fetched", "land_block", "land_fetched", "read"]

_PROGRAMS = frozenset(PROGRAMS)
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A transaction as it came, what it says, and when we got it. `letters` are what could not be decoded."""

    signature: str
    document: Json
    decoded: Decoded
    letters: tuple[DeadLetter, ...]
    recv_ts_ns: int

    @property
    def is_ours(self) -> bool:
        """Whether anything of it is kept, so that its place in the block matters."""
        return bool(self.decoded.events or self.letters)

    def placed(self, tx_index: int | None) -> Fetched:
        """The same, its events knowing their place in the block."""
        events = tuple([replace(event, tx_index=tx_index) for event in self.decoded.events])
        return replace(self, decoded=replace(self.decoded, events=events))


@dataclass(frozen=True, slots=True)
class Block:
    """What is kept of a getBlock result: the transactions that name the two programs, with their places in it."""

    slot: int
    parent_slot: int
    blockhash: str
    parent_blockhash: str | None
    block_time: int | None
    transactions: tuple[tuple[int, Json], ...]
    recv_ts_ns: int

    @classmethod
    def read(cls, slot: int, document: Json, recv_ts_ns: int) -> Block:
        """A block of transactionDetails full. Raises DataError where the document is not one."""
        try:
            return cls(
                slot,
                document["parentSlot"],
                document["blockhash"],
                document.get("previousBlockhash"),
                document.get("blockTime"),
                tuple([(i, entry) for i, entry in enumerate(document["transactions"]) if _touches_programs(entry)]),
                recv_ts_ns,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"the node's block {slot} is not whole ({error!r}): use --rpc of another node") from error


def read(document: Json, signature: str, recv_ts_ns: int) -> Fetched:
    """Decodes a getTransaction result; whatever goes wrong becomes a dead letter with the whole document."""
    slot = document.get("slot")
    slot = slot if type(slot) is int else None
    try:
        decoded = decode(transaction_from_json(document))
    except Exception as error:  # noqa: BLE001 whatever one transaction does to the decoder, the others must land
        reason = f"{type(error).__name__}: {error}"
        return Fetched(signature, document, Decoded((), ()), (_letter(document, signature, slot, reason),), recv_ts_ns)
    letters = [_letter(document, signature, slot, f"{it.path}: {it.reason}") for it in decoded.problems]
    return Fetched(signature, document, decoded, tuple(letters), recv_ts_ns)


def land_fetched(fetched: Fetched, clock: SlotClock, wallets: Mapping[str, Wallet], batch: Batch) -> None:
    """Adds every row of a transaction of a slot that is not landed as a whole."""
    slot = fetched.document["slot"]
    block_time = fetched.document.get("blockTime")
    if fetched.is_ours:
        batch.late_slots.add(slot)
        if block_time is None:
            batch.estimated_slots.add(slot)
    _land(fetched, clock.ts_ns(slot, block_time, fetched.recv_ts_ns), wallets, batch)


def land_block(block: Block, clock: SlotClock, wallets: Mapping[str, Wallet], batch: Batch) -> None:
    """Adds a whole block: the rows of the two programs' transactions, the slot, and what the programs have changed.

    Only here: a wallet's history reaches back to older rules, which are no drift.
    """
    ts_ns = clock.ts_ns(block.slot, block.block_time, block.recv_ts_ns)
    before = len(batch.rows)
    for index, entry in block.transactions:
        if entry["meta"]["err"] is None:
            document = {**entry, "slot": block.slot, "blockTime": block.block_time, "transactionIndex": index}
            fetched = read(document, entry["transaction"]["signatures"][0], block.recv_ts_ns)
            _land(fetched, ts_ns, wallets, batch)
            if fetched.decoded.frames:
                batch.drift.extend([(block.slot, it) for it in examine(fetched.decoded, fetched.signature)])
    if block.block_time is None:
        batch.estimated_slots.add(block.slot)
    n_txs, n_events = len(block.transactions), len(batch.rows) - before
    batch.slots.append(LandedSlot(block.slot, block.parent_slot, block.blockhash, block.block_time, n_txs, n_events))


def _land(fetched: Fetched, ts_ns: int, wallets: Mapping[str, Wallet], batch: Batch) -> None:
    for event in fetched.decoded.events:
        wallet = wallets.get(event.wallet)
        alias = wallet.alias if wallet else None
        batch.rows.append(raw_events.row(event, ts_ns=ts_ns, recv_ts_ns=fetched.recv_ts_ns, alias=alias))
    batch.dead_letters.extend(fetched.letters)


def _touches_programs(entry: Json) -> bool:
    """Whether a transaction names one of the programs: what the worker's filter lets through."""
    keys: Sequence[str] = entry["transaction"]["message"]["accountKeys"]
    loaded: Json = entry["meta"].get("loadedAddresses") or {}
    return not _PROGRAMS.isdisjoint(keys) or any(not _PROGRAMS.isdisjoint(part) for part in loaded.values())


def _letter(document: Json, signature: str, slot: int | None, reason: str) -> DeadLetter:
    return DeadLetter(signature, slot, reason.replace("\0", ""), json.dumps(document, separators=(",", ":")).encode())
