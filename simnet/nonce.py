"""Durable nonces: how a transaction lives by one instead of a recent blockhash, and what using it leaves behind.

Layouts are the system program's: a nonce account holds version, state, authority, nonce, fee; instruction 4 advances.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.errors import DataError
from copytrader_core.solana.programs import SYSTEM_PROGRAM

__all__ = ["NonceUse", "advance", "nonce_use"]

_ADVANCE = (4).to_bytes(4, "little")
_NONCE_BYTES = 80
_INITIALIZED = b"\x01\0\0\0"


@dataclass(frozen=True, slots=True)
class NonceUse:
    """The nonce account that a transaction's first instruction advances."""

    account: Pubkey


def nonce_use(transaction: VersionedTransaction, data_of: Callable[[Pubkey], bytes | None]) -> NonceUse | None:
    """The nonce that keeps a transaction alive; None where it uses none, or one that is used up."""
    message = transaction.message
    if not message.instructions:
        return None
    keys, first = message.account_keys, message.instructions[0]
    accounts = bytes(first.accounts)
    if keys[first.program_id_index] != SYSTEM_PROGRAM or bytes(first.data)[:4] != _ADVANCE or not accounts:
        return None
    if accounts[0] >= len(keys):
        return None
    data = data_of(keys[accounts[0]]) or b""
    stands = len(data) == _NONCE_BYTES and data[4:8] == _INITIALIZED and data[40:72] == bytes(message.recent_blockhash)
    return NonceUse(keys[accounts[0]]) if stands else None


def advance(nonce: NonceUse, account: Account | None, blockhash: Hash) -> Account:
    """The nonce account after its use in the block after `blockhash`. Raises DataError where there is none."""
    if account is None:
        raise DataError(f"the nonce account {nonce.account} is gone: a transaction that used it cannot have run")
    data = bytes(account.data)
    value = hashlib.sha256(b"DURABLE_NONCE" + bytes(blockhash)).digest()
    return Account(account.lamports, data[:40] + value + data[72:], account.owner)
