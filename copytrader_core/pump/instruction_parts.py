"""What instruction builders share: the value objects that name a coin, a pool and fee recipients, and byte encodings.

The builders themselves are in `curve_instructions` and `amm_instructions`.
"""

from __future__ import annotations

from solders.instruction import AccountMeta
from solders.pubkey import Pubkey

from copytrader_core.pump.addresses import ZERO_KEY
from copytrader_core.quick import quick_record
from copytrader_core.solana.programs import (
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
    WSOL_MINT,
    associated_token_address,
)


@quick_record
class CurveCoin:
    """What an instruction must know of a coin on the curve. `creator` is not needed by the v3 instructions."""

    mint: Pubkey
    creator: Pubkey = ZERO_KEY
    token_program: Pubkey = TOKEN_2022_PROGRAM
    quote_mint: Pubkey = WSOL_MINT
    quote_token_program: Pubkey = TOKEN_PROGRAM
    is_cashback: bool = False


@quick_record
class PumpPool:
    """What an instruction must know of a PumpSwap pool. Its two vaults are always the pool's associated accounts."""

    address: Pubkey
    base_mint: Pubkey
    coin_creator: Pubkey = ZERO_KEY
    base_token_program: Pubkey = TOKEN_2022_PROGRAM
    quote_mint: Pubkey = WSOL_MINT
    quote_token_program: Pubkey = TOKEN_PROGRAM
    is_cashback: bool = False

    @property
    def base_vault(self) -> Pubkey:
        """The pool's token account for the base mint."""
        return associated_token_address(self.address, self.base_mint, self.base_token_program)

    @property
    def quote_vault(self) -> Pubkey:
        """The pool's token account for the quote mint."""
        return associated_token_address(self.address, self.quote_mint, self.quote_token_program)


@quick_record
class FeeRecipients:
    """The two wallets that a v1 or v2 curve trade or a v1 PumpSwap trade pays: any members of Global's lists."""

    protocol: Pubkey
    buyback: Pubkey


def readonly(key: Pubkey) -> AccountMeta:
    """An account that is only read."""
    return AccountMeta(key, is_signer=False, is_writable=False)


def writable(key: Pubkey) -> AccountMeta:
    """An account that is written."""
    return AccountMeta(key, is_signer=False, is_writable=True)


def signer(key: Pubkey) -> AccountMeta:
    """An account that is written and must sign."""
    return AccountMeta(key, is_signer=True, is_writable=True)


def u64s(discriminator: bytes, *amounts: int) -> bytes:
    """A discriminator followed by u64 arguments."""
    return discriminator + b"".join(amount.to_bytes(8, "little") for amount in amounts)


def flag(value: bool) -> bytes:
    """A borsh bool."""
    return b"\x01" if value else b"\x00"


def text(value: str) -> bytes:
    """A borsh string."""
    raw = value.encode()
    return len(raw).to_bytes(4, "little") + raw
