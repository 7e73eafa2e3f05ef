"""Durable nonce accounts: their layout, where a wallet's own ones lie, and the instructions that make one. No I/O.

A transaction signed with an account's value lives until the value moves on, and it moves on with the first one that
lands, failed or not. How a trade uses one is in `trades`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from solders.hash import Hash
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.system_program import (
    AdvanceNonceAccountParams,
    WithdrawNonceAccountParams,
    advance_nonce_account,
    create_nonce_account_with_seed,
    withdraw_nonce_account,
)

from copytrader_core.errors import DecodeError
from copytrader_core.solana.chain_rpc import Account
from copytrader_core.solana.programs import SYSTEM_PROGRAM

__all__ = [
    "MAX_NONCES",
    "NONCE_BYTES",
    "NonceState",
    "advance_nonce",
    "close_nonce",
    "decode_nonce",
    "make_nonce",
    "nonce_address",
]

NONCE_BYTES: Final = 80
MAX_NONCES: Final = 64
"""How many accounts of its own a wallet has at most: their addresses are asked for in one call."""
# The system program's: version 1, state 1 (initialized), authority, value, fee. Version 0 serves no transaction.
_HEAD: Final = struct.Struct("<II32s32s")


@dataclass(frozen=True, slots=True)
class NonceState:
    """Who may advance the account, and its value: what the next transaction is signed with."""

    authority: Pubkey
    value: Hash


def decode_nonce(account: Account) -> NonceState:
    """What a nonce account holds. Raises DecodeError for an account that is none, or none that can be used."""
    if account.owner != SYSTEM_PROGRAM or len(account.data) != NONCE_BYTES:
        raise DecodeError(f"{len(account.data)} bytes of {account.owner} are no nonce account: check the address")
    version, state, authority, value = _HEAD.unpack_from(account.data)
    if (version, state) != (1, 1):
        raise DecodeError(f"a nonce account of version {version} in state {state} serves nothing: create a new one")
    return NonceState(Pubkey(authority), Hash(value))


def nonce_address(owner: Pubkey, number: int) -> Pubkey:
    """The address of a wallet's own nonce account `number`, from 0: it follows from the wallet, no key goes with it."""
    return Pubkey.create_with_seed(owner, _seed(number), SYSTEM_PROGRAM)


def make_nonce(owner: Pubkey, number: int, rent_lamports: int) -> tuple[Instruction, Instruction]:
    """The instructions that open a wallet's own nonce account `number` and give it its first value."""
    address = nonce_address(owner, number)
    created, initialized = create_nonce_account_with_seed(owner, address, owner, _seed(number), owner, rent_lamports)
    return created, initialized


def advance_nonce(account: Pubkey, owner: Pubkey) -> Instruction:
    """The instruction that gives an account its next value."""
    return advance_nonce_account(AdvanceNonceAccountParams(nonce_pubkey=account, authorized_pubkey=owner))


def close_nonce(account: Pubkey, owner: Pubkey, lamports: int) -> Instruction:
    """The instruction that gives the owner all `lamports` of an account, which ends it.

    The program refuses it in the block that has given the account its value.
    """
    return withdraw_nonce_account(
        WithdrawNonceAccountParams(nonce_pubkey=account, authorized_pubkey=owner, to_pubkey=owner, lamports=lamports)
    )


def _seed(number: int) -> str:
    return f"copytrader-nonce-{number}"
