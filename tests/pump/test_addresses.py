"""Derived addresses against the official kits' and against addresses that everyone knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from copytrader_core.pump import addresses as a
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM, WSOL_MINT, associated_token_address

WELL_KNOWN = {
    "4wTV1YmiEkRvAtNtsSGPtUrqRYQMe5SKy2uB4Jjaxnjf": a.PUMP_GLOBAL,
    "Ce6TQqeHC9p8KetsN6JsjHK7UTZk7nasjjnr7XxXp9F1": a.PUMP_EVENT_AUTHORITY,
    "TSLvdd1pWpHVjahSpsvCXUbgwsL3JAcvokwaKt1eokM": a.PUMP_MINT_AUTHORITY,
    "Hq2wp8uJ9jCPsYgNHex8RtqdvMPfVGoYwjvF1ATiwn2Y": a.PUMP_GLOBAL_VOLUME_ACCUMULATOR,
    "8Wf5TiAheLUqBrKXeYg2JtAFFMWtKdG2BSFgqUcPVwTt": a.PUMP_FEE_CONFIG,
    "6z6GDdfb2AjR9ZhJmAUQ5cipJCVxQvLJhB2H8mCwTFBP": a.QUOTE_CONTROL,
    "ADyA8hdefvWN2dbGGWFotbzWxrAvLW83WG6QCVXvJKqw": a.AMM_GLOBAL_CONFIG,
    "GS4CU59F31iL7aR2Q8zVS8DRrcRnXX1yjQ66TqNVQnaR": a.AMM_EVENT_AUTHORITY,
    "5PHirr8joyTMp9JMm6nW7hNDVyEYdkzDqazxPD7RaTjx": a.AMM_FEE_CONFIG,
    "C2aFPdENg4A2HQsmrd5rTw5TaYBX5Ku887cWjbFKtZpw": a.AMM_GLOBAL_VOLUME_ACCUMULATOR,
    "13ec7XdrjF3h3YcqBTFDSReRcUFwbCnJaAQspM4j6DDJ": a.MAYHEM_GLOBAL_PARAMS,
    "BwWK17cbHxwWBKZkUYvzxLcNQ1YVyaFezduWbtm2de6s": a.MAYHEM_SOL_VAULT,
}


@pytest.mark.parametrize("text", WELL_KNOWN)
def test_a_fixed_account_is_derived_to_its_well_known_address(text: str) -> None:
    assert str(WELL_KNOWN[text]) == text


def test_every_derived_address_equals_the_official_kits(shared: Path) -> None:
    document = json.loads((shared / "vectors/pdas.json").read_text())
    for vector in document["vectors"]:
        assert _derived(vector) == {key: value for key, value in vector.items() if key not in INPUTS}


INPUTS = {"mint", "creator", "user"}


def _derived(vector: dict[str, str]) -> dict[str, str]:
    mint, creator, user = (Pubkey.from_string(vector[name]) for name in ("mint", "creator", "user"))
    curve = a.bonding_curve(mint)
    addresses = {
        "bonding_curve": curve,
        "bonding_curve_v2": a.bonding_curve_v2(mint),
        "creator_vault": a.creator_vault(creator),
        "pump_user_volume_accumulator": a.user_volume_accumulator(user),
        "amm_user_volume_accumulator": a.amm_user_volume_accumulator(user),
        "sharing_config": a.sharing_config(mint),
        "holder_rewards": a.holder_rewards(mint),
        "pool_authority": a.pool_authority(mint),
        "canonical_pool_wsol": a.canonical_pool(mint),
        "canonical_pool_usdc": a.canonical_pool(mint, a.USDC_MINT),
        "pool_v2": a.pool_v2(mint),
        "amm_creator_vault_authority": a.amm_creator_vault_authority(creator),
        "amm_creator_vault_ata_wsol": a.amm_creator_vault(creator, WSOL_MINT, TOKEN_PROGRAM),
        "lp_mint": a.lp_mint(a.canonical_pool(mint)),
        "ata_bc_spl": associated_token_address(curve, mint, TOKEN_PROGRAM),
        "ata_bc_2022": associated_token_address(curve, mint, TOKEN_2022_PROGRAM),
        "ata_user_spl": associated_token_address(user, mint, TOKEN_PROGRAM),
        "ata_user_2022": associated_token_address(user, mint, TOKEN_2022_PROGRAM),
        "ata_user_wsol": associated_token_address(user, WSOL_MINT, TOKEN_PROGRAM),
    }
    return {name: str(address) for name, address in addresses.items()}


def test_a_pool_is_canonical_only_when_the_curve_created_it() -> None:
    mint, stranger = Pubkey.new_unique(), Pubkey.new_unique()
    assert a.is_canonical_pool_creator(a.pool_authority(mint), mint)
    assert not a.is_canonical_pool_creator(stranger, mint)
    assert a.pool(0, stranger, mint, WSOL_MINT) != a.canonical_pool(mint)


def test_the_recipient_lists_hold_eight_distinct_wallets_each() -> None:
    lists = (a.FEE_RECIPIENTS, a.MAYHEM_FEE_RECIPIENTS, a.BUYBACK_FEE_RECIPIENTS, a.JITO_TIP_ACCOUNTS)
    assert [len(members) for members in lists] == [8, 8, 8, 8]
    assert len({key for members in lists for key in members}) == 32


def test_pumpswap_trades_one_of_the_curves_recipients_for_another() -> None:
    assert len(a.AMM_FEE_RECIPIENTS) == 8
    assert len(set(a.AMM_FEE_RECIPIENTS) & set(a.FEE_RECIPIENTS)) == 7
