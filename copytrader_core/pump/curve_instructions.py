"""Builders of the curve program's instructions: account order, flags and data as the deployed program wants them.

Beyond the interface file's lists the program wants bonding-curve-v2 and a buyback recipient (oldest trades), the
cashback account, and the boost vault (migration). Amounts are raw units; quotes and limits come from `curve`.
"""

from __future__ import annotations

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from copytrader_core.pump import addresses as a
from copytrader_core.pump.instruction_parts import (
    CurveCoin,
    FeeRecipients,
    flag,
    readonly,
    signer,
    text,
    u64s,
    writable,
)
from copytrader_core.solana.programs import (
    ASSOCIATED_TOKEN_PROGRAM,
    RENT_SYSVAR,
    SYSTEM_PROGRAM,
    TOKEN_2022_PROGRAM,
    WSOL_MINT,
    associated_token_address,
)

_CREATE_V2 = bytes.fromhex("d6904cec5f8b31b4")
_BUY = bytes.fromhex("66063d1201daebea")
_SELL = bytes.fromhex("33e685a4017f83ad")
_BUY_EXACT_SOL_IN = bytes.fromhex("38fc74089edfcd5f")
_BUY_V2 = bytes.fromhex("b817ee6167c5d33d")
_SELL_V2 = bytes.fromhex("5df6823ce7e940b2")
_BUY_EXACT_QUOTE_IN_V2 = bytes.fromhex("c2ab1c46684d5b2f")
_BUY_V3 = bytes.fromhex("07051dc4f5176550")
_SELL_V3 = bytes.fromhex("1c92de7726c469d5")
_BUY_EXACT_QUOTE_IN_V3 = bytes.fromhex("e1f7501ed5b38488")
_MIGRATE_V2 = bytes.fromhex("bbcb121fceedfe29")
_EXTEND_ACCOUNT = bytes.fromhex("ea66c2cb96483ee5")


def create_v2(
    coin: CurveCoin,
    user: Pubkey,
    *,
    name: str,
    symbol: str,
    uri: str,
    is_mayhem: bool = False,
    creator_fee_bps: int = 0,
    is_holder_reward: bool = False,
) -> Instruction:
    """Create a Token-2022 coin; the mint and `user` sign. A coin not quoted in SOL names its quote accounts too.

    `creator_fee_bps` above 0 is allowed for quote mints of the quote-control list only.
    """
    mint, curve = coin.mint, a.bonding_curve(coin.mint)
    data = _CREATE_V2 + text(name) + text(symbol) + text(uri) + bytes(coin.creator) + flag(is_mayhem)
    data += flag(coin.is_cashback) + creator_fee_bps.to_bytes(8, "little") + flag(is_holder_reward)
    accounts = [
        signer(mint),
        readonly(a.PUMP_MINT_AUTHORITY),
        writable(curve),
        writable(associated_token_address(curve, mint, TOKEN_2022_PROGRAM)),
        readonly(a.PUMP_GLOBAL),
        signer(user),
        readonly(SYSTEM_PROGRAM),
        readonly(TOKEN_2022_PROGRAM),
        readonly(ASSOCIATED_TOKEN_PROGRAM),
        writable(a.MAYHEM_PROGRAM),
        readonly(a.MAYHEM_GLOBAL_PARAMS),
        writable(a.MAYHEM_SOL_VAULT),
        writable(a.mayhem_state(mint)),
        writable(associated_token_address(a.MAYHEM_SOL_VAULT, mint, TOKEN_2022_PROGRAM)),
        readonly(a.PUMP_EVENT_AUTHORITY),
        readonly(a.PUMP_PROGRAM),
    ]
    if coin.quote_mint != WSOL_MINT:
        accounts += [
            readonly(coin.quote_mint),
            writable(associated_token_address(curve, coin.quote_mint, coin.quote_token_program)),
            readonly(coin.quote_token_program),
            readonly(a.QUOTE_CONTROL),
        ]
    return Instruction(a.PUMP_PROGRAM, data, accounts)


def _legacy_head(coin: CurveCoin, user: Pubkey, recipients: FeeRecipients) -> list[AccountMeta]:
    curve = a.bonding_curve(coin.mint)
    return [
        readonly(a.PUMP_GLOBAL),
        writable(recipients.protocol),
        readonly(coin.mint),
        writable(curve),
        writable(associated_token_address(curve, coin.mint, coin.token_program)),
        writable(associated_token_address(user, coin.mint, coin.token_program)),
        signer(user),
        readonly(SYSTEM_PROGRAM),
    ]


def _legacy_buy(coin: CurveCoin, user: Pubkey, recipients: FeeRecipients, data: bytes) -> Instruction:
    accounts = [
        *_legacy_head(coin, user, recipients),
        readonly(coin.token_program),
        writable(a.creator_vault(coin.creator)),
        readonly(a.PUMP_EVENT_AUTHORITY),
        readonly(a.PUMP_PROGRAM),
        readonly(a.PUMP_GLOBAL_VOLUME_ACCUMULATOR),
        writable(a.user_volume_accumulator(user)),
        readonly(a.PUMP_FEE_CONFIG),
        readonly(a.FEE_PROGRAM),
        readonly(a.bonding_curve_v2(coin.mint)),
        writable(recipients.buyback),
    ]
    return Instruction(a.PUMP_PROGRAM, data, accounts)


def buy(
    coin: CurveCoin,
    user: Pubkey,
    recipients: FeeRecipients,
    amount_raw: int,
    max_sol_cost: int,
    *,
    track_volume: bool = True,
) -> Instruction:
    """Buy exactly `amount_raw` coins for at most `max_sol_cost` lamports. SOL-quoted coins only."""
    data = u64s(_BUY, amount_raw, max_sol_cost) + flag(track_volume)
    return _legacy_buy(coin, user, recipients, data)


def buy_exact_sol_in(
    coin: CurveCoin,
    user: Pubkey,
    recipients: FeeRecipients,
    spend_lamports: int,
    min_tokens_out: int,
    *,
    track_volume: bool = True,
) -> Instruction:
    """Spend exactly `spend_lamports`, fees included, for at least `min_tokens_out`. SOL-quoted coins only."""
    data = u64s(_BUY_EXACT_SOL_IN, spend_lamports, min_tokens_out) + flag(track_volume)
    return _legacy_buy(coin, user, recipients, data)


def sell(coin: CurveCoin, user: Pubkey, recipients: FeeRecipients, amount_raw: int, min_sol_output: int) -> Instruction:
    """Sell `amount_raw` coins for at least `min_sol_output` lamports. A cashback coin needs one more account."""
    cashback = [writable(a.user_volume_accumulator(user))] if coin.is_cashback else []
    accounts = [
        *_legacy_head(coin, user, recipients),
        writable(a.creator_vault(coin.creator)),
        readonly(coin.token_program),
        readonly(a.PUMP_EVENT_AUTHORITY),
        readonly(a.PUMP_PROGRAM),
        readonly(a.PUMP_FEE_CONFIG),
        readonly(a.FEE_PROGRAM),
        *cashback,
        readonly(a.bonding_curve_v2(coin.mint)),
        writable(recipients.buyback),
    ]
    return Instruction(a.PUMP_PROGRAM, u64s(_SELL, amount_raw, min_sol_output), accounts)


def _v2(coin: CurveCoin, user: Pubkey, recipients: FeeRecipients, data: bytes, *, is_buy: bool) -> Instruction:
    def quote_account(owner: Pubkey) -> Pubkey:
        return associated_token_address(owner, coin.quote_mint, coin.quote_token_program)

    curve, vault = a.bonding_curve(coin.mint), a.creator_vault(coin.creator)
    accumulator = a.user_volume_accumulator(user)
    accounts = [
        readonly(a.PUMP_GLOBAL),
        readonly(coin.mint),
        readonly(coin.quote_mint),
        readonly(coin.token_program),
        readonly(coin.quote_token_program),
        readonly(ASSOCIATED_TOKEN_PROGRAM),
        writable(recipients.protocol),
        writable(quote_account(recipients.protocol)),
        writable(recipients.buyback),
        writable(quote_account(recipients.buyback)),
        writable(curve),
        writable(associated_token_address(curve, coin.mint, coin.token_program)),
        writable(quote_account(curve)),
        signer(user),
        writable(associated_token_address(user, coin.mint, coin.token_program)),
        writable(quote_account(user)),
        writable(vault),
        writable(quote_account(vault)),
        readonly(a.sharing_config(coin.mint)),
        *([readonly(a.PUMP_GLOBAL_VOLUME_ACCUMULATOR)] if is_buy else []),
        writable(accumulator),
        writable(quote_account(accumulator)),
        readonly(a.PUMP_FEE_CONFIG),
        readonly(a.FEE_PROGRAM),
        readonly(SYSTEM_PROGRAM),
        readonly(a.PUMP_EVENT_AUTHORITY),
        readonly(a.PUMP_PROGRAM),
    ]
    return Instruction(a.PUMP_PROGRAM, data, accounts)


def buy_v2(
    coin: CurveCoin, user: Pubkey, recipients: FeeRecipients, amount_raw: int, max_quote_cost: int
) -> Instruction:
    """Buy exactly `amount_raw` coins for at most `max_quote_cost`, on any quote mint, cashback coins too."""
    return _v2(coin, user, recipients, u64s(_BUY_V2, amount_raw, max_quote_cost), is_buy=True)


def buy_exact_quote_in_v2(
    coin: CurveCoin, user: Pubkey, recipients: FeeRecipients, spend_quote: int, min_tokens_out: int
) -> Instruction:
    """Spend exactly `spend_quote`, fees included, for at least `min_tokens_out`."""
    return _v2(coin, user, recipients, u64s(_BUY_EXACT_QUOTE_IN_V2, spend_quote, min_tokens_out), is_buy=True)


def sell_v2(
    coin: CurveCoin, user: Pubkey, recipients: FeeRecipients, amount_raw: int, min_quote_output: int
) -> Instruction:
    """Sell `amount_raw` coins for at least `min_quote_output`, on any quote mint, cashback coins too."""
    return _v2(coin, user, recipients, u64s(_SELL_V2, amount_raw, min_quote_output), is_buy=False)


def _v3(coin: CurveCoin, user: Pubkey, buyback: Pubkey, data: bytes) -> Instruction:
    def quote_account(owner: Pubkey) -> Pubkey:
        return associated_token_address(owner, coin.quote_mint, coin.quote_token_program)

    curve = a.bonding_curve(coin.mint)
    accounts = [
        readonly(a.PUMP_GLOBAL),
        readonly(coin.mint),
        readonly(coin.quote_mint),
        readonly(coin.token_program),
        readonly(coin.quote_token_program),
        writable(curve),
        writable(associated_token_address(curve, coin.mint, coin.token_program)),
        writable(quote_account(curve)),
        signer(user),
        writable(associated_token_address(user, coin.mint, coin.token_program)),
        writable(quote_account(user)),
        writable(a.user_volume_accumulator(user)),
        readonly(a.PUMP_FEE_CONFIG),
        writable(buyback if coin.quote_mint == WSOL_MINT else quote_account(buyback)),
        readonly(SYSTEM_PROGRAM),
        readonly(a.PUMP_EVENT_AUTHORITY),
        readonly(a.PUMP_PROGRAM),
    ]
    return Instruction(a.PUMP_PROGRAM, data, accounts)


def _partial(partial_fill: bool | None) -> bytes:
    return b"" if partial_fill is None else flag(partial_fill)


def buy_v3(
    coin: CurveCoin,
    user: Pubkey,
    buyback: Pubkey,
    amount_raw: int,
    max_quote_cost: int,
    *,
    partial_fill: bool | None = None,
) -> Instruction:
    """Buy exactly `amount_raw` coins for at most `max_quote_cost`, past the curve's end if need be.

    Refused for cashback coins (6094). The user's token account must exist; `buyback` is a wallet from Global.
    """
    data = u64s(_BUY_V3, amount_raw, max_quote_cost) + _partial(partial_fill)
    return _v3(coin, user, buyback, data)


def buy_exact_quote_in_v3(
    coin: CurveCoin,
    user: Pubkey,
    buyback: Pubkey,
    spend_quote: int,
    min_tokens_out: int,
    *,
    partial_fill: bool | None = None,
) -> Instruction:
    """Spend exactly `spend_quote`, fees included, for at least `min_tokens_out`. Otherwise as `buy_v3`."""
    data = u64s(_BUY_EXACT_QUOTE_IN_V3, spend_quote, min_tokens_out) + _partial(partial_fill)
    return _v3(coin, user, buyback, data)


def sell_v3(coin: CurveCoin, user: Pubkey, buyback: Pubkey, amount_raw: int, min_quote_output: int) -> Instruction:
    """Sell `amount_raw` coins for at least `min_quote_output`. Not for cashback coins."""
    return _v3(coin, user, buyback, u64s(_SELL_V3, amount_raw, min_quote_output))


def migrate_v2(coin: CurveCoin, user: Pubkey, withdraw_authority: Pubkey) -> Instruction:
    """Move a complete curve into its PumpSwap pool. Anyone may send it; `withdraw_authority` stands in Global.

    The two boost accounts follow the interface's own 27, or the program answers 6027.
    """
    base, quote, authority = coin.mint, coin.quote_mint, a.pool_authority(coin.mint)
    curve, pool = a.bonding_curve(base), a.canonical_pool(base, quote)
    lp_mint, boost = a.lp_mint(pool), a.boost_vault_authority(pool)
    base_program, quote_program = coin.token_program, coin.quote_token_program
    accounts = [
        readonly(a.PUMP_GLOBAL),
        writable(withdraw_authority),
        readonly(base),
        readonly(quote),
        writable(curve),
        writable(associated_token_address(curve, base, base_program)),
        writable(associated_token_address(curve, quote, quote_program)),
        signer(user),
        readonly(SYSTEM_PROGRAM),
        readonly(a.AMM_PROGRAM),
        writable(pool),
        writable(authority),
        writable(associated_token_address(authority, base, base_program)),
        writable(associated_token_address(authority, quote, quote_program)),
        readonly(a.AMM_GLOBAL_CONFIG),
        writable(lp_mint),
        writable(associated_token_address(authority, lp_mint, TOKEN_2022_PROGRAM)),
        writable(associated_token_address(pool, base, base_program)),
        writable(associated_token_address(pool, quote, quote_program)),
        readonly(base_program),
        readonly(quote_program),
        readonly(TOKEN_2022_PROGRAM),
        readonly(ASSOCIATED_TOKEN_PROGRAM),
        readonly(a.AMM_EVENT_AUTHORITY),
        readonly(RENT_SYSVAR),
        readonly(a.PUMP_EVENT_AUTHORITY),
        readonly(a.PUMP_PROGRAM),
        readonly(boost),
        writable(associated_token_address(boost, quote, quote_program)),
    ]
    return Instruction(a.PUMP_PROGRAM, _MIGRATE_V2, accounts)


def extend_curve(mint: Pubkey, user: Pubkey) -> Instruction:
    """Grow an old curve account to today's size; `user` pays the rent."""
    accounts = [
        writable(a.bonding_curve(mint)),
        signer(user),
        readonly(SYSTEM_PROGRAM),
        readonly(a.PUMP_EVENT_AUTHORITY),
        readonly(a.PUMP_PROGRAM),
    ]
    return Instruction(a.PUMP_PROGRAM, _EXTEND_ACCOUNT, accounts)
