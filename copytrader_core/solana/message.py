"""Builds and signs v0 transactions: compute budget, token accounts, SOL transfers and wrapping. Knows no pump.fun.

Nothing is sent from here, and no limit is chosen here: compute units, fees and tips are the caller's decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.errors import SignerError
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import CompileError, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from copytrader_core.errors import TransactionError
from copytrader_core.solana.programs import (
    ASSOCIATED_TOKEN_PROGRAM,
    SYSTEM_PROGRAM,
    TOKEN_PROGRAM,
    WSOL_MINT,
    associated_token_address,
)

MAX_TRANSACTION_BYTES: Final = 1232
"""What a v0 transaction may have on the wire: the 1280-byte IPv6 packet less its headers."""

MAX_COMPUTE_UNITS: Final = 1_400_000

_CREATE_IDEMPOTENT = b"\x01"
_CLOSE_ACCOUNT = b"\x09"
_SYNC_NATIVE = b"\x11"


def create_token_account(payer: Pubkey, owner: Pubkey, mint: Pubkey, token_program: Pubkey) -> Instruction:
    """Create `owner`'s associated account for `mint` unless it exists already; `payer` pays the rent."""
    accounts = [
        AccountMeta(payer, is_signer=True, is_writable=True),
        AccountMeta(associated_token_address(owner, mint, token_program), is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=False, is_writable=False),
        AccountMeta(mint, is_signer=False, is_writable=False),
        AccountMeta(SYSTEM_PROGRAM, is_signer=False, is_writable=False),
        AccountMeta(token_program, is_signer=False, is_writable=False),
    ]
    return Instruction(ASSOCIATED_TOKEN_PROGRAM, _CREATE_IDEMPOTENT, accounts)


def close_token_account(owner: Pubkey, mint: Pubkey, token_program: Pubkey) -> Instruction:
    """Close `owner`'s associated account for `mint`, rent back to `owner`. It must be empty, unless it holds wSOL."""
    accounts = [
        AccountMeta(associated_token_address(owner, mint, token_program), is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=False, is_writable=True),
        AccountMeta(owner, is_signer=True, is_writable=False),
    ]
    return Instruction(token_program, _CLOSE_ACCOUNT, accounts)


def transfer_sol(source: Pubkey, destination: Pubkey, lamports: int) -> Instruction:
    """Move lamports between system accounts."""
    return transfer(TransferParams(from_pubkey=source, to_pubkey=destination, lamports=lamports))


def wrap_sol(owner: Pubkey, lamports: int) -> tuple[Instruction, Instruction]:
    """Move lamports into `owner`'s wSOL account, which must exist, and make the token program see them."""
    account = associated_token_address(owner, WSOL_MINT, TOKEN_PROGRAM)
    synchronize = Instruction(TOKEN_PROGRAM, _SYNC_NATIVE, [AccountMeta(account, is_signer=False, is_writable=True)])
    return transfer_sol(owner, account, lamports), synchronize


def unwrap_sol(owner: Pubkey) -> Instruction:
    """Close `owner`'s wSOL account: everything in it, rent included, becomes plain SOL."""
    return close_token_account(owner, WSOL_MINT, TOKEN_PROGRAM)


def build_transaction(
    payer: Keypair,
    instructions: Sequence[Instruction],
    blockhash: Hash,
    *,
    cu_limit: int,
    priority_fee_micro_lamports: int,
    tip_lamports: int = 0,
    tip_account: Pubkey | None = None,
    signers: Sequence[Keypair] = (),
    lookup_tables: Sequence[AddressLookupTableAccount] = (),
) -> bytes:
    """Compile, sign and serialize one v0 transaction: compute budget first, then `instructions`, then the tip.

    `priority_fee_micro_lamports` prices one compute unit: the fee paid is price * `cu_limit` / 1e6, rounded up.
    `signers` are those beside the payer. Raises TransactionError where the result could not be sent.
    """
    if not 0 < cu_limit <= MAX_COMPUTE_UNITS:
        raise TransactionError(f"cu_limit must be 1..{MAX_COMPUTE_UNITS}, got {cu_limit}: set the swap's own limit")
    everything = [
        set_compute_unit_limit(cu_limit),
        set_compute_unit_price(priority_fee_micro_lamports),
        *instructions,
        *_tip(payer.pubkey(), tip_account, tip_lamports, lookup_tables),
    ]
    try:
        message = MessageV0.try_compile(payer.pubkey(), everything, lookup_tables, blockhash)
        raw = bytes(VersionedTransaction(message, [payer, *signers]))
    except (CompileError, SignerError) as problem:
        raise TransactionError(f"the transaction cannot be compiled and signed: {problem}") from problem
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise TransactionError(
            f"the transaction has {len(raw)} bytes, at most {MAX_TRANSACTION_BYTES} can be sent:"
            " use the v3 instructions, fewer instructions or a lookup table"
        )
    return raw


def _tip(
    payer: Pubkey,
    account: Pubkey | None,
    lamports: int,
    lookup_tables: Sequence[AddressLookupTableAccount],
) -> tuple[Instruction, ...]:
    if lamports == 0:
        return ()
    if lamports < 0 or account is None:
        raise TransactionError(f"a tip of {lamports} lamports needs a positive amount and a tip account, got {account}")
    if any(account in table.addresses for table in lookup_tables):
        raise TransactionError(f"tip account {account} stands in a lookup table: the block engine refuses such a tip")
    return (transfer_sol(payer, account, lamports),)
