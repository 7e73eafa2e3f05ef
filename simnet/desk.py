"""The traders' desk: what a coin costs right now, and signed transactions of every instruction version.

Limits are computed from the bank's accounts with floor arithmetic that only has to be close: the programs decide what a
trade really costs. Who trades is `simnet.market`'s; what it truly cost is `simnet.settle`'s.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, MessageV1, TransactionConfig
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.errors import DataError
from copytrader_core.pump import addresses as a
from copytrader_core.pump import instructions as ix
from copytrader_core.pump.instructions import CurveCoin, FeeRecipients, PumpPool
from copytrader_core.solana.message import (
    MAX_TRANSACTION_BYTES,
    close_token_account,
    create_token_account,
    transfer_sol,
    unwrap_sol,
    wrap_sol,
)
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM, WSOL_MINT, associated_token_address
from simnet.bank import Bank
from simnet.genesis import put_lookup_table

Version = Literal["legacy", "legacy_exact", "v2", "v2_exact", "v3", "v3_exact"]
Wire = Literal["legacy", "v0", "table", "v1"]
Action = Literal["CREATE", "BUY", "SELL", "ADD", "REMOVE"]

CURVE_FEE_BPS = 125
_POOL_FEE_BPS = 125
_BPS = 10_000
_CU_LIMIT = {
    "legacy": 120_000,
    "legacy_exact": 120_000,
    "v2": 160_000,
    "v2_exact": 160_000,
    "v3": 110_000,
    "v3_exact": 110_000,
}
_CU_POOL = 220_000
_CU_CREATE = 260_000
_CU_MIGRATE = 500_000


def keypair(seed: int, name: str) -> Keypair:
    """The key of a named thing in the market of this seed. Worthless on purpose: anyone can compute it."""
    return Keypair.from_seed(hashlib.sha256(f"copytrader simnet {seed} {name}".encode()).digest())


@dataclass(slots=True)
class Wallet:
    """A wallet of the market, how it sends and what it pays for being early."""

    name: str
    keys: Keypair
    version: Version = "v3_exact"
    wire: Wire = "v0"
    priority_micro_lamports: int = 100_000
    tip_lamports: int = 0
    closes_accounts: bool = True
    pubkey: Pubkey = field(init=False)

    def __post_init__(self) -> None:
        self.pubkey = self.keys.pubkey()


@dataclass(slots=True)
class Coin:
    """A coin of the market. `migrated` turns when its pool exists."""

    symbol: str
    keys: Keypair
    creator: Wallet
    migrated: bool = False
    mint: Pubkey = field(init=False)
    curve: CurveCoin = field(init=False)
    pool: PumpPool = field(init=False)

    def __post_init__(self) -> None:
        self.mint = self.keys.pubkey()
        self.curve = CurveCoin(self.mint, self.creator.pubkey)
        self.pool = PumpPool(a.canonical_pool(self.mint), self.mint, self.creator.pubkey)

    def account_of(self, wallet: Wallet) -> Pubkey:
        """Where a wallet holds this coin."""
        return associated_token_address(wallet.pubkey, self.mint, TOKEN_2022_PROGRAM)


@dataclass(frozen=True, slots=True)
class Reserves:
    """Effective reserves of a coin on its present venue; `left` is what the curve still sells (all of it on a pool)."""

    base: int
    quote: int
    left: int
    complete: bool
    fee_bps: int

    def tokens_for(self, spend: int) -> int:
        """Coins that `spend` lamports buy, fees included."""
        net = (spend - 1) * _BPS // (_BPS + self.fee_bps)
        return max(0, (net - 1) * self.base // (self.quote + net - 1))

    def proceeds_of(self, tokens: int) -> int:
        """Lamports that selling `tokens` brings after fees."""
        gross = tokens * self.quote // (self.base + tokens)
        return gross - gross * self.fee_bps // _BPS

    @property
    def price(self) -> float:
        """Lamports per raw unit, for comparisons only."""
        return self.quote / self.base


@dataclass(frozen=True, slots=True)
class Leg:
    """One instruction of a transaction that the truth must account for: its place among the top-level instructions."""

    outer_ix: int
    action: Action
    coin: Coin


@dataclass(frozen=True, slots=True)
class Order:
    """A signed transaction, who sent it and what it is meant to do."""

    transaction: VersionedTransaction
    wallet: Wallet
    legs: tuple[Leg, ...]
    tip_lamports: int
    instructions: tuple[Instruction, ...]
    signers: tuple[Keypair, ...]
    cu_limit: int = 0


@dataclass(slots=True)
class _Draft:
    """Instructions being collected, with the places of those that count."""

    instructions: list[Instruction] = field(default_factory=list)
    legs: list[tuple[int, Action, Coin]] = field(default_factory=list)

    def add(self, *instructions: Instruction) -> None:
        self.instructions.extend(instructions)

    def leg(self, instruction: Instruction, action: Action, coin: Coin) -> None:
        self.legs.append((len(self.instructions), action, coin))
        self.instructions.append(instruction)


class Desk:
    """Prices coins from the bank and writes orders against its newest blockhash. `rng` picks fee and tip accounts."""

    def __init__(self, bank: Bank, rng: random.Random, table: Pubkey) -> None:
        self._bank = bank
        self._rng = rng
        self._table = AddressLookupTableAccount(table, _table_addresses(bank))
        put_lookup_table(bank.svm, table, self._table.addresses)

    # --- prices -------------------------------------------------------------------------------------------------------

    def reserves(self, coin: Coin) -> Reserves:
        """The coin's reserves as the last executed transaction left them."""
        if coin.migrated:
            pool = self._bank.data(coin.pool.address) or b""
            quote = self._bank.token_amount(coin.pool.quote_vault) + int.from_bytes(
                pool[245:261], "little", signed=True
            )
            base = self._bank.token_amount(coin.pool.base_vault)
            return Reserves(base, quote, base, False, _POOL_FEE_BPS)
        curve = self._bank.data(a.bonding_curve(coin.mint)) or bytes(166)
        base, quote, left = (int.from_bytes(curve[at : at + 8], "little") for at in (8, 16, 24))
        return Reserves(base, quote, left, bool(curve[48]), CURVE_FEE_BPS)

    def holding(self, wallet: Wallet, coin: Coin) -> int:
        """Raw coins in the wallet."""
        return self._bank.token_amount(coin.account_of(wallet))

    # --- orders -------------------------------------------------------------------------------------------------------

    def create(self, coin: Coin, uri: str, dev_buy: int) -> Order:
        """Creates the coin, and buys some of it in the same transaction where `dev_buy` lamports say so."""
        draft, creator = _Draft(), coin.creator
        create = ix.create_v2(
            coin.curve, creator.pubkey, name=f"{coin.symbol.title()} Coin", symbol=coin.symbol, uri=uri
        )
        draft.leg(create, "CREATE", coin)
        if dev_buy:
            draft.add(create_token_account(creator.pubkey, creator.pubkey, coin.mint, TOKEN_2022_PROGRAM))
            draft.leg(ix.buy_exact_quote_in_v3(coin.curve, creator.pubkey, self._buyback(), dev_buy, 1), "BUY", coin)
        return self._order(creator, draft, _CU_CREATE, coin.keys)

    def buy(self, wallet: Wallet, coin: Coin, spend: int, slippage_bps: int) -> Order:
        """Buys for about `spend` lamports; its limit lets the price move by `slippage_bps` (negative: must fail)."""
        draft = _Draft()
        self._add_buy(draft, wallet, coin, spend, slippage_bps)
        return self._order(wallet, draft, _CU_POOL if coin.migrated else _CU_LIMIT[wallet.version])

    def buy_two(self, wallet: Wallet, first: Coin, second: Coin, spend: int, slippage_bps: int) -> Order:
        """Buys two coins of the curve in one transaction."""
        draft = _Draft()
        for coin in (first, second):
            self._add_buy(draft, wallet, coin, spend, slippage_bps)
        return self._order(wallet, draft, 2 * _CU_LIMIT[wallet.version])

    def buy_and_sell(self, wallet: Wallet, coin: Coin, spend: int) -> Order:
        """Buys and sells the same coins in one transaction, as volume bots do."""
        draft, tokens = _Draft(), self.reserves(coin).tokens_for(spend) // 2
        draft.add(create_token_account(wallet.pubkey, wallet.pubkey, coin.mint, TOKEN_2022_PROGRAM))
        draft.leg(ix.buy_v3(coin.curve, wallet.pubkey, self._buyback(), tokens, spend), "BUY", coin)
        draft.leg(ix.sell_v3(coin.curve, wallet.pubkey, self._buyback(), tokens, 1), "SELL", coin)
        return self._order(wallet, draft, 2 * _CU_LIMIT["v3"])

    def sell(self, wallet: Wallet, coin: Coin, tokens: int, slippage_bps: int) -> Order:
        """Sells `tokens`; closes the emptied account where the wallet has that habit."""
        draft = _Draft()
        least = max(1, self.reserves(coin).proceeds_of(tokens) * (_BPS - slippage_bps) // _BPS)
        if coin.migrated:
            draft.add(create_token_account(wallet.pubkey, wallet.pubkey, WSOL_MINT, TOKEN_PROGRAM))
            draft.leg(self._pool_sell(wallet, coin, tokens, least), "SELL", coin)
            draft.add(unwrap_sol(wallet.pubkey))
        else:
            draft.leg(self._curve_sell(wallet, coin, tokens, least), "SELL", coin)
        if wallet.closes_accounts and tokens == self.holding(wallet, coin):
            draft.add(close_token_account(wallet.pubkey, coin.mint, TOKEN_2022_PROGRAM))
        return self._order(wallet, draft, _CU_POOL if coin.migrated else _CU_LIMIT[wallet.version])

    def migrate(self, wallet: Wallet, coin: Coin) -> Order:
        """Moves a complete curve into its pool; anyone may."""
        draft = _Draft()
        draft.add(ix.migrate_v2(coin.curve, wallet.pubkey, self._bank.authorities.withdraw))
        return self._order(wallet, draft, _CU_MIGRATE)

    def deposit(self, wallet: Wallet, coin: Coin, share_bps: int) -> Order:
        """Adds liquidity worth `share_bps` of the pool's supply of liquidity tokens."""
        pool = self._bank.data(coin.pool.address) or b""
        lp_out = int.from_bytes(pool[203:211], "little") * share_bps // _BPS
        base, quote = self.holding(wallet, coin), self._bank.token_amount(coin.pool.quote_vault) * 2 * share_bps // _BPS
        lp_mint, draft = a.lp_mint(coin.pool.address), _Draft()
        draft.add(
            create_token_account(wallet.pubkey, wallet.pubkey, lp_mint, TOKEN_2022_PROGRAM),
            *self._wrapped(wallet, quote),
        )
        draft.leg(ix.amm_deposit(coin.pool, wallet.pubkey, lp_out, base, quote), "ADD", coin)
        draft.add(unwrap_sol(wallet.pubkey))
        return self._order(wallet, draft, _CU_CREATE)

    def withdraw(self, wallet: Wallet, coin: Coin) -> Order:
        """Takes all of the wallet's liquidity back."""
        lp_account = associated_token_address(wallet.pubkey, a.lp_mint(coin.pool.address), TOKEN_2022_PROGRAM)
        draft = _Draft()
        draft.add(create_token_account(wallet.pubkey, wallet.pubkey, WSOL_MINT, TOKEN_PROGRAM))
        draft.leg(ix.amm_withdraw(coin.pool, wallet.pubkey, self._bank.token_amount(lp_account), 1, 1), "REMOVE", coin)
        draft.add(unwrap_sol(wallet.pubkey))
        return self._order(wallet, draft, _CU_CREATE)

    def again(self, order: Order) -> Order:
        """The same order signed against the newest blockhash, for a fork that does not know the old one."""
        message = self._message(order.wallet, list(order.instructions), order.cu_limit)
        return replace(order, transaction=VersionedTransaction(message, list(order.signers)))

    def prefix(self, order: Order, n_instructions: int) -> VersionedTransaction:
        """The order's first instructions alone: simulating it shows the balances between two of its trades."""
        message = MessageV0.try_compile(
            order.wallet.pubkey, list(order.instructions[:n_instructions]), [], self._bank.blockhash
        )
        needed = set(message.account_keys[: message.header.num_required_signatures])
        return VersionedTransaction(message, [keys for keys in order.signers if keys.pubkey() in needed])

    # --- inside -------------------------------------------------------------------------------------------------------

    def _recipients(self, *, pool: bool = False) -> FeeRecipients:
        known = self._bank.authorities
        return FeeRecipients(self._rng.choice(known.amm_protocol if pool else known.protocol), self._buyback())

    def _buyback(self) -> Pubkey:
        return self._rng.choice(self._bank.authorities.buyback)

    def _wrapped(self, wallet: Wallet, lamports: int) -> Sequence[Instruction]:
        return (
            create_token_account(wallet.pubkey, wallet.pubkey, WSOL_MINT, TOKEN_PROGRAM),
            *wrap_sol(wallet.pubkey, lamports),
        )

    def _add_buy(self, draft: _Draft, wallet: Wallet, coin: Coin, spend: int, slippage_bps: int) -> None:
        reserves = self.reserves(coin)
        tokens = reserves.tokens_for(spend)
        draft.add(create_token_account(wallet.pubkey, wallet.pubkey, coin.mint, TOKEN_2022_PROGRAM))
        if coin.migrated:
            draft.add(*self._wrapped(wallet, spend * (_BPS + max(0, slippage_bps)) // _BPS))
            draft.leg(self._pool_buy(wallet, coin, spend, tokens, slippage_bps), "BUY", coin)
            draft.add(unwrap_sol(wallet.pubkey))
        elif tokens >= reserves.left:  # only v3 goes past the curve's end
            draft.leg(ix.buy_exact_quote_in_v3(coin.curve, wallet.pubkey, self._buyback(), spend, 1), "BUY", coin)
        else:
            draft.leg(self._curve_buy(wallet, coin, spend, tokens, slippage_bps), "BUY", coin)

    def _curve_buy(self, wallet: Wallet, coin: Coin, spend: int, tokens: int, slippage_bps: int) -> Instruction:
        user, least = wallet.pubkey, max(1, tokens * (_BPS - slippage_bps) // _BPS)
        exact, most = tokens * (_BPS - 20) // _BPS, spend * (_BPS + slippage_bps) // _BPS
        match wallet.version:
            case "v3_exact":
                return ix.buy_exact_quote_in_v3(coin.curve, user, self._buyback(), spend, least)
            case "v3":
                return ix.buy_v3(coin.curve, user, self._buyback(), exact, most)
            case "v2_exact":
                return ix.buy_exact_quote_in_v2(coin.curve, user, self._recipients(), spend, least)
            case "v2":
                return ix.buy_v2(coin.curve, user, self._recipients(), exact, most)
            case "legacy_exact":
                return ix.buy_exact_sol_in(coin.curve, user, self._recipients(), spend, least)
            case "legacy":
                return ix.buy(coin.curve, user, self._recipients(), exact, most)

    def _curve_sell(self, wallet: Wallet, coin: Coin, tokens: int, least: int) -> Instruction:
        if wallet.version in ("v3", "v3_exact"):
            return ix.sell_v3(coin.curve, wallet.pubkey, self._buyback(), tokens, least)
        if wallet.version in ("v2", "v2_exact"):
            return ix.sell_v2(coin.curve, wallet.pubkey, self._recipients(), tokens, least)
        return ix.sell(coin.curve, wallet.pubkey, self._recipients(), tokens, least)

    def _pool_buy(self, wallet: Wallet, coin: Coin, spend: int, tokens: int, slippage_bps: int) -> Instruction:
        user, least = wallet.pubkey, max(1, tokens * (_BPS - slippage_bps) // _BPS)
        exact, most = tokens * (_BPS - 20) // _BPS, spend * (_BPS + slippage_bps) // _BPS
        match wallet.version:
            case "v3_exact" | "v2_exact":
                return ix.amm_buy_exact_quote_in_v2(coin.pool, user, self._buyback(), spend, least)
            case "v3" | "v2":
                return ix.amm_buy_v2(coin.pool, user, self._buyback(), exact, most)
            case "legacy_exact":
                return ix.amm_buy_exact_quote_in(coin.pool, user, self._recipients(pool=True), spend, least)
            case "legacy":
                return ix.amm_buy(coin.pool, user, self._recipients(pool=True), exact, most)

    def _pool_sell(self, wallet: Wallet, coin: Coin, tokens: int, least: int) -> Instruction:
        if wallet.version in ("legacy", "legacy_exact"):
            return ix.amm_sell(coin.pool, wallet.pubkey, self._recipients(pool=True), tokens, least)
        return ix.amm_sell_v2(coin.pool, wallet.pubkey, self._buyback(), tokens, least)

    def _order(self, wallet: Wallet, draft: _Draft, cu_limit: int, *signers: Keypair) -> Order:
        head = [] if wallet.wire == "v1" else [set_compute_unit_limit(cu_limit)]
        if wallet.priority_micro_lamports and wallet.wire != "v1":
            head.append(set_compute_unit_price(wallet.priority_micro_lamports))
        body = [*head, *draft.instructions]
        if wallet.tip_lamports:
            body.append(transfer_sol(wallet.pubkey, self._rng.choice(a.JITO_TIP_ACCOUNTS), wallet.tip_lamports))
        legs = tuple(Leg(len(head) + at, action, coin) for at, action, coin in draft.legs)
        keys = (wallet.keys, *signers)
        transaction = VersionedTransaction(self._message(wallet, body, cu_limit), list(keys))
        if (size := len(bytes(transaction))) > MAX_TRANSACTION_BYTES:
            raise DataError(f"an order of {wallet.name} has {size} bytes, at most {MAX_TRANSACTION_BYTES} can be sent")
        return Order(transaction, wallet, legs, wallet.tip_lamports, tuple(body), keys, cu_limit)

    def _message(self, wallet: Wallet, body: list[Instruction], cu_limit: int) -> Message | MessageV0 | MessageV1:
        payer, blockhash = wallet.pubkey, self._bank.blockhash
        match wallet.wire:
            case "legacy":
                return Message.new_with_blockhash(body, payer, blockhash)
            case "table":
                return MessageV0.try_compile(payer, body, [self._table], blockhash)
            case "v1":
                return MessageV1.try_compile(payer, body, blockhash, TransactionConfig(compute_unit_limit=cu_limit))
            case _:
                return MessageV0.try_compile(payer, body, [], blockhash)


def _table_addresses(bank: Bank) -> list[Pubkey]:
    """What the terminals' shared lookup table holds: the constant accounts of every trade."""
    known = bank.authorities
    return [
        a.PUMP_GLOBAL,
        a.PUMP_EVENT_AUTHORITY,
        a.PUMP_FEE_CONFIG,
        a.FEE_PROGRAM,
        a.PUMP_GLOBAL_VOLUME_ACCUMULATOR,
        a.AMM_GLOBAL_CONFIG,
        a.AMM_EVENT_AUTHORITY,
        a.AMM_FEE_CONFIG,
        a.AMM_GLOBAL_VOLUME_ACCUMULATOR,
        WSOL_MINT,
        TOKEN_2022_PROGRAM,
        TOKEN_PROGRAM,
        *known.protocol,
        *known.buyback,
    ]
