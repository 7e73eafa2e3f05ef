"""Every transaction that `trades` builds, run by the deployed programs: it lands, within its limits, at its price."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.pump import addresses as a
from copytrader_core.pump import instructions as ix
from copytrader_core.pump.accounts import decode_bonding_curve, decode_global, decode_global_config, decode_pool
from copytrader_core.solana.coins import (
    Coin,
    MintAccount,
    coin_from_accounts,
    coin_from_leader_instruction,
    mint_policy,
)
from copytrader_core.solana.compile import wire
from copytrader_core.solana.message import MAX_TRANSACTION_BYTES
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM, WSOL_MINT, associated_token_address
from copytrader_core.solana.trades import Charges, Recipients, Wsol, buy, migrate, sell
from simnet.bank import Bank, Executed, slot_at
from simnet.bytecode import Snapshot
from simnet.desk import keypair

CURVE_FLAGS = 81
SOL = 1_000_000_000
TIP = a.JITO_TIP_ACCOUNTS[3]
CHARGES = Charges(1_234_567, 1_000_000, TIP)
BASE_FEE = 5_000
KINDS = {"normal": (False, False), "cashback": (True, False), "mayhem": (False, True)}


@dataclass
class Chain:
    """A bank, a coin of one kind that somebody has created, and a wallet of ours that has never traded."""

    bank: Bank
    mint: Pubkey
    owner: Keypair

    @property
    def recipients(self) -> Recipients:
        config = self.bank.data(a.AMM_GLOBAL_CONFIG)
        return Recipients.of(decode_global(self.bank.data(a.PUMP_GLOBAL)), decode_global_config(config))

    @property
    def coin(self) -> Coin:
        pool = self.bank.data(a.canonical_pool(self.mint))
        curve = self.bank.data(a.bonding_curve(self.mint))
        return coin_from_accounts(
            self.mint,
            TOKEN_2022_PROGRAM,
            decode_bonding_curve(curve) if curve else None,
            decode_pool(pool) if pool else None,
        )

    def held(self, owner: Pubkey | None = None) -> int:
        account = associated_token_address(owner or self.owner.pubkey(), self.mint, TOKEN_2022_PROGRAM)
        return self.bank.token_amount(account)

    def run(self, message: bytes, signer: Keypair | None = None) -> Executed:
        raw = wire(message, bytes((signer or self.owner).sign_message(message)))
        assert len(raw) <= MAX_TRANSACTION_BYTES
        self.bank.begin_block(self.bank.parent_slot + 1)
        executed = self.bank.execute(VersionedTransaction.from_bytes(raw))
        self.bank.end_block()
        return executed

    def done(self, message: bytes, signer: Keypair | None = None) -> Executed:
        executed = self.run(message, signer)
        assert executed.ok, list(executed.info.meta.log_messages)
        used, limit = executed.info.meta.compute_units_consumed, limit_of(message)
        # A limit far above the use would rank us lower in the relay's auction than we pay for.
        assert used <= limit <= 2.6 * used, (used, limit)
        return executed

    def graduate(self) -> None:
        whale = keypair(1, "whale")
        self.bank.airdrop(whale.pubkey(), 500 * SOL)
        arguments = (95 * SOL, 1, CHARGES, self.bank.blockhash)
        partial = {"new_wallet": True, "may_complete": True, "recipients": self.recipients}
        if self.coin.is_cashback:
            curve = decode_bonding_curve(self.bank.data(a.bonding_curve(self.mint)))
            instruction = ix.buy_v2(
                self.coin.on_curve,
                whale.pubkey(),
                self.recipients.both(self.coin),
                curve.real_token_reserves,
                200 * SOL,
            )
            self.run_plain(whale, instruction)
        else:
            self.done(buy(whale.pubkey(), self.coin, *arguments, **partial), whale)
        assert decode_bonding_curve(self.bank.data(a.bonding_curve(self.mint))).complete
        authority = self.bank.authorities.withdraw
        self.done(migrate(whale.pubkey(), self.coin, authority, Charges(), self.bank.blockhash), whale)
        assert self.coin.pool is not None

    def run_plain(self, who: Keypair, instruction, *more: Keypair) -> None:
        from copytrader_core.solana.message import build_transaction, create_token_account

        account = create_token_account(who.pubkey(), who.pubkey(), self.mint, TOKEN_2022_PROGRAM)
        raw = build_transaction(
            who,
            [instruction] if more else [account, instruction],
            self.bank.blockhash,
            cu_limit=400_000,
            priority_fee_micro_lamports=0,
            signers=more,
        )
        self.bank.begin_block(self.bank.parent_slot + 1)
        executed = self.bank.execute(VersionedTransaction.from_bytes(raw))
        assert executed.ok, list(executed.info.meta.log_messages)
        self.bank.end_block()


def limit_of(message: bytes) -> int:
    parsed = VersionedTransaction.from_bytes(wire(message, bytes(64))).message
    (data,) = [bytes(one.data) for one in parsed.instructions if bytes(one.data)[:1] == b"\x02" and len(one.data) == 5]
    return int.from_bytes(data[1:], "little")


def mark(bank: Bank, address: Pubkey, at: int, *, is_mayhem: bool, is_cashback: bool) -> None:
    """No such coin can be created here: cashback ones ended in 2026, mayhem ones need their agent's accounts."""
    account = bank.svm.get_account(address)
    data = bytearray(account.data)
    data[at : at + 2] = bytes((is_mayhem, is_cashback))
    bank.svm.set_account(address, Account(account.lamports, bytes(data), account.owner))


def launch(snapshot: Snapshot, kind: str, seed: int = 1) -> Chain:
    is_cashback, is_mayhem = KINDS[kind]
    bank = Bank(slot_at(1_791_800_000), snapshot)
    creator, mint, owner = keypair(seed, "creator"), keypair(seed, "coin"), keypair(seed, "owner")
    for key in (creator.pubkey(), owner.pubkey()):
        bank.airdrop(key, 100 * SOL)
    chain = Chain(bank, mint.pubkey(), owner)
    coin = ix.CurveCoin(mint.pubkey(), creator.pubkey())
    create = ix.create_v2(coin, creator.pubkey(), name="Cat", symbol="CAT", uri="https://x.example")
    chain.run_plain(creator, create, mint)
    mark(bank, a.bonding_curve(chain.mint), CURVE_FLAGS, is_mayhem=is_mayhem, is_cashback=is_cashback)
    assert (chain.coin.is_cashback, chain.coin.is_mayhem) == (is_cashback, is_mayhem)
    return chain


@pytest.fixture(params=list(KINDS))
def chain(request: pytest.FixtureRequest, snapshot: Snapshot) -> Chain:
    return launch(snapshot, request.param)


def bought(chain: Chain, spend: int, *, new_wallet: bool, **options) -> Executed:
    options = {"recipients": chain.recipients, **options}
    owner, blockhash = chain.owner.pubkey(), chain.bank.blockhash
    return chain.done(buy(owner, chain.coin, spend, 1, CHARGES, blockhash, new_wallet=new_wallet, **options))


def sold(chain: Chain, tokens: int, *, close_account: bool, **options) -> Executed:
    options = {"recipients": chain.recipients, **options}
    owner, blockhash = chain.owner.pubkey(), chain.bank.blockhash
    return chain.done(sell(owner, chain.coin, tokens, 1, CHARGES, blockhash, close_account=close_account, **options))


def test_a_brand_new_wallet_buys_again_and_sells_all_on_the_curve(chain: Chain):
    assert bought(chain, SOL, new_wallet=True).fee == BASE_FEE + 1_234_567
    first = chain.held()
    bought(chain, SOL // 2, new_wallet=False)
    assert chain.held() > first > 0
    sold(chain, chain.held() // 3, close_account=False)
    sold(chain, chain.held(), close_account=True)
    account = associated_token_address(chain.owner.pubkey(), chain.mint, TOKEN_2022_PROGRAM)
    assert chain.bank.lamports(account) == 0


@pytest.mark.parametrize("wsol", list(Wsol))
def test_every_kind_of_coin_trades_on_its_pool_however_sol_is_wrapped(chain: Chain, wsol: Wsol):
    chain.graduate()
    owner = chain.owner.pubkey()
    wrapped = associated_token_address(owner, WSOL_MINT, TOKEN_PROGRAM)
    if wsol is Wsol.FUNDED:
        bought(chain, SOL, new_wallet=True, wsol=Wsol.WRAP)
        sold(chain, chain.held(), close_account=False, wsol=Wsol.WRAP)
    bought(chain, SOL // 2, new_wallet=wsol is not Wsol.FUNDED, wsol=wsol)
    assert chain.held() > 0
    sold(chain, chain.held(), close_account=True, wsol=wsol)
    assert (chain.bank.lamports(wrapped) == 0) == (wsol is Wsol.CLOSE)
    if wsol is Wsol.WRAP:
        assert 0.45 * SOL < chain.bank.token_amount(wrapped) < 0.5 * SOL


@pytest.mark.parametrize("kind", ["normal", "mayhem"])
def test_the_buy_that_completes_the_curve_stays_within_its_limit(snapshot: Snapshot, kind: str):
    chain = launch(snapshot, kind)
    bought(chain, 95 * SOL, new_wallet=True, may_complete=True)
    assert decode_bonding_curve(chain.bank.data(a.bonding_curve(chain.mint))).complete


def test_a_leaders_own_instruction_names_the_coin_as_its_accounts_do(chain: Chain):
    coin, owner = chain.coin, chain.owner.pubkey()
    event = {"creator": coin.creator, "is_cashback": coin.is_cashback, "is_mayhem": coin.is_mayhem}
    legacy = ix.buy_exact_sol_in(coin.on_curve, owner, chain.recipients.both(coin), SOL, 1)
    v2 = ix.buy_exact_quote_in_v2(coin.on_curve, owner, chain.recipients.both(coin), SOL, 1)
    v3 = ix.buy_exact_quote_in_v3(coin.on_curve, owner, chain.recipients.buyback(coin.mint), SOL, 1)
    legacy_sell = ix.sell(coin.on_curve, owner, chain.recipients.both(coin), SOL, 1)
    for one in (legacy, v2, v3, legacy_sell):
        accounts = [meta.pubkey for meta in one.accounts]
        copied = coin_from_leader_instruction(one.program_id, bytes(one.data), accounts, **event)
        assert copied is not None and copied.accounts == coin.venue_accounts()
        assert replace(copied, accounts=None) == coin


def test_a_leaders_pool_instruction_names_the_pool_as_its_accounts_do(chain: Chain):
    chain.graduate()
    coin, owner = chain.coin, chain.owner.pubkey()
    event = {"creator": coin.creator, "is_cashback": coin.is_cashback, "is_mayhem": coin.is_mayhem}
    assert coin.pool is not None
    for one in (
        ix.amm_sell(coin.pool, owner, chain.recipients.both(coin), SOL, 1),
        ix.amm_buy_exact_quote_in(coin.pool, owner, chain.recipients.both(coin), SOL, 1),
        ix.amm_buy_exact_quote_in_v2(coin.pool, owner, chain.recipients.buyback(coin.mint), SOL, 1),
    ):
        accounts = [meta.pubkey for meta in one.accounts]
        copied = coin_from_leader_instruction(one.program_id, bytes(one.data), accounts, **event)
        assert copied is not None and copied.accounts == coin.venue_accounts()
        assert replace(copied, accounts=None) == coin


def test_a_coin_that_the_program_made_is_accepted_on_both_venues(chain: Chain):
    for graduate in (False, True):
        if graduate:
            chain.graduate()
        pool = chain.bank.data(a.canonical_pool(chain.mint))
        refusal = mint_policy(
            chain.mint,
            MintAccount(TOKEN_2022_PROGRAM, chain.bank.data(chain.mint)),
            curve_address=a.bonding_curve(chain.mint),
            curve_owner=a.PUMP_PROGRAM,
            curve=decode_bonding_curve(chain.bank.data(a.bonding_curve(chain.mint))),
            pool_address=a.canonical_pool(chain.mint) if pool else None,
            pool=decode_pool(pool) if pool else None,
        )
        assert refusal is None


@pytest.mark.parametrize("seed", range(2, 12))
def test_limits_hold_for_wallets_and_coins_with_costly_addresses(snapshot: Snapshot, seed: int):
    chain = launch(snapshot, random.Random(seed).choice(list(KINDS)), seed)
    bought(chain, SOL, new_wallet=True)
    sold(chain, chain.held(), close_account=True)
