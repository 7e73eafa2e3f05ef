"""Addresses of Solana's own programs and of associated token accounts. Nothing here knows pump.fun."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from solders.pubkey import Pubkey

SYSTEM_PROGRAM: Final = Pubkey.from_string("11111111111111111111111111111111")
TOKEN_PROGRAM: Final = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022_PROGRAM: Final = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED_TOKEN_PROGRAM: Final = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
RENT_SYSVAR: Final = Pubkey.from_string("SysvarRent111111111111111111111111111111111")
WSOL_MINT: Final = Pubkey.from_string("So11111111111111111111111111111111111111112")

ADDRESS_CACHE_SIZE: Final = 1 << 14
"""Derived addresses kept per function. One derivation costs 11-14 microseconds, a hit well under one."""


@lru_cache(maxsize=ADDRESS_CACHE_SIZE)
def associated_token_address(owner: Pubkey, mint: Pubkey, token_program: Pubkey) -> Pubkey:
    """The account in which `owner` holds `mint`. `token_program` is the mint's: classic SPL or Token-2022."""
    seeds = [bytes(owner), bytes(token_program), bytes(mint)]
    return Pubkey.find_program_address(seeds, ASSOCIATED_TOKEN_PROGRAM)[0]
