"""The bank runs the deployed programs and reports everything that a validator would."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import get_args

import pytest
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.errors import DataError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from simnet.bank import BLOCKHASH_LIFETIME, Bank, Executed, NotIncludedError, seconds_at, slot_at
from simnet.bytecode import Snapshot
from simnet.desk import Coin, Desk, Order, Version, Wallet, Wire, keypair
from simnet.genesis import put_lookup_table
from simnet.settle import boundaries, settle
from simnet.truth import TruthEvent

SOL = 1_000_000_000
START = slot_at(1_791_800_000)
TOO_MUCH_SOL_REQUIRED, CURVE_COMPLETE = 6002, 6005


@dataclass
class Town:
    """A bank with one launched coin, and short words for what the tests do."""

    bank: Bank
    desk: Desk
    coin: Coin

    def wallet(self, name: str, version: Version = "v3_exact", wire: Wire = "v0", **habits) -> Wallet:
        wallet = Wallet(name, keypair(1, name), version, wire, **habits)
        self.bank.airdrop(wallet.pubkey, 500 * SOL)
        return wallet

    def run(self, order: Order) -> tuple[Executed, list[TruthEvent], pb.SubscribeUpdateBlock]:
        self.bank.begin_block(self.bank.parent_slot + 1)
        between = boundaries(self.bank, self.desk, order)
        executed = self.bank.execute(order.transaction)
        return executed, list(settle(order, executed, between)), self.bank.end_block()

    def buy(self, wallet: Wallet, sol: float, slippage_bps: int = 500) -> TruthEvent:
        executed, events, _ = self.run(self.desk.buy(wallet, self.coin, round(sol * SOL), slippage_bps))
        assert executed.ok, executed.info.meta.log_messages
        return events[0]

    def sell(self, wallet: Wallet, share: float = 1.0) -> TruthEvent:
        tokens = int(self.desk.holding(wallet, self.coin) * share)
        executed, events, _ = self.run(self.desk.sell(wallet, self.coin, tokens, 500))
        assert executed.ok, executed.info.meta.log_messages
        return events[0]

    def graduate(self) -> None:
        whale = self.wallet("whale")
        self.buy(whale, 95)
        executed, _, _ = self.run(self.desk.migrate(whale, self.coin))
        assert executed.ok
        self.coin.migrated = True


def launch(snapshot: Snapshot) -> Town:
    bank = Bank(START, snapshot)
    creator = Wallet("creator", keypair(1, "creator"))
    bank.airdrop(creator.pubkey, 100 * SOL)
    desk = Desk(bank, random.Random(1), keypair(1, "table").pubkey())
    built = Town(bank, desk, Coin("CAT", keypair(1, "coin"), creator))
    executed, events, _ = built.run(desk.create(built.coin, "https://coins.example/1.json", SOL))
    assert executed.ok and [event.action for event in events] == ["CREATE", "BUY"]
    return built


@pytest.fixture
def town(snapshot: Snapshot) -> Town:
    return launch(snapshot)


@pytest.mark.parametrize("version", get_args(Version))
def test_every_version_buys_and_sells_on_the_curve(town: Town, version: Version):
    trader = town.wallet("trader", version)
    bought, part, rest = town.buy(trader, 2.0), town.sell(trader, 0.4), town.sell(trader)
    assert bought.base_raw == part.base_raw + rest.base_raw
    # With nobody else trading a round trip costs both sides' fees of 1.25 %, whatever the size.
    assert part.quote_raw + rest.quote_raw == pytest.approx(bought.quote_raw * 0.9753, rel=0.001)


@pytest.mark.parametrize("version", get_args(Version))
def test_every_version_buys_and_sells_on_pumpswap(town: Town, version: Version):
    town.graduate()
    trader = town.wallet("trader", version)
    bought, sold = town.buy(trader, 2.0), town.sell(trader)
    assert bought.base_raw == sold.base_raw
    assert sold.quote_raw == pytest.approx(bought.quote_raw * 0.9756, rel=0.003)


@pytest.mark.parametrize("wire", get_args(Wire))
def test_every_message_version_is_carried_as_it_was_signed(town: Town, wire: Wire):
    trader = town.wallet("trader", "v3_exact", wire)
    executed, _, _ = town.run(town.desk.buy(trader, town.coin, SOL, 500))
    message, meta = executed.info.transaction.message, executed.info.meta
    assert executed.ok
    assert message.versioned == (wire != "legacy")
    assert message.HasField("config") == (wire == "v1")
    n_looked_up = sum(len(t.writable_indexes) + len(t.readonly_indexes) for t in message.address_table_lookups)
    n_loaded = len(meta.loaded_writable_addresses) + len(meta.loaded_readonly_addresses)
    assert (n_looked_up > 0) == (wire == "table") and n_loaded == n_looked_up
    assert len(meta.pre_balances) == len(meta.post_balances) == len(message.account_keys) + n_loaded


def test_a_buy_past_the_end_completes_the_curve_and_the_coin_moves_on(town: Town):
    whale, late = town.wallet("whale"), town.wallet("late")
    assert town.buy(whale, 95).n_parts == 2
    assert town.desk.reserves(town.coin).complete
    executed, events, _ = town.run(town.desk.buy(late, town.coin, SOL, 500))
    assert (executed.custom_error, events) == (CURVE_COMPLETE, [])
    executed, _, _ = town.run(town.desk.migrate(whale, town.coin))
    assert executed.ok
    town.coin.migrated = True
    assert town.buy(late, 1).n_parts == 1


def test_a_buy_up_to_the_end_has_one_part(town: Town):
    whale = town.wallet("whale", "v3")
    assert town.buy(whale, 50).n_parts == 1


def test_liquidity_goes_in_and_comes_out(town: Town):
    town.graduate()
    provider = town.wallet("provider", closes_accounts=False)
    town.buy(provider, 10)
    _, added, _ = town.run(town.desk.deposit(provider, town.coin, 150))
    _, removed, _ = town.run(town.desk.withdraw(provider, town.coin))
    assert [added[0].action, removed[0].action] == ["ADD", "REMOVE"]
    assert added[0].base_raw == pytest.approx(removed[0].base_raw, rel=1e-6)
    assert added[0].quote_raw == pytest.approx(removed[0].quote_raw, rel=1e-6)


def test_a_failed_transaction_is_part_of_the_block_and_costs_its_fee(town: Town):
    trader = town.wallet("trader", "v3", priority_micro_lamports=0, tip_lamports=5_000)
    before = town.bank.lamports(trader.pubkey)
    executed, events, block = town.run(town.desk.buy(trader, town.coin, SOL, -500))
    assert (executed.ok, executed.custom_error, events) == (False, TOO_MUCH_SOL_REQUIRED, [])
    # InstructionError(instruction 2, Custom(6002)) in bincode
    assert block.transactions[0].meta.err.err == bytes.fromhex("08000000 02 19000000 72170000")
    assert before - town.bank.lamports(trader.pubkey) == 5_000


def test_two_trades_of_one_transaction_are_told_apart(town: Town):
    trader = town.wallet("trader", tip_lamports=100_000)
    before = town.bank.lamports(trader.pubkey)
    executed, events, _ = town.run(town.desk.buy_and_sell(trader, town.coin, SOL))
    bought, sold = events
    assert (bought.action, sold.action, bought.base_raw) == ("BUY", "SELL", sold.base_raw)
    rent = 2_074_080 + 1_844_400
    paid = before - town.bank.lamports(trader.pubkey)
    assert bought.quote_raw - sold.quote_raw == paid - executed.fee - 100_000 - rent


def test_rent_tips_and_network_fees_are_no_part_of_the_price(snapshot: Snapshot):
    habits = ({"priority_micro_lamports": 0}, {"priority_micro_lamports": 900_000, "tip_lamports": 7_000_000})
    bought = []
    for habit in habits:
        town = launch(snapshot)
        bought.append(town.buy(town.wallet("trader", "legacy", **habit), 1))
    assert bought[0].quote_raw == bought[1].quote_raw
    assert bought[1].tx_fee_lamports > bought[0].tx_fee_lamports == 5_000


def test_an_account_that_stays_open_changes_no_price(snapshot: Snapshot):
    sold = []
    for closes in (True, False):
        town = launch(snapshot)
        trader = town.wallet("trader", closes_accounts=closes)
        town.buy(trader, 1)
        sold.append(town.sell(trader).quote_raw)
    assert sold[0] == sold[1]


def test_lamports_are_conserved_but_for_the_fee(town: Town):
    trader = town.wallet("trader", "v2_exact", tip_lamports=50_000)
    for order in (town.desk.buy(trader, town.coin, SOL, 500), town.desk.buy(trader, town.coin, SOL, 500)):
        executed, _, _ = town.run(order)
        meta = executed.info.meta
        assert sum(meta.pre_balances) - sum(meta.post_balances) == meta.fee == executed.fee


def test_token_balances_name_mint_owner_program_and_decimals(town: Town):
    trader = town.wallet("trader")
    executed, events, _ = town.run(town.desk.buy(trader, town.coin, SOL, 500))
    meta = executed.info.meta
    assert not [b for b in meta.pre_token_balances if b.owner == str(trader.pubkey)]
    (held,) = [b for b in meta.post_token_balances if b.owner == str(trader.pubkey)]
    assert held.mint == str(town.coin.mint) and held.program_id.startswith("TokenzQd")
    assert (held.ui_token_amount.amount, held.ui_token_amount.decimals) == (str(events[0].base_raw), 6)
    assert float(held.ui_token_amount.ui_amount_string) == events[0].base_raw / 1e6
    keys = executed.info.transaction.message.account_keys
    assert Pubkey.from_bytes(keys[held.account_index]) == town.coin.account_of(trader)


def test_inner_instructions_carry_their_stack_height(town: Town):
    trader = town.wallet("trader")
    executed, events, _ = town.run(town.desk.buy(trader, town.coin, SOL, 500))
    groups = {group.index: group for group in executed.info.meta.inner_instructions}
    heights = {inner.stack_height for inner in groups[events[0].outer_ix].instructions}
    assert min(heights) == 2 and any(
        inner.data.startswith(bytes.fromhex("e445a52e51cb9a1d")) for inner in groups[events[0].outer_ix].instructions
    )


def test_blocks_link_and_carry_the_time_of_their_slot(town: Town):
    trader, bank = town.wallet("trader"), town.bank
    parent, height, blockhash = bank.parent_slot, bank.block_height, bank.blockhash
    bank.begin_block(parent + 5)
    bank.execute(town.desk.buy(trader, town.coin, SOL, 500).transaction)
    block = bank.end_block()
    assert (block.slot, block.parent_slot, block.parent_blockhash) == (parent + 5, parent, str(blockhash))
    assert block.block_height.block_height == height + 1
    assert block.block_time.timestamp == seconds_at(parent + 5)
    assert block.executed_transaction_count == len(block.transactions) == 1


def test_the_programs_see_the_time_of_the_block(town: Town):
    trader = town.wallet("trader")
    executed, events, block = town.run(town.desk.buy(trader, town.coin, SOL, 500))
    (group,) = [g for g in executed.info.meta.inner_instructions if g.index == events[0].outer_ix]
    (event,) = [i.data for i in group.instructions if i.data[8:16] == bytes.fromhex("bddb7fd34ee661ee")]
    assert int.from_bytes(event[16 + 81 : 16 + 89], "little") == block.block_time.timestamp


def test_slots_are_400_ms_and_fall_on_their_second():
    assert seconds_at(START) in (1_791_800_000, 1_791_799_999)
    assert seconds_at(START + 5) - seconds_at(START) == 2
    assert slot_at(seconds_at(START + 1000) + 0.0) - START in (998, 999, 1000)


def test_a_transaction_is_included_once(town: Town):
    trader = town.wallet("trader")
    order = town.desk.buy(trader, town.coin, SOL, 500)
    town.run(order)
    town.bank.begin_block(town.bank.parent_slot + 1)
    with pytest.raises(NotIncludedError, match="already processed"):
        town.bank.execute(order.transaction)


def test_an_old_blockhash_expires(town: Town):
    trader = town.wallet("trader")
    order = town.desk.buy(trader, town.coin, SOL, 500)
    for _ in range(BLOCKHASH_LIFETIME + 1):
        town.bank.begin_block(town.bank.parent_slot + 1)
        town.bank.end_block()
    assert not town.bank.is_blockhash_valid(order.transaction.message.recent_blockhash)
    town.bank.begin_block(town.bank.parent_slot + 1)
    with pytest.raises(NotIncludedError, match="expired"):
        town.bank.execute(order.transaction)


def test_a_forged_signature_reaches_no_block(town: Town):
    trader = town.wallet("trader")
    order = town.desk.buy(trader, town.coin, SOL, 500)
    forged = VersionedTransaction.populate(order.transaction.message, [keypair(1, "thief").sign_message(b"mine")])
    town.bank.begin_block(town.bank.parent_slot + 1)
    with pytest.raises(NotIncludedError):
        town.bank.execute(forged)
    assert not town.bank.end_block().transactions


def test_a_lookup_table_that_is_not_there_keeps_a_transaction_out(town: Town):
    trader, stranger = town.wallet("trader", wire="table"), launch_elsewhere(town)
    order = stranger.desk.buy(trader, town.coin, SOL, 500)
    town.bank.begin_block(town.bank.parent_slot + 1)
    with pytest.raises(NotIncludedError, match="lookup table"):
        town.bank.execute(order.transaction)


def launch_elsewhere(town: Town) -> Town:
    """A desk whose lookup table this bank has never seen."""
    desk = Desk(town.bank, random.Random(2), keypair(2, "table").pubkey())
    put_lookup_table(town.bank.svm, keypair(2, "table").pubkey(), [])
    return Town(town.bank, desk, town.coin)


def test_blocks_go_forward_only(town: Town):
    with pytest.raises(DataError, match="cannot begin"):
        town.bank.begin_block(town.bank.parent_slot)
    with pytest.raises(DataError, match="no block is open"):
        town.bank.end_block()
