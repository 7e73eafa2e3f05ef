"""What transactions do to lamports, coins and curves. Blocks, forks and time are the chain's.

Of our own transactions every instruction is executed that a curve trade has; anything else fails as an unknown
instruction and is noted in `UNMODELLED`. The others' trades are taken as they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.hash import Hash
from solders.message import to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.errors import QuoteError
from copytrader_core.pump import addresses as a
from copytrader_core.pump import curve
from copytrader_core.pump.curve import CurveQuote, CurveState, V3BuyQuote
from copytrader_core.pump.fees import Fees
from copytrader_core.solana.programs import (
    ASSOCIATED_TOKEN_PROGRAM,
    SYSTEM_PROGRAM,
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
    associated_token_address,
)

FEES: Final = Fees(0, 95, 30)
ATA_RENT: Final = 2_074_080
VOLUME_ACCOUNT_RENT: Final = 1_844_400
LEAST_BALANCE: Final = 890_880
SIGNATURE_FEE: Final = 5_000
UNMODELLED: Final[Counter[str]] = Counter()
"""Instructions of ours that the model chain does not know, with how often they came."""

_BUY_EXACT_IN, _BUY = bytes.fromhex("e1f7501ed5b38488"), bytes.fromhex("07051dc4f5176550")
_SELL = bytes.fromhex("1c92de7726c469d5")
_NO_MINT, _BASE_USER, _USER = 1, 9, 8
_INSTRUCTION_ERROR, _CUSTOM = 8, 25
# Places in the runtime's enumeration of instruction errors.
_INVALID_DATA, _INVALID_ACCOUNT = 2, 3

Side = Literal["BUY", "SELL"]


@dataclass(slots=True)
class State:
    """Everything that transactions change. A coin in `coins` is an account of ours, with 0 while it is empty."""

    lamports: int
    coins: dict[Pubkey, int] = field(default_factory=dict)
    has_volume_account: bool = False
    curves: dict[Pubkey, CurveState] = field(default_factory=dict)
    crowd: dict[tuple[Pubkey, Pubkey], int] = field(default_factory=dict)
    """(wallet, mint) -> coins of everybody else."""

    def copy(self) -> State:
        """A state of its own."""
        return State(self.lamports, dict(self.coins), self.has_volume_account, dict(self.curves), dict(self.crowd))


@dataclass(frozen=True, slots=True)
class Trade:
    """Somebody else's trade: `amount` lamports to spend, coins to sell, or coins to buy where `completes`."""

    signature: bytes
    wallet: Pubkey
    mint: Pubkey
    is_buy: bool
    amount: int
    completes: bool = False


@dataclass(frozen=True, slots=True)
class Wire:
    """A signed transaction of ours, read once. `fee` is signatures and priority, in lamports."""

    raw: bytes
    signature: bytes
    transaction: VersionedTransaction
    blockhash: Hash
    payer: Pubkey
    instructions: tuple[tuple[Pubkey, tuple[Pubkey, ...], bytes], ...]
    fee: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What a swap of ours did. `rent` is what accounts cost (or gave back, negative)."""

    side: Side
    mint: Pubkey
    base_raw: int
    quote_lamports: int


@dataclass(slots=True)
class Receipt:
    """One executed transaction: what it says and what it changed. Lamports and coins are (before, after)."""

    source: Trade | Wire
    fee: int
    error: bytes = b""
    events: list[tuple[int, list[CurveQuote | V3BuyQuote]]] = field(default_factory=list)
    effect: Effect | None = None
    tip: int = 0
    rent: int = 0
    lamports: dict[Pubkey, tuple[int, int]] = field(default_factory=dict)
    tokens: dict[Pubkey, tuple[Pubkey, int | None, int | None]] = field(default_factory=dict)

    @property
    def signature(self) -> bytes:
        """The transaction's first signature."""
        return self.source.signature


class Failure(Exception):
    """An instruction has failed: its place and the program's own code, or the runtime's."""

    def __init__(self, at: int, custom: int | None = None, builtin: int = _INVALID_DATA) -> None:
        super().__init__(f"instruction {at}: {builtin if custom is None else custom}")
        head = _INSTRUCTION_ERROR.to_bytes(4, "little") + bytes([at])
        if custom is None:
            self.error = head + builtin.to_bytes(4, "little")
        else:
            self.error = head + _CUSTOM.to_bytes(4, "little") + custom.to_bytes(4, "little")


@lru_cache(maxsize=1024)
def is_signed(raw: bytes) -> bool:
    """Whether a leader would take these bytes."""
    wire = read_wire(raw)
    return wire.transaction.signatures[0].verify(wire.payer, to_bytes_versioned(wire.transaction.message))


@lru_cache(maxsize=1024)
def read_wire(raw: bytes) -> Wire:
    """A transaction as it came over a route."""
    transaction = VersionedTransaction.from_bytes(raw)
    message = transaction.message
    signature = transaction.signatures[0]
    keys = list(message.account_keys)
    instructions = tuple(
        (keys[ix.program_id_index], tuple(keys[at] for at in ix.accounts), bytes(ix.data))
        for ix in message.instructions
    )
    fee = SIGNATURE_FEE * len(transaction.signatures) + _priority_fee(instructions)
    return Wire(raw, bytes(signature), transaction, message.recent_blockhash, keys[0], instructions, fee)


def _priority_fee(instructions: tuple[tuple[Pubkey, tuple[Pubkey, ...], bytes], ...]) -> int:
    limit, price = 200_000, 0
    for program, _, data in instructions:
        if program == COMPUTE_BUDGET and data[0] == 2:
            limit = int.from_bytes(data[1:5], "little")
        elif program == COMPUTE_BUDGET and data[0] == 3:
            price = int.from_bytes(data[1:9], "little")
    return -(-price * limit // 1_000_000)


def trade(state: State, one: Trade) -> Receipt | None:
    """Somebody else's trade, on `state` itself; None where it cannot be: it would not have been sent."""
    reserves = state.curves.get(one.mint, curve.INITIAL_SOL_CURVE)
    held = state.crowd.get((one.wallet, one.mint), 0)
    try:
        if one.completes:
            quote = curve.buy_exact_out(reserves, FEES, reserves.real_base)
        elif one.is_buy:
            quote = curve.buy_exact_in(reserves, FEES, one.amount)
        else:
            quote = curve.sell(reserves, FEES, min(one.amount, held))
    except QuoteError:
        return None
    state.curves[one.mint] = quote.after
    state.crowd[one.wallet, one.mint] = held + (quote.base_raw if one.is_buy else -quote.base_raw)
    return Receipt(one, SIGNATURE_FEE, events=[(0, [quote])])


def execute(state: State, wire: Wire) -> tuple[State, Receipt]:
    """A transaction of ours: all of it, or its fee alone."""
    receipt = Receipt(wire, wire.fee)
    trial = state.copy()
    trial.lamports -= wire.fee
    try:
        for at, (program, accounts, data) in enumerate(wire.instructions):
            _step(trial, receipt, at, program, accounts, data)
        if trial.lamports < LEAST_BALANCE:
            raise Failure(0, 1)
    except Failure as failure:
        trial = state.copy()
        trial.lamports -= wire.fee
        receipt = Receipt(wire, wire.fee, failure.error)
    receipt.lamports[wire.payer] = (state.lamports, trial.lamports)
    _show_tokens(receipt, state, trial)
    return trial, receipt


def _show_tokens(receipt: Receipt, before: State, after: State) -> None:
    wire = receipt.source
    assert isinstance(wire, Wire)
    keys = wire.transaction.message.account_keys
    for mint in {*before.coins, *after.coins}:
        account = our_account(wire.payer, mint)
        if account in keys:
            was, now = before.coins.get(mint), after.coins.get(mint)
            receipt.tokens[account] = (mint, was, now)
            receipt.lamports[account] = tuple(0 if one is None else ATA_RENT for one in (was, now))  # type: ignore[assignment]


def our_account(owner: Pubkey, mint: Pubkey) -> Pubkey:
    """Where a wallet holds a coin of this chain: they are all Token-2022's."""
    return associated_token_address(owner, mint, TOKEN_2022_PROGRAM)


def _step(state: State, receipt: Receipt, at: int, program: Pubkey, accounts: tuple[Pubkey, ...], data: bytes) -> None:
    payer = receipt.source.payer  # type: ignore[union-attr]
    if program == COMPUTE_BUDGET:
        return
    if program == ASSOCIATED_TOKEN_PROGRAM and data == b"\x01":
        if accounts[3] not in state.coins:
            state.coins[accounts[3]] = 0
            _pay_rent(state, receipt, at, ATA_RENT)
    elif program in (TOKEN_2022_PROGRAM, TOKEN_PROGRAM) and data == b"\x09":
        _close(state, receipt, at, accounts[0])
    elif program == SYSTEM_PROGRAM and data[:4] == b"\x02\0\0\0" and accounts[0] == payer:
        lamports = int.from_bytes(data[4:12], "little")
        _spend(state, at, lamports)
        if accounts[1] in a.JITO_TIP_ACCOUNTS:
            receipt.tip += lamports
        receipt.lamports[accounts[1]] = (10**9, 10**9 + lamports)
    elif program == a.PUMP_PROGRAM and data[:8] in (_BUY, _BUY_EXACT_IN, _SELL):
        _swap(state, receipt, at, accounts, data)
    else:
        UNMODELLED[f"{program} {data[:8].hex()}"] += 1
        raise Failure(at)


def _spend(state: State, at: int, lamports: int) -> None:
    state.lamports -= lamports
    if state.lamports < 0:
        raise Failure(at, 1)


def _pay_rent(state: State, receipt: Receipt, at: int, lamports: int) -> None:
    _spend(state, at, lamports)
    receipt.rent += lamports


def _close(state: State, receipt: Receipt, at: int, account: Pubkey) -> None:
    payer = receipt.source.payer  # type: ignore[union-attr]
    mint = next((mint for mint in state.coins if our_account(payer, mint) == account), None)
    if mint is None:
        raise Failure(at, builtin=_INVALID_ACCOUNT)
    if state.coins[mint]:
        raise Failure(at, 11)
    del state.coins[mint]
    state.lamports += ATA_RENT
    receipt.rent -= ATA_RENT


def _swap(state: State, receipt: Receipt, at: int, accounts: tuple[Pubkey, ...], data: bytes) -> None:
    mint = accounts[_NO_MINT]
    first, second = (int.from_bytes(data[start : start + 8], "little") for start in (8, 16))
    payer = receipt.source.payer  # type: ignore[union-attr]
    if mint not in state.curves or mint not in state.coins or accounts[_BASE_USER] != our_account(payer, mint):
        raise Failure(at, 3012)
    if accounts[_USER] != payer:
        raise Failure(at, 2006)
    if state.curves[mint].real_base == 0:
        raise Failure(at, 6005)
    if not state.has_volume_account:
        state.has_volume_account = True
        _pay_rent(state, receipt, at, VOLUME_ACCOUNT_RENT)
        receipt.lamports[a.user_volume_accumulator(payer)] = (0, VOLUME_ACCOUNT_RENT)
    if data[:8] == _SELL:
        _sell(state, receipt, at, mint, first, second)
    else:
        _buy(state, receipt, at, mint, data[:8] == _BUY_EXACT_IN, first, second)


def _buy(state: State, receipt: Receipt, at: int, mint: Pubkey, exact_in: bool, first: int, second: int) -> None:
    try:
        price = curve.buy_exact_in_v3 if exact_in else curve.buy_exact_out_v3
        quote = price(state.curves[mint], FEES, first)
    except QuoteError:
        raise Failure(at, 6020) from None
    if exact_in and quote.base_raw < second:
        raise Failure(at, 6042)
    if not exact_in and quote.user_quote > second:
        raise Failure(at, 6002)
    _spend(state, at, quote.user_quote)
    state.coins[mint] += quote.base_raw
    state.curves[mint] = quote.curve.after
    receipt.events.append((at, [quote]))
    receipt.effect = Effect("BUY", mint, quote.base_raw, quote.user_quote)


def _sell(state: State, receipt: Receipt, at: int, mint: Pubkey, amount: int, least: int) -> None:
    if state.coins[mint] < amount:
        raise Failure(at, 6023)
    try:
        quote = curve.sell(state.curves[mint], FEES, amount)
    except QuoteError:
        raise Failure(at, 6003) from None
    if quote.user_quote < least:
        raise Failure(at, 6003)
    state.coins[mint] -= amount
    state.lamports += quote.user_quote
    state.curves[mint] = quote.after
    receipt.events.append((at, [quote]))
    receipt.effect = Effect("SELL", mint, amount, quote.user_quote)
