"""Decoding dead letters again, with a decoder that has learned since: what it can read now lands like late events.

The bytes of a letter are whole transactions, so nothing is asked of a provider. No output here: the command prints.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from google.protobuf.message import DecodeError as ProtobufError
from psycopg import errors

from copytrader_core.errors import StoreError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import Decoded, decode
from copytrader_core.pump.drift import examine
from copytrader_core.solana.rpc_json import transaction_from_json
from copytrader_core.solana.transaction import RawTransaction
from copytrader_core.store import backfill, dead_letters, ingest, scope, wallets
from copytrader_core.store.dead_letters import Letter, SlotFacts
from copytrader_core.store.ingest import Batch, DeadLetter
from copytrader_core.store.wallets import Wallet
from ingest_worker.clock import SlotClock
from ingest_worker.scope import Keeper, Scope, ScopeRules

__all__ = ["Retried", "retry"]

_TRIES = 5
_NOT_LANDED = SlotFacts(None, None, Scope.ALL)


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of a letter: the new rows that it gave, and why it stays (None: it is off the table)."""

    letter: Letter
    n_events: int
    still: str | None


class _UnreadableError(Exception):
    """The letter holds no transaction."""


def retry(connection: psycopg.Connection, rules: ScopeRules, ids: Sequence[int] | None = None) -> Iterator[Retried]:
    """Decodes letters again, all of them or those with these ids, each in a transaction of its own.

    Rows, the counts of their slots and of sealed days, and the letter change together; a kill in between repeats at
    most one letter, which is harmless. `rules` say what the scope `touched` samples. `connection` commits by itself.
    """
    desk = _Desk(connection, rules, wallets.load(connection), scope.touched_mints(connection))
    for letter in dead_letters.letters(connection, ids):
        yield desk.retry(letter)


@dataclass(slots=True)
class _Desk:
    """What every letter of a run needs."""

    connection: psycopg.Connection
    rules: ScopeRules
    known: Mapping[str, Wallet]
    touched: Collection[str]

    def retry(self, letter: Letter) -> Retried:
        """One letter. Raises StoreError if another program locks the rows again and again."""
        facts = _NOT_LANDED
        if letter.slot is not None:
            facts = dead_letters.slot_facts(self.connection, letter.slot) or _NOT_LANDED
        try:
            transaction = _transaction(letter, facts)
            decoded = decode(transaction)
        except _UnreadableError as error:
            return Retried(letter, 0, str(error))
        except Exception as error:  # noqa: BLE001 whatever the letter does to the decoder, the others must be tried
            return Retried(letter, 0, f"{type(error).__name__}: {error}")
        return self._land(letter, transaction, decoded, facts)

    def _land(self, letter: Letter, transaction: RawTransaction, decoded: Decoded, facts: SlotFacts) -> Retried:
        batch = self._batch(letter, transaction, decoded, facts)
        still = next((reason for reason in _reasons(decoded) if reason == letter.reason), None)
        for _ in range(_TRIES):
            try:
                with self.connection.transaction():
                    landed = backfill.land(self.connection, batch)
                    if still is None:
                        dead_letters.strike(self.connection, letter)
                return Retried(letter, landed.committed.inserted, still)
            except ingest.UNSTORABLE as error:
                return Retried(letter, 0, f"the row cannot be stored: {error}")
            except (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable):
                continue
        raise StoreError(f"dead letter {letter.id}: another program locks its rows again and again; try again later")

    def _batch(self, letter: Letter, transaction: RawTransaction, decoded: Decoded, facts: SlotFacts) -> Batch:
        """The events that the slot's scope keeps, as late ones of their slot."""
        slot, block_time = transaction.slot, transaction.block_time
        recv_ts_ns = facts.recv_ts_ns or letter.kept_us * 1000
        ts_ns = self._clock(slot).ts_ns(slot, block_time, recv_ts_ns)
        keeper = Keeper(ScopeRules(Scope(facts.scope), self.rules.sample_fraction), self.touched)
        batch = Batch(late_slots={slot}, estimated_slots=set() if block_time is not None else {slot})
        for event in decoded.events:
            wallet = self.known.get(event.wallet)
            is_tracked, alias = (wallet.is_tracked, wallet.alias) if wallet else (False, None)
            row = keeper.keep(event, is_tracked, ts_ns=ts_ns, recv_ts_ns=recv_ts_ns, alias=alias)
            if row is not None:
                batch.rows.append(row)
        batch.dead_letters.extend([DeadLetter(letter.sig, slot, why, letter.raw) for why in _reasons(decoded)])
        if decoded.frames and letter.sig:
            batch.drift.extend([(slot, it) for it in examine(decoded, letter.sig)])
        return batch

    def _clock(self, slot: int) -> SlotClock:
        before = backfill.last_known_before(self.connection, slot)
        return SlotClock(before.slot, before.block_time) if before else SlotClock()


def _reasons(decoded: Decoded) -> list[str]:
    """What is wrong with a transaction, in the words of the table."""
    return [f"{problem.path}: {problem.reason}".replace("\0", "") for problem in decoded.problems]


def _transaction(letter: Letter, facts: SlotFacts) -> RawTransaction:
    """The transaction that a letter holds. Raises _UnreadableError where it holds none."""
    if letter.slot is None:
        raise _UnreadableError("the message was no SubscribeUpdate and names no transaction")
    if letter.raw[:1] == b"{":
        return _from_json(letter.raw, facts)
    try:
        update = pb.SubscribeUpdate.FromString(letter.raw)
    except ProtobufError:
        update = pb.SubscribeUpdate()
    if not update.HasField("transaction"):
        raise _UnreadableError("it holds a row, not a transaction: mend what refuses it, then backfill its wallet")
    return transaction_from_update(update.transaction.transaction, update.transaction.slot, facts.block_time)


def _from_json(raw: bytes, facts: SlotFacts) -> RawTransaction:
    document = json.loads(raw)
    if document.get("blockTime") is None:
        document["blockTime"] = facts.block_time
    return transaction_from_json(document)
