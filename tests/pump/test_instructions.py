"""Instruction builders against the official kits' output and against what the deployed programs accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from copytrader_core.pump import addresses as a
from copytrader_core.pump import instructions as ix
from copytrader_core.pump.instructions import CurveCoin, FeeRecipients, PumpPool
from copytrader_core.solana.message import close_token_account, create_token_account, unwrap_sol, wrap_sol
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM, WSOL_MINT

Vector = dict[str, Any]
key = Pubkey.from_string


def shape(instruction: Instruction) -> Vector:
    """An instruction as the vectors write it."""
    return {
        "programId": str(instruction.program_id),
        "keys": [
            [str(meta.pubkey), ("s" if meta.is_signer else "-") + ("w" if meta.is_writable else "-")]
            for meta in instruction.accounts
        ],
        "data": bytes(instruction.data).hex(),
    }


def curve_coin(given: Vector) -> CurveCoin:
    return CurveCoin(
        mint=key(given["mint"]),
        creator=key(given["creator"]),
        token_program=key(given["base_token_program"]),
        quote_mint=key(given["quote_mint"]),
        quote_token_program=key(given["quote_token_program"]),
        is_cashback=given["cashback"],
    )


def curve_instructions(given: Vector) -> dict[str, Instruction]:
    coin, user = curve_coin(given), key(given["user"])
    recipients = FeeRecipients(key(given["fee_recipient"]), key(given["buyback_fee_recipient"]))
    amount, quote = int(given["amount"]), int(given["quote_amount"])
    return {
        "buy": ix.buy(coin, user, recipients, amount, quote),
        "sell": ix.sell(coin, user, recipients, amount, quote),
        "buy_exact_sol_in": ix.buy_exact_sol_in(coin, user, recipients, quote, amount),
        "buy_v2": ix.buy_v2(coin, user, recipients, amount, quote),
        "sell_v2": ix.sell_v2(coin, user, recipients, amount, quote),
        "buy_exact_quote_in_v2": ix.buy_exact_quote_in_v2(coin, user, recipients, quote, amount),
        "create_ata_idempotent": create_token_account(user, user, coin.mint, coin.token_program),
        "close_base_ata": close_token_account(user, coin.mint, coin.token_program),
        "extend_bonding_curve": ix.extend_curve(coin.mint, user),
    }


def test_every_curve_instruction_equals_the_official_kits_key_by_key(shared: Path) -> None:
    vectors = json.loads((shared / "vectors/pump_instructions.json").read_text())["vectors"]
    assert vectors
    for vector in vectors:
        for name, built in curve_instructions(vector["in"]).items():
            assert shape(built) == vector[name], name


def pump_pool(given: Vector) -> PumpPool:
    return PumpPool(
        address=key(given["pool"]),
        base_mint=key(given["base_mint"]),
        coin_creator=key(given["coin_creator"]),
        base_token_program=key(given["base_token_program"]),
        quote_mint=key(given["quote_mint"]),
        quote_token_program=key(given["quote_token_program"]),
        is_cashback=given["cashback"],
    )


def official_buy_list(given: Vector, swap: Instruction) -> list[Instruction]:
    """The whole list that the official kit makes around a buy: accounts, wrapping, swap, unwrapping."""
    pool, user, quote = pump_pool(given), key(given["user"]), int(given["quote_amount"])
    is_sol = pool.quote_mint == WSOL_MINT
    return [
        *([] if given["user_quote_ata_exists"] or not is_sol else [_quote_account(pool, user)]),
        *(wrap_sol(user, quote) if is_sol else ()),
        *([] if given["user_base_ata_exists"] else [_base_account(pool, user)]),
        swap,
        *([unwrap_sol(user)] if is_sol else []),
    ]


def official_sell_list(given: Vector, swap: Instruction) -> list[Instruction]:
    pool, user = pump_pool(given), key(given["user"])
    return [
        *([] if given["user_quote_ata_exists"] else [_quote_account(pool, user)]),
        swap,
        *([unwrap_sol(user)] if pool.quote_mint == WSOL_MINT else []),
    ]


def _base_account(pool: PumpPool, user: Pubkey) -> Instruction:
    return create_token_account(user, user, pool.base_mint, pool.base_token_program)


def _quote_account(pool: PumpPool, user: Pubkey) -> Instruction:
    return create_token_account(user, user, pool.quote_mint, pool.quote_token_program)


def test_every_pumpswap_v1_instruction_list_equals_the_official_kits_key_by_key(shared: Path) -> None:
    vectors = json.loads((shared / "vectors/amm_instructions.json").read_text())["vectors"]
    assert vectors
    for vector in vectors:
        given = vector["in"]
        pool, user = pump_pool(given), key(given["user"])
        recipients = FeeRecipients(key(given["protocol_fee_recipient"]), key(given["buyback_fee_recipient"]))
        base, quote = int(given["base_amount"]), int(given["quote_amount"])
        bought = ix.amm_buy(pool, user, recipients, base, quote)
        sold = ix.amm_sell(pool, user, recipients, base, quote)
        assert [shape(one) for one in official_buy_list(given, bought)] == vector["buy_ixs"]
        assert [shape(one) for one in official_sell_list(given, sold)] == vector["sell_ixs"]
        exact = ix.amm_buy_exact_quote_in(pool, user, recipients, quote, base)
        assert shape(exact) == vector["buy_exact_quote_in"]


CURVE_BUILDERS: dict[str, Callable[..., Instruction]] = {
    "buy": ix.buy,
    "sell": ix.sell,
    "buy_exact_sol_in": ix.buy_exact_sol_in,
    "buy_v2": ix.buy_v2,
    "sell_v2": ix.sell_v2,
    "buy_exact_quote_in_v2": ix.buy_exact_quote_in_v2,
}
CURVE_V3_BUILDERS: dict[str, Callable[..., Instruction]] = {
    "buy_v3": ix.buy_v3,
    "sell_v3": ix.sell_v3,
    "buy_exact_quote_in_v3": ix.buy_exact_quote_in_v3,
}
AMM_BUILDERS: dict[str, Callable[..., Instruction]] = {
    "buy": ix.amm_buy,
    "sell": ix.amm_sell,
    "buy_exact_quote_in": ix.amm_buy_exact_quote_in,
}
AMM_V2_BUILDERS: dict[str, Callable[..., Instruction]] = {
    "buy_v2": ix.amm_buy_v2,
    "sell_v2": ix.amm_sell_v2,
    "buy_exact_quote_in_v2": ix.amm_buy_exact_quote_in_v2,
}


def rebuilt_on_curve(trade: Vector) -> Instruction:
    """The trade's instruction from its coin, user and amounts; fee recipients are taken from the key list."""
    coin = CurveCoin(key(trade["coin"]), key(trade["creator"]), TOKEN_2022_PROGRAM)
    keys, user, kind = [key(name) for name, _ in trade["keys"]], key(trade["user"]), trade["kind"]
    amounts = int(trade["arg1"]), int(trade["arg2"])
    if kind in CURVE_V3_BUILDERS:
        return CURVE_V3_BUILDERS[kind](coin, user, keys[13], *amounts)
    recipients = FeeRecipients(keys[6], keys[8]) if kind.endswith("_v2") else FeeRecipients(keys[1], keys[-1])
    return CURVE_BUILDERS[kind](coin, user, recipients, *amounts)


def test_every_curve_trade_that_the_deployed_program_executed_is_rebuilt_key_by_key(shared: Path) -> None:
    trades = json.loads((shared / "vectors/svm_pump_trades.json").read_text())["trades"]
    assert {trade["kind"] for trade in trades} == CURVE_BUILDERS.keys() | CURVE_V3_BUILDERS.keys()
    for trade in trades:
        built = shape(rebuilt_on_curve(trade))
        assert built["keys"] == trade["keys"], trade["kind"]
        assert built["data"] == trade["data"], trade["kind"]


def rebuilt_on_pool(trade: Vector) -> Instruction:
    pool = PumpPool(key(trade["pool"]), key(trade["base_mint"]), key(trade["coin_creator"]), TOKEN_2022_PROGRAM)
    keys, user, kind = [key(name) for name, _ in trade["keys"]], key(trade["user"]), trade["kind"]
    amounts = int(trade["arg1"]), int(trade["arg2"])
    if kind in AMM_V2_BUILDERS:
        buyback = next(wallet for wallet in a.BUYBACK_FEE_RECIPIENTS if _wsol(wallet) == keys[14])
        return AMM_V2_BUILDERS[kind](pool, user, buyback, *amounts)
    return AMM_BUILDERS[kind](pool, user, FeeRecipients(keys[9], keys[-2]), *amounts)


def _wsol(owner: Pubkey) -> Pubkey:
    return create_token_account(owner, owner, WSOL_MINT, TOKEN_PROGRAM).accounts[1].pubkey


def test_every_pumpswap_trade_that_the_deployed_program_executed_is_rebuilt_key_by_key(shared: Path) -> None:
    trades = json.loads((shared / "vectors/svm_amm_trades.json").read_text())["trades"]
    assert {trade["kind"] for trade in trades} == AMM_BUILDERS.keys() | AMM_V2_BUILDERS.keys()
    for trade in trades:
        built = shape(rebuilt_on_pool(trade))
        assert built["keys"] == trade["keys"], trade["kind"]
        assert built["data"] == trade["data"], trade["kind"]


COIN = CurveCoin(
    key("6ZTa91N8YUSYhTC4yJzDj3vwat2cDcXETbqgqE13pump"), key("6GwYTgqJCupFmQ1nQTPGbP3PSBpFngiF4sCVwYj3q1XW")
)
USER = key("6GwYTgqJCupFmQ1nQTPGbP3PSBpFngiF4sCVwYj3q1XW")
POOL = PumpPool(a.canonical_pool(COIN.mint), COIN.mint, COIN.creator)


def test_a_real_creation_is_rebuilt_account_by_account() -> None:
    built = ix.create_v2(COIN, USER, name="Bloxpad", symbol="Bloxpad", uri="https://x")
    assert [str(meta.pubkey) for meta in built.accounts] == [
        "6ZTa91N8YUSYhTC4yJzDj3vwat2cDcXETbqgqE13pump",
        "TSLvdd1pWpHVjahSpsvCXUbgwsL3JAcvokwaKt1eokM",
        "Gh4pUe1yw7utGDuzDRRpoKDG8RkMXiEu9388CSzVRjFt",
        "HY3QzmyYDoMrpLhqDgahkse75i3tcqMpQFvWJs6T78aC",
        "4wTV1YmiEkRvAtNtsSGPtUrqRYQMe5SKy2uB4Jjaxnjf",
        "6GwYTgqJCupFmQ1nQTPGbP3PSBpFngiF4sCVwYj3q1XW",
        "11111111111111111111111111111111",
        "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb",
        "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL",
        "MAyhSmzXzV1pTf7LsNkrNwkWKTo4ougAJ1PPg47MD4e",
        "13ec7XdrjF3h3YcqBTFDSReRcUFwbCnJaAQspM4j6DDJ",
        "BwWK17cbHxwWBKZkUYvzxLcNQ1YVyaFezduWbtm2de6s",
        "FMFNkcGFYQnhYMMsBwwSFTE23AELkrTn8FwpyZZo5CLX",
        "8mCqkziUA6qTYh4rNgWbSxu4QESedtV5KsN2CUtZBhjr",
        "Ce6TQqeHC9p8KetsN6JsjHK7UTZk7nasjjnr7XxXp9F1",
        "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P",
    ]
    assert bytes(built.data).hex() == (
        "d6904cec5f8b31b4"
        + "07000000426c6f7870616407000000426c6f78706164"
        + "0900000068747470733a2f2f78"
        + bytes(USER).hex()
        + "0000000000000000000000"
    )


def test_a_coin_quoted_in_a_token_names_its_quote_accounts_after_the_others() -> None:
    stock = key("Xsa62P5mvPszXL1krVUnU5ar38bBSVcWAB6fmPCo5Zu")
    coin = CurveCoin(
        key("5FzK3auCZ88ggHidFRjMt77L7gt9Ccq9cqMtw7YDpump"),
        quote_mint=stock,
        quote_token_program=TOKEN_2022_PROGRAM,
    )
    tail = shape(ix.create_v2(coin, USER, name="a", symbol="b", uri="c"))["keys"][16:]
    assert tail == [
        [str(stock), "--"],
        ["6PB7HtHK121XBCWUnH1UUWXPPNmz31aPvrQcRxnhPLyy", "-w"],
        ["TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb", "--"],
        ["6z6GDdfb2AjR9ZhJmAUQ5cipJCVxQvLJhB2H8mCwTFBP", "--"],
    ]


@pytest.mark.parametrize(("partial_fill", "tail"), [(None, ""), (False, "00"), (True, "01")])
def test_partial_fill_is_one_optional_byte_at_the_end(partial_fill: bool | None, tail: str) -> None:
    built = ix.buy_v3(COIN, USER, a.BUYBACK_FEE_RECIPIENTS[0], 1, 2, partial_fill=partial_fill)
    assert bytes(built.data).hex() == "07051dc4f5176550" + "0100000000000000" + "0200000000000000" + tail


def test_a_v3_trade_of_a_token_quoted_coin_pays_the_recipients_token_account() -> None:
    wallet = a.BUYBACK_FEE_RECIPIENTS[0]
    coin = CurveCoin(COIN.mint, quote_mint=a.USDC_MINT)
    expected = create_token_account(wallet, wallet, a.USDC_MINT, TOKEN_PROGRAM).accounts[1].pubkey
    assert ix.sell_v3(coin, USER, wallet, 1, 1).accounts[13].pubkey == expected


def test_migration_names_the_boost_vault_after_the_interfaces_own_27() -> None:
    built = ix.migrate_v2(COIN, USER, withdraw_authority=a.ZERO_KEY)
    pool = a.canonical_pool(COIN.mint)
    assert len(built.accounts) == 29
    assert built.accounts[10].pubkey == pool
    assert built.accounts[27].pubkey == a.boost_vault_authority(pool)
    assert built.accounts[28].pubkey == _wsol(a.boost_vault_authority(pool))


def test_deposit_and_withdraw_share_their_accounts_and_only_read_the_user() -> None:
    deposit = shape(ix.amm_deposit(POOL, USER, 1, 2, 3))
    withdraw = shape(ix.amm_withdraw(POOL, USER, 1, 2, 3))
    assert deposit["keys"] == withdraw["keys"]
    assert deposit["keys"][2] == [str(USER), "s-"]
    assert (deposit["data"][:16], withdraw["data"][:16]) == ("f223c68952e1f2b6", "b712469c946da122")


def test_a_new_pool_names_no_coin_creator_and_no_special_kind() -> None:
    pool = PumpPool(a.pool(7, USER, COIN.mint, WSOL_MINT), COIN.mint)
    built = ix.amm_create_pool(pool, USER, 7, 1000, 2000)
    assert len(built.accounts) == 18
    expected = "e992d18ecf6840bc" + "0700" + "e803000000000000" + "d007000000000000" + "00" * 32 + "00" * 12
    assert bytes(built.data).hex() == expected
