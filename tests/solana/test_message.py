"""Transactions as they go on the wire."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.errors import TransactionError
from copytrader_core.pump.addresses import BUYBACK_FEE_RECIPIENTS, JITO_TIP_ACCOUNTS
from copytrader_core.pump.instructions import CurveCoin, buy_exact_quote_in_v3
from copytrader_core.solana.message import MAX_TRANSACTION_BYTES, build_transaction, create_token_account

PAYER = Keypair.from_seed(bytes(range(32)))
BLOCKHASH = Hash(bytes(range(32)))


def copy_buy(signature_payer: Keypair = PAYER) -> list[Instruction]:
    user = signature_payer.pubkey()
    coin = CurveCoin(Pubkey.from_string("6ZTa91N8YUSYhTC4yJzDj3vwat2cDcXETbqgqE13pump"))
    return [
        create_token_account(user, user, coin.mint, coin.token_program),
        buy_exact_quote_in_v3(coin, user, BUYBACK_FEE_RECIPIENTS[0], 10_000_000, 1),
    ]


def resolved(raw: bytes, tables: list[AddressLookupTableAccount]) -> list[tuple[str, list[tuple[str, str]], str]]:
    """Each instruction with its accounts named, whatever order the compiler chose."""
    message = VersionedTransaction.from_bytes(raw).message
    named = [(str(key), _flags(message, i)) for i, key in enumerate(message.account_keys)]
    lookups = message.address_table_lookups
    by_key = {table.key: table.addresses for table in tables}
    named += [(str(by_key[one.account_key][i]), "-w") for one in lookups for i in one.writable_indexes]
    named += [(str(by_key[one.account_key][i]), "--") for one in lookups for i in one.readonly_indexes]
    return [
        (named[one.program_id_index][0], [named[i] for i in one.accounts], bytes(one.data).hex())
        for one in message.instructions
    ]


def _flags(message: Any, index: int) -> str:
    return ("s" if message.is_signer(index) else "-") + ("w" if message.is_maybe_writable(index) else "-")


def test_the_official_transactions_are_rebuilt_instruction_by_instruction(shared: Path) -> None:
    vectors = json.loads((shared / "vectors/txs.json").read_text())["vectors"]
    assert vectors
    for vector in vectors:
        payer = Keypair.from_seed(bytes.fromhex(vector["seed"]))
        tables = [
            AddressLookupTableAccount(
                Pubkey.from_string(table["key"]), [Pubkey.from_string(one) for one in table["addresses"]]
            )
            for table in vector["alt"]
        ]
        cu_limit, price, *rest = vector["ixs"]
        raw = build_transaction(
            payer,
            [_instruction(one) for one in rest],
            Hash.from_string(vector["blockhash"]),
            cu_limit=int.from_bytes(bytes.fromhex(cu_limit["data"])[1:], "little"),
            priority_fee_micro_lamports=int.from_bytes(bytes.fromhex(price["data"])[1:], "little"),
            lookup_tables=tables,
        )
        assert resolved(raw, tables) == resolved(base64.b64decode(vector["tx"]), tables)
        assert len(raw) == vector["size"]


def _instruction(one: dict[str, Any]) -> Instruction:
    accounts = [AccountMeta(Pubkey.from_string(name), "s" in flags, "w" in flags) for name, flags in one["keys"]]
    return Instruction(Pubkey.from_string(one["programId"]), bytes.fromhex(one["data"]), accounts)


def test_a_copy_buy_is_signed_budgeted_and_tipped_in_835_bytes() -> None:
    raw = build_transaction(
        PAYER,
        copy_buy(),
        BLOCKHASH,
        cu_limit=110_000,
        priority_fee_micro_lamports=1_000_000,
        tip_lamports=1000,
        tip_account=JITO_TIP_ACCOUNTS[0],
    )
    assert len(raw) == 835
    transaction = VersionedTransaction.from_bytes(raw)
    assert transaction.verify_with_results() == [True]
    budget_limit, budget_price, *_, tip = resolved(raw, [])
    assert budget_limit[2] == "02" + (110_000).to_bytes(4, "little").hex()
    assert budget_price[2] == "03" + (1_000_000).to_bytes(8, "little").hex()
    assert tip[1] == [(str(PAYER.pubkey()), "sw"), (str(JITO_TIP_ACCOUNTS[0]), "-w")]
    assert tip[2] == "02000000" + (1000).to_bytes(8, "little").hex()


def test_the_same_inputs_give_the_same_bytes() -> None:
    first, second = (
        build_transaction(PAYER, copy_buy(), BLOCKHASH, cu_limit=90_000, priority_fee_micro_lamports=0)
        for _ in range(2)
    )
    assert first == second


def test_a_transaction_too_large_for_a_packet_is_refused_with_its_size() -> None:
    crowd = Instruction(
        Pubkey.new_unique(),
        b"",
        [AccountMeta(Pubkey.new_unique(), is_signer=False, is_writable=True) for _ in range(40)],
    )
    with pytest.raises(TransactionError, match=rf"has \d+ bytes, at most {MAX_TRANSACTION_BYTES}"):
        build_transaction(PAYER, [crowd], BLOCKHASH, cu_limit=1, priority_fee_micro_lamports=0)


def test_a_missing_second_signer_is_refused_and_a_given_one_signs() -> None:
    second = Keypair()
    both = Instruction(Pubkey.new_unique(), b"", [AccountMeta(second.pubkey(), is_signer=True, is_writable=True)])
    with pytest.raises(TransactionError, match="not enough signers"):
        build_transaction(PAYER, [both], BLOCKHASH, cu_limit=1, priority_fee_micro_lamports=0)
    raw = build_transaction(PAYER, [both], BLOCKHASH, cu_limit=1, priority_fee_micro_lamports=0, signers=[second])
    assert VersionedTransaction.from_bytes(raw).verify_with_results() == [True, True]


def test_a_tip_through_a_lookup_table_is_refused() -> None:
    tip = JITO_TIP_ACCOUNTS[3]
    table = AddressLookupTableAccount(Pubkey.new_unique(), [tip])
    with pytest.raises(TransactionError, match="lookup table"):
        build_transaction(
            PAYER,
            [],
            BLOCKHASH,
            cu_limit=1,
            priority_fee_micro_lamports=0,
            tip_lamports=1,
            tip_account=tip,
            lookup_tables=[table],
        )


@pytest.mark.parametrize("tip_lamports", [-1, 5])
def test_a_tip_without_amount_or_account_is_refused(tip_lamports: int) -> None:
    with pytest.raises(TransactionError, match="tip"):
        build_transaction(PAYER, [], BLOCKHASH, cu_limit=1, priority_fee_micro_lamports=0, tip_lamports=tip_lamports)


@pytest.mark.parametrize("cu_limit", [0, 1_400_001])
def test_an_impossible_compute_limit_is_refused(cu_limit: int) -> None:
    with pytest.raises(TransactionError, match="cu_limit"):
        build_transaction(PAYER, [], BLOCKHASH, cu_limit=cu_limit, priority_fee_micro_lamports=0)
