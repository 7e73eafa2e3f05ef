"""One landed transaction as every source of transactions hands it over: bytes, indices and integers.

The adapters (`geyser.wire`, `solana.rpc_json`) fill it; the decoder reads it. `check_complete` is the one place that
says what a complete transaction is, because a half-read one must never be decoded. No parsing of a wire format here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

from copytrader_core.errors import DecodeError
from copytrader_core.solana.base58 import signature_text

LEGACY = -1
SIGNATURE_BYTES = 64
KEY_BYTES = 32
# What a token account and a mint can hold: a u64 and a u8.
MAX_AMOUNT = 2**64 - 1
MAX_DECIMALS = 255
LOG_TRUNCATED = "Log truncated"
_EVERY_INDEX: Final = bytes(range(256))


# A transaction holds dozens of instructions and balances: named tuples, as frozen dataclasses take four times as long.
class RawInstruction(NamedTuple):
    """One compiled instruction. `accounts` holds one byte per account: an index into `account_keys`.

    `stack_height` is 1 at the top level, the depth of the call inside, None where the source does not know it.
    """

    program_index: int
    accounts: bytes
    data: bytes
    stack_height: int | None = None


class TokenBalance(NamedTuple):
    """The balance of one token account before or after the transaction, `amount` in raw units of `mint`."""

    account_index: int
    mint: str
    owner: str
    program_id: str
    amount: int
    decimals: int


@dataclass(frozen=True, slots=True)
class RawTransaction:
    """A landed transaction. `version` is -1 for legacy, 0 or 1; fee and balances are lamports; `block_time` is unix.

    `account_keys` are the static keys, then the loaded writable, then the loaded read-only ones: the order that
    instruction indices refer to. `inner` maps a top-level index to the instructions called below it, in execution
    order. `inner_recorded` is False where the source kept no inner instructions; `logs` is None where it kept no logs.
    """

    slot: int
    tx_index: int | None
    signature: bytes
    account_keys: tuple[bytes, ...]
    n_signers: int
    outer: tuple[RawInstruction, ...]
    inner: Mapping[int, tuple[RawInstruction, ...]]
    logs: tuple[str, ...] | None
    failed: bool
    fee: int
    pre_balances: Sequence[int]
    post_balances: Sequence[int]
    pre_tokens: tuple[TokenBalance, ...]
    post_tokens: tuple[TokenBalance, ...]
    version: int
    block_time: int | None
    inner_recorded: bool = True

    @property
    def logs_truncated(self) -> bool:
        """Whether the node cut the logs, so that lines are missing."""
        return self.logs is not None and LOG_TRUNCATED in self.logs


def check_complete(tx: RawTransaction) -> RawTransaction:
    """`tx` itself where its parts fit together. Raises DecodeError where it was cut or put together wrongly.

    Every adapter ends with this, so that no half-read transaction reaches a decoder.
    """
    keys = tx.account_keys
    n_keys = len(keys)
    if len(tx.signature) != SIGNATURE_BYTES:
        raise DecodeError(
            f"expected a signature of {SIGNATURE_BYTES} bytes, found {len(tx.signature)}: the transaction is cut"
        )
    if not 1 <= tx.n_signers <= n_keys or set(map(len, keys)) != {KEY_BYTES}:
        raise _broken(tx, f"expected account keys of {KEY_BYTES} bytes, one or more of them signers")
    if not len(tx.pre_balances) == len(tx.post_balances) == n_keys:
        found = f"{len(tx.pre_balances)} balances before and {len(tx.post_balances)} after for {n_keys} account keys"
        raise _broken(tx, f"expected one balance per account key, found {found}")
    _check_instructions(tx, n_keys)
    for index, _, owner, _, amount, decimals in chain(tx.pre_tokens, tx.post_tokens):
        if index >= n_keys:
            raise _broken(tx, f"a token balance names account {index} of {n_keys}")
        if not owner:
            raise _broken(tx, f"the token balance of account {index} names no owner")
        if not 0 <= amount <= MAX_AMOUNT or not 0 <= decimals <= MAX_DECIMALS:
            raise _broken(tx, f"a token balance of {amount} with {decimals} decimals cannot be")
    return tx


def _check_instructions(tx: RawTransaction, n_keys: int) -> None:
    n_outer = len(tx.outer)
    if _names_beyond([*tx.outer, *chain.from_iterable(tx.inner.values())], n_keys):
        raise _broken(tx, f"an instruction names an account beyond the {n_keys} account keys")
    for index, group in tx.inner.items():
        if index >= n_outer:
            raise _broken(tx, f"inner instructions belong to instruction {index} of {n_outer}")
        depth = 1
        if len({height is None for _, _, _, height in group}) > 1:
            raise _broken(tx, "some inner instructions tell their depth and others do not")
        for _, _, _, height in group:
            if height is not None:
                if not 2 <= height <= depth + 1:
                    raise _broken(tx, f"a call at depth {height} follows one at depth {depth}: one between is missing")
                depth = height


def _names_beyond(instructions: Sequence[RawInstruction], n_keys: int) -> bool:
    """Whether a program or an account of these is none of the keys. All account bytes are looked at in one C call."""
    programs = [ix[0] for ix in instructions]
    if not programs:
        return False
    accounts = b"".join([ix[1] for ix in instructions])
    return max(programs) >= n_keys or bool(accounts.translate(None, _EVERY_INDEX[:n_keys]))


def _broken(tx: RawTransaction, what: str) -> DecodeError:
    return DecodeError(f"transaction {signature_text(tx.signature)}: {what}; fetch it again")
