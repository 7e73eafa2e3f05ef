"""Builders of PumpSwap's instructions: account order, flags and data as the deployed program wants them.

Beyond the interface file's lists v1 trades name pool-v2 (coins with a creator), a buyback wallet with its quote
account, and on cashback coins the user's volume accounts. wSOL must be wrapped before the trade.
"""

from __future__ import annotations

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from copytrader_core.pump import addresses as a
from copytrader_core.pump.instruction_parts import FeeRecipients, PumpPool, flag, readonly, signer, u64s, writable
from copytrader_core.solana.programs import (
    ASSOCIATED_TOKEN_PROGRAM,
    SYSTEM_PROGRAM,
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
    associated_token_address,
)

_BUY = bytes.fromhex("66063d1201daebea")
_SELL = bytes.fromhex("33e685a4017f83ad")
_BUY_EXACT_QUOTE_IN = bytes.fromhex("c62e1552b4d9e870")
_BUY_V2 = bytes.fromhex("b817ee6167c5d33d")
_SELL_V2 = bytes.fromhex("5df6823ce7e940b2")
_BUY_EXACT_QUOTE_IN_V2 = bytes.fromhex("c2ab1c46684d5b2f")
_CREATE_POOL = bytes.fromhex("e992d18ecf6840bc")
_DEPOSIT = bytes.fromhex("f223c68952e1f2b6")
_WITHDRAW = bytes.fromhex("b712469c946da122")


def _user_base(pool: PumpPool, user: Pubkey) -> Pubkey:
    return associated_token_address(user, pool.base_mint, pool.base_token_program)


def _quote_account(pool: PumpPool, owner: Pubkey) -> Pubkey:
    return associated_token_address(owner, pool.quote_mint, pool.quote_token_program)


def _trade_head(pool: PumpPool, user: Pubkey) -> list[AccountMeta]:
    return [
        writable(pool.address),
        signer(user),
        readonly(a.AMM_GLOBAL_CONFIG),
        readonly(pool.base_mint),
        readonly(pool.quote_mint),
        writable(_user_base(pool, user)),
        writable(_quote_account(pool, user)),
        writable(pool.base_vault),
        writable(pool.quote_vault),
    ]


def _v1_middle(pool: PumpPool, recipients: FeeRecipients) -> list[AccountMeta]:
    vault_authority = a.amm_creator_vault_authority(pool.coin_creator)
    return [
        readonly(recipients.protocol),
        writable(_quote_account(pool, recipients.protocol)),
        readonly(pool.base_token_program),
        readonly(pool.quote_token_program),
        readonly(SYSTEM_PROGRAM),
        readonly(ASSOCIATED_TOKEN_PROGRAM),
        readonly(a.AMM_EVENT_AUTHORITY),
        readonly(a.AMM_PROGRAM),
        writable(_quote_account(pool, vault_authority)),
        readonly(vault_authority),
    ]


def _v1_tail(pool: PumpPool, recipients: FeeRecipients) -> list[AccountMeta]:
    pool_v2 = [] if pool.coin_creator == a.ZERO_KEY else [readonly(a.pool_v2(pool.base_mint))]
    return [*pool_v2, readonly(recipients.buyback), writable(_quote_account(pool, recipients.buyback))]


def _v1_buy(pool: PumpPool, user: Pubkey, recipients: FeeRecipients, data: bytes) -> Instruction:
    accumulator = a.amm_user_volume_accumulator(user)
    cashback = [writable(_quote_account(pool, accumulator))] if pool.is_cashback else []
    accounts = [
        *_trade_head(pool, user),
        *_v1_middle(pool, recipients),
        readonly(a.AMM_GLOBAL_VOLUME_ACCUMULATOR),
        writable(accumulator),
        readonly(a.AMM_FEE_CONFIG),
        readonly(a.FEE_PROGRAM),
        *cashback,
        *_v1_tail(pool, recipients),
    ]
    return Instruction(a.AMM_PROGRAM, data, accounts)


def amm_buy(
    pool: PumpPool,
    user: Pubkey,
    recipients: FeeRecipients,
    base_out: int,
    max_quote_in: int,
    *,
    track_volume: bool = True,
) -> Instruction:
    """Buy exactly `base_out` for at most `max_quote_in`. Also for cashback coins, which v2 refuses."""
    return _v1_buy(pool, user, recipients, u64s(_BUY, base_out, max_quote_in) + flag(track_volume))


def amm_buy_exact_quote_in(
    pool: PumpPool,
    user: Pubkey,
    recipients: FeeRecipients,
    spend_quote: int,
    min_base_out: int,
    *,
    track_volume: bool = True,
) -> Instruction:
    """Spend exactly `spend_quote`, fees included, for at least `min_base_out`. Also for cashback coins."""
    return _v1_buy(pool, user, recipients, u64s(_BUY_EXACT_QUOTE_IN, spend_quote, min_base_out) + flag(track_volume))


def amm_sell(pool: PumpPool, user: Pubkey, recipients: FeeRecipients, base_in: int, min_quote_out: int) -> Instruction:
    """Sell `base_in` for at least `min_quote_out`. Also for cashback coins."""
    accumulator = a.amm_user_volume_accumulator(user)
    cashback = [writable(_quote_account(pool, accumulator)), writable(accumulator)] if pool.is_cashback else []
    accounts = [
        *_trade_head(pool, user),
        *_v1_middle(pool, recipients),
        readonly(a.AMM_FEE_CONFIG),
        readonly(a.FEE_PROGRAM),
        *cashback,
        *_v1_tail(pool, recipients),
    ]
    return Instruction(a.AMM_PROGRAM, u64s(_SELL, base_in, min_quote_out), accounts)


def _v2(pool: PumpPool, user: Pubkey, buyback: Pubkey, data: bytes) -> Instruction:
    accounts = [
        *_trade_head(pool, user),
        readonly(pool.base_token_program),
        readonly(pool.quote_token_program),
        readonly(SYSTEM_PROGRAM),
        writable(a.amm_user_volume_accumulator(user)),
        readonly(a.AMM_FEE_CONFIG),
        writable(_quote_account(pool, buyback)),
        readonly(a.AMM_EVENT_AUTHORITY),
        readonly(a.AMM_PROGRAM),
    ]
    return Instruction(a.AMM_PROGRAM, data, accounts)


def amm_buy_v2(pool: PumpPool, user: Pubkey, buyback: Pubkey, base_out: int, max_quote_in: int) -> Instruction:
    """Buy exactly `base_out` for at most `max_quote_in`. Both of the user's token accounts must exist.

    Cashback coins are refused (6079). `buyback` is a wallet of `BUYBACK_FEE_RECIPIENTS`.
    """
    return _v2(pool, user, buyback, u64s(_BUY_V2, base_out, max_quote_in))


def amm_buy_exact_quote_in_v2(
    pool: PumpPool, user: Pubkey, buyback: Pubkey, spend_quote: int, min_base_out: int
) -> Instruction:
    """Spend exactly `spend_quote`, fees included, for at least `min_base_out`. Otherwise as `amm_buy_v2`."""
    return _v2(pool, user, buyback, u64s(_BUY_EXACT_QUOTE_IN_V2, spend_quote, min_base_out))


def amm_sell_v2(pool: PumpPool, user: Pubkey, buyback: Pubkey, base_in: int, min_quote_out: int) -> Instruction:
    """Sell `base_in` for at least `min_quote_out`. Otherwise as `amm_buy_v2`."""
    return _v2(pool, user, buyback, u64s(_SELL_V2, base_in, min_quote_out))


def _liquidity(pool: PumpPool, user: Pubkey, data: bytes) -> Instruction:
    lp_mint = a.lp_mint(pool.address)
    accounts = [
        writable(pool.address),
        readonly(a.AMM_GLOBAL_CONFIG),
        AccountMeta(user, is_signer=True, is_writable=False),
        readonly(pool.base_mint),
        readonly(pool.quote_mint),
        writable(lp_mint),
        writable(_user_base(pool, user)),
        writable(_quote_account(pool, user)),
        writable(associated_token_address(user, lp_mint, TOKEN_2022_PROGRAM)),
        writable(pool.base_vault),
        writable(pool.quote_vault),
        readonly(TOKEN_PROGRAM),
        readonly(TOKEN_2022_PROGRAM),
        readonly(a.AMM_EVENT_AUTHORITY),
        readonly(a.AMM_PROGRAM),
    ]
    return Instruction(a.AMM_PROGRAM, data, accounts)


def amm_deposit(pool: PumpPool, user: Pubkey, lp_out: int, max_base_in: int, max_quote_in: int) -> Instruction:
    """Add liquidity for exactly `lp_out` liquidity tokens; the user's account for them must exist."""
    return _liquidity(pool, user, u64s(_DEPOSIT, lp_out, max_base_in, max_quote_in))


def amm_withdraw(pool: PumpPool, user: Pubkey, lp_in: int, min_base_out: int, min_quote_out: int) -> Instruction:
    """Give back `lp_in` liquidity tokens for their share of the two vaults."""
    return _liquidity(pool, user, u64s(_WITHDRAW, lp_in, min_base_out, min_quote_out))


def amm_create_pool(pool: PumpPool, user: Pubkey, index: int, base_in: int, quote_in: int) -> Instruction:
    """Open a pool that is not canonical. `pool.address` must be `addresses.pool(index, user, base_mint, quote_mint)`.

    Only the curve's own migration may name a coin creator, so none is named and no special kind of coin either.
    """
    lp_mint = a.lp_mint(pool.address)
    data = _CREATE_POOL + index.to_bytes(2, "little") + u64s(b"", base_in, quote_in)
    data += bytes(a.ZERO_KEY) + flag(False) + flag(False) + u64s(b"", 0) + flag(False) + flag(False)
    accounts = [
        writable(pool.address),
        readonly(a.AMM_GLOBAL_CONFIG),
        signer(user),
        readonly(pool.base_mint),
        readonly(pool.quote_mint),
        writable(lp_mint),
        writable(_user_base(pool, user)),
        writable(_quote_account(pool, user)),
        writable(associated_token_address(user, lp_mint, TOKEN_2022_PROGRAM)),
        writable(pool.base_vault),
        writable(pool.quote_vault),
        readonly(SYSTEM_PROGRAM),
        readonly(TOKEN_2022_PROGRAM),
        readonly(pool.base_token_program),
        readonly(pool.quote_token_program),
        readonly(ASSOCIATED_TOKEN_PROGRAM),
        readonly(a.AMM_EVENT_AUTHORITY),
        readonly(a.AMM_PROGRAM),
    ]
    return Instruction(a.AMM_PROGRAM, data, accounts)
