"""Whole transactions of a copied trade as message bytes: buy, sell, migrate, on the curve and on PumpSwap.

Amounts, limits of slippage and fees are the caller's; nothing is quoted, signed or sent here. The curve takes the v3
instructions, but v2 for cashback coins, which v3 refuses; PumpSwap takes v2, but v1 for cashback coins. The curve's
oldest instructions are never needed: v2 trades every coin that they trade. Compute limits are fixed per kind of
transaction, from what the deployed programs used, so that nothing has to be simulated first.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Self

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.system_program import AdvanceNonceAccountParams, advance_nonce_account

from copytrader_core.errors import TransactionError
from copytrader_core.pump import addresses as a
from copytrader_core.pump import instructions as ix
from copytrader_core.pump.accounts import Global, GlobalConfig
from copytrader_core.pump.instructions import FeeRecipients, PumpPool
from copytrader_core.quick import quick_record
from copytrader_core.solana.coins import Coin
from copytrader_core.solana.compile import Compiled, compile_v0, wire
from copytrader_core.solana.message import close_token_account, create_token_account, transfer_sol, unwrap_sol, wrap_sol
from copytrader_core.solana.programs import TOKEN_PROGRAM, WSOL_MINT

__all__ = ["RECIPIENTS", "Charges", "Nonce", "Recipients", "Wsol", "buy", "migrate", "sell", "wire"]

MAX_U64: Final = 2**64 - 1
_MICRO: Final = 1_000_000

_CU_BUY_V3: Final = 90_000
_CU_SELL_V3: Final = 70_000
_CU_BUY_V2: Final = 130_000
_CU_SELL_V2: Final = 110_000
_CU_POOL_V2_SELL: Final = 90_000
# The swap (61,400 at most) and two token accounts that may have to be opened (17,300 each).
_CU_POOL_V2_BUY: Final = 115_000
_CU_POOL_V1_BUY: Final = 140_000
_CU_POOL_V1_SELL: Final = 130_000
_CU_MIGRATE: Final = 400_000
# The programs open a volume account for a wallet's first trade; the buy that completes a curve trades on its pool too.
_CU_NEW_WALLET: Final = 20_000
_CU_NEW_WALLET_V1: Final = 70_000
_CU_COMPLETING: Final = 30_000


class Wsol(StrEnum):
    """Where a pool trade's SOL lies. PumpSwap pays in wrapped SOL only; the curve pays in plain SOL."""

    FUNDED = "funded"
    """Our wSOL account stays open and holds enough: nothing but the swap. Saves 15,000 compute units a trade."""
    WRAP = "wrap"
    """The account is opened if need be, a buy's spend is wrapped into it, and it stays open."""
    CLOSE = "close"
    """As WRAP, and closed at the end: everything in it becomes plain SOL. Breaks trades under way beside it."""


@quick_record
class Charges:
    """What is paid for being early, in lamports: exactly `priority_fee_lamports`, and a tip inside the transaction."""

    priority_fee_lamports: int = 0
    tip_lamports: int = 0
    tip_account: Pubkey | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.priority_fee_lamports <= MAX_U64 // _MICRO or not 0 <= self.tip_lamports <= MAX_U64:
            raise TransactionError(f"a fee or tip must be 0 or more lamports and fit its field, found {self}")
        if self.tip_lamports and self.tip_account is None:
            raise TransactionError(
                f"a tip of {self.tip_lamports} lamports needs a tip account: take one of the relay's"
            )

    def price(self, cu_limit: int) -> int:
        """Micro-lamports per compute unit so that the fee, rounded up by the chain, is the one that is meant.

        The chain charges ceil(price * limit / 1e6); rounding the price down is exact for limits up to 1,000,000.
        """
        return self.priority_fee_lamports * _MICRO // cu_limit


@quick_record
class Nonce:
    """A durable nonce that the owner may advance: `blockhash` is its stored value, and the message's lifetime."""

    account: Pubkey
    blockhash: Hash


@quick_record
class Recipients:
    """The wallets of which a trade must name one. The choice follows from the mint: the trades of a coin wait for each
    other anyway, and those of two coins mostly name two wallets."""

    protocol: Sequence[Pubkey] = a.FEE_RECIPIENTS
    mayhem: Sequence[Pubkey] = a.MAYHEM_FEE_RECIPIENTS
    amm_protocol: Sequence[Pubkey] = a.AMM_FEE_RECIPIENTS
    amm_mayhem: Sequence[Pubkey] = a.MAYHEM_FEE_RECIPIENTS
    buybacks: Sequence[Pubkey] = a.BUYBACK_FEE_RECIPIENTS

    @classmethod
    def of(cls, settings: Global, amm_settings: GlobalConfig) -> Self:
        """The live lists, from the two programs' settings accounts."""
        return cls(
            settings.protocol_recipients(),
            settings.protocol_recipients(is_mayhem=True),
            amm_settings.protocol_recipients(),
            amm_settings.protocol_recipients(is_mayhem=True),
            settings.buyback_recipients,
        )

    def buyback(self, mint: Pubkey) -> Pubkey:
        """The buyback recipient of a coin's trades."""
        return self.buybacks[bytes(mint)[31] % len(self.buybacks)]

    def both(self, coin: Coin) -> FeeRecipients:
        """The two wallets that an instruction of an older version names."""
        if coin.pool is None:
            choices = self.mayhem if coin.is_mayhem else self.protocol
        else:
            choices = self.amm_mayhem if coin.is_mayhem else self.amm_protocol
        return FeeRecipients(choices[bytes(coin.mint)[30] % len(choices)], self.buyback(coin.mint))


RECIPIENTS: Final = Recipients()
"""As of 2026-10. Prefer `Recipients.of` with accounts read at the start."""


@quick_record
class Plan:
    """The instructions of a trade between the compute budget and the tip; `wrap` is the place of the SOL transfer."""

    body: tuple[Instruction, ...]
    swap: int
    cu_limit: int
    wrap: int | None = None


@quick_record
class Laid:
    """A compiled trade and the byte offsets of its amounts (u64, little endian). Absent ones are None."""

    compiled: Compiled
    price: int
    first: int
    second: int
    wrap: int | None
    tip: int | None


def buy(
    owner: Pubkey,
    coin: Coin,
    spend_lamports: int,
    min_tokens_raw: int,
    charges: Charges,
    blockhash: Hash,
    *,
    new_wallet: bool,
    may_complete: bool = False,
    wsol: Wsol = Wsol.CLOSE,
    nonce: Nonce | None = None,
    recipients: Recipients = RECIPIENTS,
) -> bytes:
    """The message that spends exactly `spend_lamports`, swap fees included, for `min_tokens_raw` coins or more.

    Our account for the coin is opened if need be. `new_wallet`: this may be the owner's first trade with the program.
    `may_complete`: the spend may go past the curve's end. Raises TransactionError for what cannot be built.
    """
    plan = plan_buy(
        owner,
        coin,
        spend_lamports,
        min_tokens_raw,
        new_wallet=new_wallet,
        may_complete=may_complete,
        wsol=wsol,
        recipients=recipients,
    )
    return lay(owner, plan, charges, blockhash, nonce).compiled.message


def sell(
    owner: Pubkey,
    coin: Coin,
    tokens_raw: int,
    min_out_lamports: int,
    charges: Charges,
    blockhash: Hash,
    *,
    close_account: bool,
    wsol: Wsol = Wsol.CLOSE,
    nonce: Nonce | None = None,
    recipients: Recipients = RECIPIENTS,
) -> bytes:
    """The message that sells `tokens_raw` coins for `min_out_lamports` or more, swap fees taken off.

    `close_account` gets our account's rent back and fails on chain unless `tokens_raw` is all that it holds.
    """
    plan = plan_sell(
        owner, coin, tokens_raw, min_out_lamports, close_account=close_account, wsol=wsol, recipients=recipients
    )
    return lay(owner, plan, charges, blockhash, nonce).compiled.message


def migrate(
    owner: Pubkey,
    coin: Coin,
    withdraw_authority: Pubkey,
    charges: Charges,
    blockhash: Hash,
    *,
    nonce: Nonce | None = None,
) -> bytes:
    """The message that moves a complete curve into its pool. Anyone may; it costs about 0.002 SOL.

    `withdraw_authority` stands in the curve program's Global account.
    """
    plan = Plan((ix.migrate_v2(coin.on_curve, owner, withdraw_authority),), 0, _CU_MIGRATE)
    return _compiled(owner, plan, charges, blockhash, nonce).message


def plan_buy(
    owner: Pubkey,
    coin: Coin,
    spend: int,
    least: int,
    *,
    new_wallet: bool,
    may_complete: bool,
    wsol: Wsol,
    recipients: Recipients,
) -> Plan:
    """What a buy consists of. Arguments as of `buy`."""
    _check(coin, spend, least)
    extra = _CU_NEW_WALLET * new_wallet
    account = create_token_account(owner, owner, coin.mint, coin.base_token_program)
    if coin.pool is not None:
        before, after = _wrapping(owner, wsol, spend)
        body = (account, *before, _pool_buy(owner, coin, coin.pool, spend, least, recipients), *after)
        limit = _CU_POOL_V1_BUY + _CU_NEW_WALLET_V1 * new_wallet if coin.is_cashback else _CU_POOL_V2_BUY + extra
        return Plan(body, 1 + len(before), limit, None if wsol is Wsol.FUNDED else 2)
    if coin.is_cashback:
        swap = ix.buy_exact_quote_in_v2(coin.on_curve, owner, recipients.both(coin), spend, least)
        return Plan((account, swap), 1, _CU_BUY_V2 + extra)
    # A mayhem coin's last buy is refused unless it may be filled in part.
    partial = True if may_complete and coin.is_mayhem else None
    swap = ix.buy_exact_quote_in_v3(
        coin.on_curve, owner, recipients.buyback(coin.mint), spend, least, partial_fill=partial
    )
    return Plan((account, swap), 1, _CU_BUY_V3 + extra + _CU_COMPLETING * may_complete)


def plan_sell(
    owner: Pubkey, coin: Coin, tokens: int, least: int, *, close_account: bool, wsol: Wsol, recipients: Recipients
) -> Plan:
    """What a sale consists of. Arguments as of `sell`."""
    _check(coin, tokens, least)
    closing = (close_token_account(owner, coin.mint, coin.base_token_program),) if close_account else ()
    if coin.pool is not None:
        before, after = _wrapping(owner, wsol, None)
        swap = _pool_sell(owner, coin, coin.pool, tokens, least, recipients)
        limit = _CU_POOL_V1_SELL if coin.is_cashback else _CU_POOL_V2_SELL
        return Plan((*before, swap, *after, *closing), len(before), limit)
    if coin.is_cashback:
        swap = ix.sell_v2(coin.on_curve, owner, recipients.both(coin), tokens, least)
        return Plan((swap, *closing), 0, _CU_SELL_V2)
    swap = ix.sell_v3(coin.on_curve, owner, recipients.buyback(coin.mint), tokens, least)
    return Plan((swap, *closing), 0, _CU_SELL_V3)


def lay(owner: Pubkey, plan: Plan, charges: Charges, blockhash: Hash, nonce: Nonce | None) -> Laid:
    """Compiles a planned trade and finds its amounts."""
    compiled = _compiled(owner, plan, charges, blockhash, nonce)
    start = 2 if nonce is None else 3
    data = compiled.instruction_data
    # A swap's two amounts follow its discriminator; a SOL transfer's amount follows the instruction's number (u32).
    swap = data[start + plan.swap] + 8
    return Laid(
        compiled,
        price=data[start - 1] + 1,
        first=swap,
        second=swap + 8,
        wrap=None if plan.wrap is None else data[start + plan.wrap] + 4,
        tip=data[-1] + 4 if charges.tip_lamports else None,
    )


def _compiled(owner: Pubkey, plan: Plan, charges: Charges, blockhash: Hash, nonce: Nonce | None) -> Compiled:
    everything = [
        # The chain takes a nonce for one only where its advance comes first.
        *([] if nonce is None else [_advanced(nonce, owner)]),
        set_compute_unit_limit(plan.cu_limit),
        set_compute_unit_price(charges.price(plan.cu_limit)),
        *plan.body,
    ]
    if charges.tip_lamports and charges.tip_account is not None:
        everything.append(transfer_sol(owner, charges.tip_account, charges.tip_lamports))
    return compile_v0(owner, everything, blockhash if nonce is None else nonce.blockhash)


def _advanced(nonce: Nonce, owner: Pubkey) -> Instruction:
    return advance_nonce_account(AdvanceNonceAccountParams(nonce_pubkey=nonce.account, authorized_pubkey=owner))


def _check(coin: Coin, first: int, second: int) -> None:
    if coin.quote_mint != WSOL_MINT:
        raise TransactionError(f"{coin.mint} is paid in {coin.quote_mint}: only coins paid in SOL are traded")
    check_amounts(first, second)


def check_amounts(first: int, second: int) -> None:
    """Raises TransactionError unless the amount is positive and both fit their field."""
    if not 0 < first <= MAX_U64 or not 0 <= second <= MAX_U64:
        raise TransactionError(
            f"an amount must be 1..{MAX_U64} and its limit 0 or more, found {first} and {second}: quote the trade again"
        )


def _wrapping(owner: Pubkey, wsol: Wsol, spend: int | None) -> tuple[tuple[Instruction, ...], tuple[Instruction, ...]]:
    """What comes before and after a pool trade; `spend` None for a sale."""
    if wsol is Wsol.FUNDED:
        return (), ()
    opened = create_token_account(owner, owner, WSOL_MINT, TOKEN_PROGRAM)
    before = (opened,) if spend is None else (opened, *wrap_sol(owner, spend))
    return before, (unwrap_sol(owner),) if wsol is Wsol.CLOSE else ()


def _pool_buy(owner: Pubkey, coin: Coin, pool: PumpPool, spend: int, least: int, recipients: Recipients) -> Instruction:
    if coin.is_cashback:
        return ix.amm_buy_exact_quote_in(pool, owner, recipients.both(coin), spend, least)
    return ix.amm_buy_exact_quote_in_v2(pool, owner, recipients.buyback(coin.mint), spend, least)


def _pool_sell(
    owner: Pubkey, coin: Coin, pool: PumpPool, tokens: int, least: int, recipients: Recipients
) -> Instruction:
    if coin.is_cashback:
        return ix.amm_sell(pool, owner, recipients.both(coin), tokens, least)
    return ix.amm_sell_v2(pool, owner, recipients.buyback(coin.mint), tokens, least)
