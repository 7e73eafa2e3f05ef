"""Compiles instructions into the bytes of a v0 message and says where each part came to lie. Knows no pump.fun.

The keys of each class stand in the order of first mention, where the official compiler sorts them by value: so the
same kind of transaction has the same layout for every coin, and a compiled message can be patched for the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from solders.hash import Hash
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from copytrader_core.errors import TransactionError
from copytrader_core.solana.message import MAX_TRANSACTION_BYTES

__all__ = ["Compiled", "compile_v0", "wire"]

_VERSION_0: Final = 0x80
_KEY_BYTES: Final = 32
_MAX_KEYS: Final = 256
_SIGNATURE_BYTES: Final = 64
_HEAD_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Compiled:
    """A message and the byte offsets of its parts. `instruction_data` has one offset per instruction."""

    message: bytes
    keys: tuple[Pubkey, ...]
    keys_offset: int
    blockhash_offset: int
    instruction_data: tuple[int, ...]

    def key_offset(self, key: Pubkey) -> int:
        """Where a key stands. Raises ValueError where it is none of the message's."""
        return self.keys_offset + _KEY_BYTES * self.keys.index(key)


def compile_v0(payer: Pubkey, instructions: Sequence[Instruction], blockhash: Hash) -> Compiled:
    """The v0 message of `instructions`, without lookup tables. `payer` must be its only signer.

    Raises TransactionError where another signer is named or the signed transaction could not be sent.
    """
    keys, n_writable = _ordered(payer, instructions)
    index = {key: position for position, key in enumerate(keys)}
    count = _compact(len(keys))
    # One signer that is written; then those that are written; the read-only ones stand last.
    head = bytes((_VERSION_0, 1, 0, len(keys) - n_writable)) + count + b"".join(map(bytes, keys)) + bytes(blockhash)
    body, offsets = bytearray(head + _compact(len(instructions))), []
    for one in instructions:
        accounts = bytes([index[meta.pubkey] for meta in one.accounts])
        data = bytes(one.data)
        body += bytes((index[one.program_id],)) + _compact(len(accounts)) + accounts + _compact(len(data))
        offsets.append(len(body))
        body += data
    body += _compact(0)
    size = 1 + _SIGNATURE_BYTES + len(body)
    if size > MAX_TRANSACTION_BYTES:
        raise TransactionError(
            f"the transaction has {size} bytes, at most {MAX_TRANSACTION_BYTES} can be sent: use fewer instructions"
        )
    keys_offset = _HEAD_BYTES + len(count)
    return Compiled(bytes(body), keys, keys_offset, keys_offset + _KEY_BYTES * len(keys), tuple(offsets))


def wire(message: bytes, signature: bytes) -> bytes:
    """The transaction as it is sent: one signature, then the message. Raises TransactionError for a cut signature."""
    if len(signature) != _SIGNATURE_BYTES:
        raise TransactionError(f"a signature has {_SIGNATURE_BYTES} bytes, found {len(signature)}: sign the message")
    return b"\x01" + signature + message


def _ordered(payer: Pubkey, instructions: Sequence[Instruction]) -> tuple[tuple[Pubkey, ...], int]:
    """Payer, other written keys, read-only keys; and how many of them are written."""
    written: dict[Pubkey, None] = {payer: None}
    for one in instructions:
        for meta in one.accounts:
            if meta.is_signer and meta.pubkey != payer:
                raise TransactionError(f"{meta.pubkey} would have to sign too: only the payer {payer} signs here")
            if meta.is_writable:
                written[meta.pubkey] = None
    read: dict[Pubkey, None] = {}
    for one in instructions:
        for key in (*[meta.pubkey for meta in one.accounts], one.program_id):
            if key not in written:
                read[key] = None
    keys = (*written, *read)
    if len(keys) > _MAX_KEYS:
        raise TransactionError(f"{len(keys)} accounts, at most {_MAX_KEYS} fit: use fewer instructions")
    return keys, len(written)


def _compact(number: int) -> bytes:
    """A length as Solana's compact-u16 writes it: seven bits a byte, the lowest first."""
    if number < 0x80:
        return bytes((number,))
    return (
        bytes((number & 0x7F | 0x80, number >> 7))
        if number < 0x4000
        else bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    )
