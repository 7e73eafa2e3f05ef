"""The bank: LiteSVM with the deployed programs, its own clock, blocks and blockhashes.

How a transaction is reported is `simnet.capture`'s; who trades, and why, is `simnet.market`'s.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, SimulatedTransactionInfo

from copytrader_core.errors import CopytraderError, DataError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.solana.programs import SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM
from simnet.bytecode import Snapshot, load_snapshot
from simnet.capture import Balances, TokenAmount, custom_code, error_bytes, transaction_info
from simnet.genesis import populate
from simnet.nonce import NonceUse, advance, nonce_use

SLOT_MS = 400
# One slot and the second in which it stood on mainnet; every other slot's time follows at 400 ms each.
REFERENCE_SLOT = 454_614_050
REFERENCE_SECONDS = 1_791_481_166
SLOTS_PER_EPOCH = 432_000
BLOCKHASH_LIFETIME = 150
_BLOCKS_BEHIND_SLOTS = 21_800_000
_TOKEN_PROGRAMS = (TOKEN_PROGRAM, TOKEN_2022_PROGRAM)
_LOOKUP_TABLE_HEAD = 56


class NotIncludedError(CopytraderError):
    """A transaction that no block would hold, for it paid no fee: bad signature, old blockhash, no money, a repeat."""


def slot_at(unix_seconds: float) -> int:
    """The first slot that does not begin before this time."""
    return REFERENCE_SLOT - int((REFERENCE_SECONDS - unix_seconds) * 1000 // SLOT_MS)


def seconds_at(slot: int) -> int:
    """The block time of a slot, in whole seconds as validators report it."""
    return REFERENCE_SECONDS + (slot - REFERENCE_SLOT) * SLOT_MS // 1000


@dataclass(frozen=True, slots=True)
class Executed:
    """A transaction of a block: what a provider streams of it, and the same balances for whoever checks them."""

    info: pb.SubscribeUpdateTransactionInfo
    slot: int
    ok: bool
    fee: int
    custom_error: int | None
    before: Balances
    after: Balances

    @property
    def signature(self) -> str:
        """The first signature, base58."""
        return str(Signature.from_bytes(self.info.signature))


_Undo = list[tuple[Pubkey, Account | None]]


@dataclass(slots=True)
class _OpenBlock:
    slot: int
    transactions: list[pb.SubscribeUpdateTransactionInfo] = field(default_factory=list)
    # What accounts held before they were written, and whose signature went into which set: undone from the end.
    undo: _Undo = field(default_factory=list)
    seen: list[tuple[Hash, bytes]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _ClosedBlock:
    """What it takes to go back to before a block."""

    parent_slot: int
    parent_hash: Hash
    block: _OpenBlock
    expired: list[tuple[Hash, set[bytes]]]


@dataclass(frozen=True, slots=True)
class Savepoint:
    """A place inside the open block."""

    n_transactions: int
    n_undo: int
    n_seen: int


class Bank:
    """One fork of the chain. `begin_block`, then `execute` in order, then `end_block`; slots left out are skipped.

    The last `undo_blocks` blocks can be taken back. LiteSVM has no snapshots: the bank keeps what the accounts that a
    transaction may write held before it, and puts that back.
    """

    def __init__(self, slot: int, snapshot: Snapshot | None = None, undo_blocks: int = 0) -> None:
        self.svm: LiteSVM = (
            LiteSVM().with_blockhash_check(False).with_log_bytes_limit(10_000).with_transaction_history(0)
        )
        self.authorities = populate(self.svm, snapshot or load_snapshot())
        self.parent_slot = slot
        self.block_height = slot - _BLOCKS_BEHIND_SLOTS
        self.blockhash = Hash(hashlib.sha256(f"slot {slot}".encode()).digest())
        self._recent: OrderedDict[Hash, set[bytes]] = OrderedDict({self.blockhash: set()})
        self._decimals: dict[Pubkey, int] = {}
        self._open: _OpenBlock | None = None
        self._closed: deque[_ClosedBlock] = deque(maxlen=undo_blocks)
        self._set_clock(slot)

    # --- accounts -----------------------------------------------------------------------------------------------------

    def airdrop(self, wallet: Pubkey, lamports: int) -> None:
        """Adds lamports to a wallet out of nothing."""
        self.svm.airdrop(wallet, lamports)

    def lamports(self, key: Pubkey) -> int:
        """Lamports of an account; 0 where there is none."""
        return self.svm.get_balance(key) or 0

    def write(self, key: Pubkey, account: Account) -> None:
        """Replaces an account by hand inside the open block; undone with it."""
        self._block().undo.append((key, self.svm.get_account(key)))
        self.svm.set_account(key, account)

    def data(self, key: Pubkey) -> bytes | None:
        """The bytes of an account, or None where there is none."""
        account = self.svm.get_account(key)
        return bytes(account.data) if account else None

    def token_amount(self, key: Pubkey) -> int:
        """Raw tokens in a token account; 0 where there is none."""
        data = self.data(key)
        return int.from_bytes(data[64:72], "little") if data else 0

    # --- blocks -------------------------------------------------------------------------------------------------------

    def begin_block(self, slot: int) -> None:
        """Starts the block of a slot after the last one; the chain's clock stands at that slot's time."""
        if self._open is not None or slot <= self.parent_slot:
            raise DataError(
                f"a block for slot {slot} cannot begin: the last was {self.parent_slot}, end the open one first"
            )
        self._set_clock(slot)
        self._open = _OpenBlock(slot)

    def execute(self, transaction: VersionedTransaction) -> Executed:
        """Runs a transaction as the next of the open block.

        Raises NotIncludedError where it would never reach a block; a transaction that fails on chain is part of it.
        """
        block = self._block()
        nonce = self._check_lifetime(transaction)
        keys, loaded = self._account_keys(transaction)
        before = self._balances(transaction, keys, self.svm.get_account)
        if nonce:  # the program wants a blockhash that it has not seen, as every block has on the network
            self.svm.expire_blockhash()
        kept = [(key, self.svm.get_account(key)) for key in _writable(transaction, keys, loaded)]
        result = self.svm.send_transaction(transaction)
        payer = keys[0]
        if isinstance(result, FailedTransactionMetadata) and self.lamports(payer) == before.lamports[payer]:
            raise NotIncludedError(f"the transaction was not included: {result.err()}")
        block.undo.extend(kept)
        if nonce and isinstance(result, FailedTransactionMetadata):
            # A nonce is used up by a failure too; LiteSVM takes everything back.
            self.svm.set_account(nonce.account, advance(nonce, self.svm.get_account(nonce.account), self.blockhash))
        after = self._balances(transaction, keys, self.svm.get_account)
        meta = result.meta() if isinstance(result, FailedTransactionMetadata) else result
        error = error_bytes(result)
        info = transaction_info(transaction, meta, error, keys, loaded, before, after)
        info.index = len(block.transactions)
        block.transactions.append(info)
        if not nonce:
            self._recent[transaction.message.recent_blockhash].add(info.signature)
            block.seen.append((transaction.message.recent_blockhash, info.signature))
        return Executed(info, block.slot, not error, meta.fee(), custom_code(error), before, after)

    def try_out(
        self, transaction: VersionedTransaction, *, verifies: bool = True
    ) -> SimulatedTransactionInfo | FailedTransactionMetadata:
        """What this transaction would do now, without keeping anything. Life times are not looked at.

        `verifies`: whether its signatures count.
        """
        if nonce_use(transaction, self.data):
            self.svm.expire_blockhash()
        self.svm.with_sigverify(verifies)
        try:
            return self.svm.simulate_transaction(transaction)
        finally:
            self.svm.with_sigverify(True)

    def simulate(self, transaction: VersionedTransaction) -> Balances | None:
        """Balances as this transaction would leave them, without keeping anything; None where it would fail."""
        result = self.try_out(transaction)
        if not isinstance(result, SimulatedTransactionInfo):
            return None
        changed: dict[Pubkey, Account] = dict(result.post_accounts())
        keys, _ = self._account_keys(transaction)
        return self._balances(
            transaction, keys, lambda key: changed[key] if key in changed else self.svm.get_account(key)
        )

    def end_block(self) -> pb.SubscribeUpdateBlock:
        """Closes the open block and returns it as a provider streams it, unfiltered."""
        block = self._block()
        parent_hash, expired = self.blockhash, []
        signatures = b"".join(t.signature for t in block.transactions)
        self.blockhash = Hash(
            hashlib.sha256(bytes(parent_hash) + block.slot.to_bytes(8, "little") + signatures).digest()
        )
        self._recent[self.blockhash] = set()
        while len(self._recent) > BLOCKHASH_LIFETIME + 1:
            expired.append(self._recent.popitem(last=False))
        self._closed.append(_ClosedBlock(self.parent_slot, parent_hash, block, expired))
        self.block_height += 1
        update = pb.SubscribeUpdateBlock(
            slot=block.slot,
            blockhash=str(self.blockhash),
            block_time=pb.UnixTimestamp(timestamp=seconds_at(block.slot)),
            block_height=pb.BlockHeight(block_height=self.block_height),
            transactions=block.transactions,
            parent_slot=self.parent_slot,
            parent_blockhash=str(parent_hash),
            executed_transaction_count=len(block.transactions),
            entries_count=len(block.transactions) + 1,
        )
        self.parent_slot, self._open = block.slot, None
        return update

    def savepoint(self) -> Savepoint:
        """Marks a place inside the open block, for `undo_to`."""
        block = self._block()
        return Savepoint(len(block.transactions), len(block.undo), len(block.seen))

    def undo_to(self, savepoint: Savepoint) -> None:
        """Takes back what the open block has executed since."""
        block = self._block()
        self._restore(block, savepoint.n_undo, savepoint.n_seen)
        del block.transactions[savepoint.n_transactions :]

    def undo_block(self) -> None:
        """Takes back the newest closed block, as when the cluster goes on with another fork.

        Raises DataError where a block is open or no older one is kept.
        """
        if self._open is not None or not self._closed:
            raise DataError("no block can be taken back: one is open, or none is kept (raise undo_blocks)")
        closed = self._closed.pop()
        self._restore(closed.block, 0, 0)
        self._recent.pop(self.blockhash, None)
        for blockhash, seen in reversed(closed.expired):
            self._recent[blockhash] = seen
            self._recent.move_to_end(blockhash, last=False)
        self.parent_slot, self.blockhash = closed.parent_slot, closed.parent_hash
        self.block_height -= 1
        self._set_clock(self.parent_slot)

    def is_processed(self, transaction: VersionedTransaction) -> bool:
        """Whether this very transaction is in a block of its blockhash's lifetime."""
        seen = self._recent.get(transaction.message.recent_blockhash, set())
        return bytes(transaction.signatures[0]) in seen

    def lives(self, transaction: VersionedTransaction) -> bool:
        """Whether a block may still include it: its blockhash is recent, or it uses a nonce that still stands."""
        return self.is_blockhash_valid(transaction.message.recent_blockhash) or bool(nonce_use(transaction, self.data))

    def is_blockhash_valid(self, blockhash: Hash) -> bool:
        """Whether a transaction with this recent blockhash may still be included."""
        return blockhash in self._recent

    # --- inside -------------------------------------------------------------------------------------------------------

    def _block(self) -> _OpenBlock:
        if self._open is None:
            raise DataError("no block is open: call begin_block first")
        return self._open

    def _set_clock(self, slot: int) -> None:
        epoch = slot // SLOTS_PER_EPOCH
        self.svm.set_clock(Clock(slot, seconds_at(epoch * SLOTS_PER_EPOCH), epoch, epoch + 1, seconds_at(slot)))

    def _restore(self, block: _OpenBlock, n_undo: int, n_seen: int) -> None:
        for key, account in reversed(block.undo[n_undo:]):
            self.svm.set_account(key, account or Account(0, b"", SYSTEM_PROGRAM))
        for blockhash, signature in block.seen[n_seen:]:
            self._recent.get(blockhash, set()).discard(signature)
        del block.undo[n_undo:], block.seen[n_seen:]

    def _check_lifetime(self, transaction: VersionedTransaction) -> NonceUse | None:
        """The nonce that a transaction lives by, None where it lives by a recent blockhash."""
        seen = self._recent.get(transaction.message.recent_blockhash)
        if seen is None:
            if nonce := nonce_use(transaction, self.data):
                return nonce
            raise NotIncludedError("the transaction was not included: its blockhash is unknown or expired")
        if bytes(transaction.signatures[0]) in seen:
            raise NotIncludedError("the transaction was not included: it was already processed")
        return None

    def _account_keys(
        self, transaction: VersionedTransaction
    ) -> tuple[list[Pubkey], tuple[list[Pubkey], list[Pubkey]]]:
        """All accounts in the order that instruction indices mean, and those loaded from lookup tables."""
        message = transaction.message
        writable: list[Pubkey] = []
        readonly: list[Pubkey] = []
        for lookup in message.address_table_lookups if isinstance(message, MessageV0) else ():
            table = (self.data(lookup.account_key) or b"")[_LOOKUP_TABLE_HEAD:]
            for indexes, into in ((lookup.writable_indexes, writable), (lookup.readonly_indexes, readonly)):
                if any(32 * i + 32 > len(table) for i in bytes(indexes)):
                    raise NotIncludedError("the transaction was not included: it names entries its lookup table lacks")
                into.extend(Pubkey.from_bytes(table[32 * i : 32 * i + 32]) for i in bytes(indexes))
        return [*message.account_keys, *writable, *readonly], (writable, readonly)

    def _balances(
        self, transaction: VersionedTransaction, keys: Sequence[Pubkey], account_of: Callable[[Pubkey], Account | None]
    ) -> Balances:
        """As validators collect them: token balances only where the message names a token program, none of programs."""
        invoked = {keys[i.program_id_index] for i in transaction.message.instructions}
        with_tokens = any(program in keys for program in _TOKEN_PROGRAMS)
        lamports: dict[Pubkey, int] = {}
        tokens: dict[Pubkey, TokenAmount] = {}
        for key in keys:
            if key in invoked or key in _TOKEN_PROGRAMS:
                lamports[key] = self.lamports(key)
                continue
            account = account_of(key)
            lamports[key] = account.lamports if account else 0
            if account and with_tokens and account.owner in _TOKEN_PROGRAMS and (held := self._token(account)):
                tokens[key] = held
        return Balances(lamports, tokens)

    def _token(self, account: Account) -> TokenAmount | None:
        data = bytes(account.data)
        is_account = len(data) == 165 or (len(data) > 165 and data[165] == 2)
        if not is_account or not data[108]:
            return None
        mint = Pubkey.from_bytes(data[:32])
        owner = Pubkey.from_bytes(data[32:64])
        return TokenAmount(mint, owner, account.owner, int.from_bytes(data[64:72], "little"), self._mint_decimals(mint))

    def _mint_decimals(self, mint: Pubkey) -> int:
        if mint not in self._decimals:
            data = self.data(mint)
            if data is None:  # a mint created inside a transaction that is only simulated
                return 6
            self._decimals[mint] = data[44]
        return self._decimals[mint]


def _writable(
    transaction: VersionedTransaction, keys: Sequence[Pubkey], loaded: tuple[list[Pubkey], list[Pubkey]]
) -> list[Pubkey]:
    """The accounts that a transaction may change, from its header's counts."""
    header, n_static = transaction.message.header, len(transaction.message.account_keys)
    signed = range(header.num_required_signatures - header.num_readonly_signed_accounts)
    unsigned = range(header.num_required_signatures, n_static - header.num_readonly_unsigned_accounts)
    return [*(keys[i] for i in signed), *(keys[i] for i in unsigned), *loaded[0]]
