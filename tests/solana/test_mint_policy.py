"""Coins that are refused, and under which code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.pump import addresses as a
from copytrader_core.pump.accounts import decode_bonding_curve, decode_pool
from copytrader_core.solana.coins import MintAccount, coin_from_accounts, coin_from_leader_instruction, mint_policy
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM

MINT = Pubkey(bytes([7]) * 32)
CURVE = decode_bonding_curve(bytes.fromhex("17b7f83760d8ac60") + bytes(158))
POOL = replace(
    decode_pool(bytes.fromhex("f19a6d0411b16dbc") + bytes(300)),
    creator=a.pool_authority(MINT),
    base_mint=MINT,
    quote_mint=Pubkey.from_string("So11111111111111111111111111111111111111112"),
)


def mint_data(*extensions: int, authority: int = 0, freeze: int = 0) -> bytes:
    head = bytes([authority, 0, 0, 0]) + bytes(32) + bytes(8) + bytes([6, 1]) + bytes([freeze, 0, 0, 0]) + bytes(32)
    if not extensions:
        return head
    tail = b"".join(kind.to_bytes(2, "little") + (4).to_bytes(2, "little") + bytes(4) for kind in extensions)
    return head + bytes(83) + b"\x01" + tail


def verdict(data: bytes, owner: Pubkey = TOKEN_2022_PROGRAM, **changes: Any) -> str | None:
    options = {"curve_address": a.bonding_curve(MINT), "curve_owner": a.PUMP_PROGRAM, "curve": CURVE, **changes}
    found = mint_policy(MINT, MintAccount(owner, data), **options)
    return found.code if found else None


@pytest.mark.parametrize("owner", [TOKEN_PROGRAM, TOKEN_2022_PROGRAM])
def test_plain_mints_and_metadata_are_accepted(owner: Pubkey):
    assert verdict(mint_data(), owner) is None
    assert verdict(mint_data(18, 19)) is None


@pytest.mark.parametrize("kind", [1, 3, 4, 6, 9, 10, 12, 14, 16, 20, 25, 26, 27, 999])
def test_any_other_extension_is_refused_known_or_not(kind: int):
    assert verdict(mint_data(18, kind, 19)) == "EXTENSION"


def test_what_cannot_be_read_to_its_end_is_refused():
    assert verdict(mint_data(18, 19)[:-1]) == "EXTENSION"
    assert verdict(mint_data(18)[:100]) == "NOT_A_MINT"
    assert verdict(mint_data(18), TOKEN_PROGRAM) == "NOT_A_MINT"
    assert verdict(mint_data(), a.PUMP_PROGRAM) == "NOT_A_MINT"


def test_a_mint_that_somebody_controls_is_refused():
    assert verdict(mint_data(authority=1)) == verdict(mint_data(freeze=1)) == "AUTHORITY"


def test_only_the_curve_programs_own_account_proves_a_coin():
    assert verdict(mint_data(), curve_owner=a.AMM_PROGRAM) == "NOT_PUMP"
    assert verdict(mint_data(), curve_address=a.bonding_curve(a.USDC_MINT)) == "NOT_PUMP"


def test_only_the_pool_that_the_coin_migrated_to_is_accepted():
    address = a.canonical_pool(MINT)
    assert verdict(mint_data(), pool=POOL, pool_address=address) is None
    for pool in (replace(POOL, index=1), replace(POOL, creator=MINT), replace(POOL, base_mint=a.USDC_MINT)):
        assert verdict(mint_data(), pool=pool, pool_address=address) == "POOL_NOT_CANONICAL"
    assert verdict(mint_data(), pool=POOL, pool_address=MINT) == "POOL_NOT_CANONICAL"


def test_other_quotes_are_refused_unless_enabled():
    usdc = replace(CURVE, quote_mint=a.USDC_MINT)
    assert verdict(mint_data(), curve=usdc) == "QUOTE_NOT_ENABLED"
    assert verdict(mint_data(), curve=usdc, quote_mints=frozenset({a.USDC_MINT})) is None


def test_a_coin_without_accounts_or_with_a_cut_instruction_is_no_coin():
    with pytest.raises(DecodeError, match="neither a curve nor a pool"):
        coin_from_accounts(MINT, TOKEN_PROGRAM)
    with pytest.raises(DecodeError, match="not"):
        coin_from_accounts(a.USDC_MINT, TOKEN_PROGRAM, pool=POOL)
    v3 = bytes.fromhex("07051dc4f5176550")
    with pytest.raises(DecodeError, match="it is cut"):
        coin_from_leader_instruction(a.PUMP_PROGRAM, v3, [MINT] * 16)
    assert coin_from_leader_instruction(a.AMM_PROGRAM, v3, [MINT] * 17) is None
