"""Base58 as Solana writes it: addresses and signatures through solders, data of any length by arithmetic."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from solders.pubkey import Pubkey
from solders.signature import Signature

from copytrader_core.errors import DecodeError

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS: Final = {char: value for value, char in enumerate(_ALPHABET)}
# 58**10 is the largest power whose digits are joined in one machine word.
_CHUNK: Final = 10


@lru_cache(maxsize=1 << 16)
def address_text(key: bytes) -> str:
    """The base58 text of a 32-byte address. Cached: the same few thousand accounts stand in most transactions."""
    return str(Pubkey(key))


@lru_cache(maxsize=1 << 16)
def address_bytes(text: str) -> bytes:
    """The 32 bytes of a base58 address. Raises DecodeError where the text is not one."""
    try:
        return bytes(Pubkey.from_string(text))
    except (ValueError, TypeError) as error:
        raise DecodeError(f"expected a base58 address, found {text!r}") from error


def signature_text(signature: bytes) -> str:
    """The base58 text of a 64-byte signature."""
    return str(Signature(signature))


def signature_bytes(text: str) -> bytes:
    """The 64 bytes of a base58 signature. Raises DecodeError where the text is not one."""
    try:
        return bytes(Signature.from_string(text))
    except (ValueError, TypeError) as error:
        raise DecodeError(f"expected a base58 signature, found {text!r}") from error


def decode(text: str) -> bytes:
    """The bytes of any base58 text, as in instruction data. Raises DecodeError at a character that is not base58."""
    value = 0
    try:
        for at in range(0, len(text), _CHUNK):
            part = 0
            chunk = text[at : at + _CHUNK]
            for char in chunk:
                part = part * 58 + _DIGITS[char]
            value = value * 58 ** len(chunk) + part
    except KeyError as error:
        raise DecodeError(f"expected base58 text, found the character {error.args[0]!r}") from error
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + value.to_bytes((value.bit_length() + 7) // 8, "big")
