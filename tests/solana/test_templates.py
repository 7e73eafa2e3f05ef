"""The fast way gives the slow way's bytes, for any coin, amount and option, in any order; and what compiling means."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.hash import Hash
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.errors import TransactionError
from copytrader_core.pump import addresses as a
from copytrader_core.pump.instructions import PumpPool
from copytrader_core.solana import trades
from copytrader_core.solana.coins import Coin
from copytrader_core.solana.compile import compile_v0, wire
from copytrader_core.solana.message import transfer_sol
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM, WSOL_MINT
from copytrader_core.solana.templates import TradeTemplates
from copytrader_core.solana.trades import Charges, Nonce, Wsol

OWNER = Pubkey(bytes([7]) * 32)
keys = st.binary(min_size=32, max_size=32).map(Pubkey)
u64 = st.integers(1, 2**64 - 1)
tips = st.sampled_from([*a.JITO_TIP_ACCOUNTS, OWNER, a.BUYBACK_FEE_RECIPIENTS[0], Pubkey.default()])


@st.composite
def coins(draw: st.DrawFn) -> Coin:
    mint, creator = draw(keys), draw(keys)
    program = draw(st.sampled_from([TOKEN_2022_PROGRAM, TOKEN_PROGRAM]))
    cashback, mayhem = draw(st.sampled_from([(False, False), (True, False), (False, True)]))
    pool = PumpPool(a.canonical_pool(mint), mint, creator, program, is_cashback=cashback)
    in_pool = draw(st.booleans())
    coin = Coin(mint, creator, program, WSOL_MINT, cashback, mayhem, pool if in_pool else None)
    accounts = coin.venue_accounts() if draw(st.booleans()) else None
    return Coin(mint, creator, program, WSOL_MINT, cashback, mayhem, coin.pool, accounts)


charges = st.builds(Charges, st.integers(0, 10**10), st.integers(0, 10**10), tips)
nonces = st.none() | st.builds(Nonce, keys, keys.map(bytes).map(Hash))
TEMPLATES = TradeTemplates(OWNER)


@settings(max_examples=300, deadline=None)
@given(coins(), u64, u64, charges, keys, nonces, st.booleans(), st.booleans(), st.sampled_from(Wsol))
def test_a_patched_message_is_the_compiled_one(coin, first, second, paid, value, nonce, flag, may, wsol):
    blockhash = Hash(bytes(value))
    options = {"wsol": wsol, "nonce": nonce}
    for _ in range(2):
        plain, quick = partial(trades.buy, OWNER), TEMPLATES.buy
        given_ = {"new_wallet": flag, "may_complete": may, **options}
        assert made(quick, coin, first, second, paid, blockhash, **given_) == made(
            plain, coin, first, second, paid, blockhash, **given_
        )
        plain, quick, given_ = partial(trades.sell, OWNER), TEMPLATES.sell, {"close_account": flag, **options}
        assert made(quick, coin, first, second, paid, blockhash, **given_) == made(
            plain, coin, first, second, paid, blockhash, **given_
        )


def made(build, *arguments, **options) -> bytes | str:
    """The message, or what is said where it is too long: a cashback coin's pool buy with nonce, wrapping, tip."""
    try:
        return build(*arguments, **options)
    except TransactionError as error:
        assert "at most 1232" in str(error)
        return str(error)


@settings(max_examples=100, deadline=None)
@given(coins(), u64, charges, keys, nonces)
def test_the_official_reader_finds_the_instructions_that_were_meant(coin, amount, paid, value, nonce):
    blockhash = Hash(bytes(value))
    plan = trades.plan_sell(OWNER, coin, amount, 1, close_account=True, wsol=Wsol.CLOSE, recipients=trades.RECIPIENTS)
    message = trades.sell(OWNER, coin, amount, 1, paid, blockhash, close_account=True, nonce=nonce)
    parsed = VersionedTransaction.from_bytes(wire(message, bytes(64))).message
    assert isinstance(parsed, MessageV0) and bytes(parsed.account_keys[0]) == bytes(OWNER)
    assert parsed.recent_blockhash == (blockhash if nonce is None else nonce.blockhash)
    wanted = [(one.program_id, bytes(one.data), [meta.pubkey for meta in one.accounts]) for one in plan.body]
    found = [
        (parsed.account_keys[one.program_id_index], bytes(one.data), [parsed.account_keys[at] for at in one.accounts])
        for one in parsed.instructions
    ]
    start = 2 if nonce is None else 3
    assert found[start : start + len(wanted)] == wanted
    for one, planned in zip(parsed.instructions[start:], plan.body, strict=False):
        for at, meta in zip(one.accounts, planned.accounts, strict=True):
            assert parsed.is_maybe_writable(at) or not meta.is_writable or at in (0,) or _is_reserved(meta.pubkey)


def _is_reserved(key: Pubkey) -> bool:
    return key in (TOKEN_PROGRAM, TOKEN_2022_PROGRAM) or bytes(key)[:3] == bytes(3)


@given(st.integers(0, 10**12), st.sampled_from([70_000, 90_000, 110_000, 130_000, 190_000, 400_000]))
def test_the_priority_fee_paid_is_the_one_meant(fee: int, limit: int):
    price = Charges(fee).price(limit)
    assert -(-price * limit // 1_000_000) == fee


@pytest.mark.parametrize(("first", "second"), [(0, 1), (-1, 1), (2**64, 1), (1, -1), (1, 2**64)])
def test_amounts_that_do_not_fit_are_refused_both_ways(first: int, second: int):
    coin = Coin(Pubkey(bytes([1]) * 32))
    for sell in (TEMPLATES.sell, lambda *given, **options: trades.sell(OWNER, *given, **options)):
        with pytest.raises(TransactionError, match="quote the trade again"):
            sell(coin, first, second, Charges(), Hash.default(), close_account=False)


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(TransactionError, match="would have to sign"):
        compile_v0(OWNER, [transfer_sol(Pubkey.default(), OWNER, 1)], Hash.default())
    with pytest.raises(TransactionError, match="at most 1232"):
        many = [transfer_sol(OWNER, Pubkey(bytes([1, n]) * 16), 1) for n in range(40)]
        compile_v0(OWNER, many, Hash.default())
    with pytest.raises(TransactionError, match="needs a tip account"):
        Charges(tip_lamports=1)
    usdc = Coin(Pubkey(bytes([1]) * 32), quote_mint=a.USDC_MINT)
    with pytest.raises(TransactionError, match="only coins paid in SOL"):
        trades.buy(OWNER, usdc, 1, 1, Charges(), Hash.default(), new_wallet=False)
