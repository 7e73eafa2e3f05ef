"""The model chain: what a trade costs to the lamport, where it fails, when it can land, and how it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from solders.hash import Hash
from solders.pubkey import Pubkey

from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump import addresses as a
from copytrader_core.pump import curve
from copytrader_core.pump.accounts import decode_bonding_curve, decode_fee_config, decode_global
from copytrader_core.pump.decode import decode
from copytrader_core.pump.fees import CURVE_FEES
from copytrader_core.records import Event
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.chain_rpc import ChainRpc
from copytrader_core.solana.coins import Coin, MintAccount, mint_policy
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.rpc_json import transaction_from_json
from copytrader_core.solana.trades import RECIPIENTS, Charges, buy, sell, wire
from simnet.capture import custom_code
from tests.simulation import shown
from tests.simulation.accounts import Accounts
from tests.simulation.bank import ATA_RENT, FEES, VOLUME_ACCOUNT_RENT, Receipt, State, Trade, Wire, read_wire
from tests.simulation.ends import Life, Node
from tests.simulation.faults import Faults
from tests.simulation.market import COINS, LEADERS
from tests.simulation.model_chain import BLOCKHASH_BLOCKS, FIRST_SLOT, Chain
from tests.simulation.virtual import START_NS, VirtualLoop
from tests.simulation.world import START_LAMPORTS, World

SIGNER = Signer(b"\x05" * 32)
COIN = COINS[0]
CHARGES = Charges(123_456, 77_000, a.JITO_TIP_ACCOUNTS[3])
COSTS = 5_000 + 123_456
SPEND = 10**9
NOW = START_NS // 10**9

T = TypeVar("T")


class Ours:
    """A chain on which the coin has been traded, and our trades on it."""

    def __init__(self) -> None:
        self.chain = Chain(1, NOW, State(START_LAMPORTS))
        self.slot = FIRST_SLOT - 1
        self.next(Trade(b"o" * 64, LEADERS[0], COIN, True, 3 * 10**9))

    def next(self, *items: Trade | Wire, doomed: bool = False) -> list[Receipt]:
        self.slot += 1
        return self.chain.produce(self.slot, NOW, items, doomed=doomed).receipts

    def buy(self, least: int = 1, blockhash: Hash | None = None) -> Wire:
        chosen = blockhash or self.chain.tip.blockhash
        return signed(buy(SIGNER.pubkey, Coin(COIN), SPEND, least, CHARGES, chosen, new_wallet=True))

    def sell(self, amount: int, least: int = 1) -> Wire:
        latest = self.chain.tip.blockhash
        return signed(sell(SIGNER.pubkey, Coin(COIN), amount, least, CHARGES, latest, close_account=True))

    @property
    def state(self) -> State:
        return self.chain.tip.state

    def quote(self) -> curve.CurveQuote:
        return curve.buy_exact_in(self.state.curves[COIN], FEES, SPEND)


def signed(message: bytes) -> Wire:
    return read_wire(wire(message, SIGNER.sign(message)))


def code(receipt: Receipt) -> int | None:
    return custom_code(receipt.error)


def test_a_buy_and_a_sale_cost_what_they_must_to_the_lamport() -> None:
    ours = Ours()
    quote = ours.quote()
    ours.next(ours.buy())
    paid = SPEND + COSTS + 77_000 + ATA_RENT + VOLUME_ACCOUNT_RENT
    assert ours.state.lamports == START_LAMPORTS - paid
    assert ours.state.coins == {COIN: quote.base_raw}
    proceeds = curve.sell(ours.state.curves[COIN], FEES, quote.base_raw).user_quote
    ours.next(ours.sell(quote.base_raw))
    assert ours.state.lamports == START_LAMPORTS - paid + proceeds - COSTS - 77_000 + ATA_RENT
    assert ours.state.coins == {}


def test_the_limit_of_a_buy_passes_and_one_tighter_fails_and_costs_its_fee_alone() -> None:
    ours = Ours()
    least = ours.quote().base_raw
    (receipt,) = ours.next(ours.buy(least + 1))
    assert code(receipt) == 6042
    assert ours.state == State(START_LAMPORTS - COSTS, curves=ours.state.curves, crowd=ours.state.crowd)
    (receipt,) = ours.next(ours.buy(least))
    assert not receipt.error


def test_the_limit_of_a_sale_passes_and_one_tighter_fails() -> None:
    ours = Ours()
    ours.next(ours.buy())
    held = ours.state.coins[COIN]
    least = curve.sell(ours.state.curves[COIN], FEES, held).user_quote
    (receipt,) = ours.next(ours.sell(held, least + 1))
    assert (code(receipt), ours.state.coins) == (6003, {COIN: held})
    (receipt,) = ours.next(ours.sell(held, least))
    assert not receipt.error


def test_what_is_not_held_cannot_be_sold_and_a_complete_curve_trades_no_more() -> None:
    ours = Ours()
    ours.next(ours.buy())
    held = ours.state.coins[COIN]
    (receipt,) = ours.next(ours.sell(held + 1))
    assert code(receipt) == 6023
    ours.next(Trade(b"c" * 64, LEADERS[1], COIN, True, 1, completes=True))
    for trade in (ours.sell(held), ours.buy()):
        (receipt,) = ours.next(trade)
        assert code(receipt) == 6005


def test_a_sale_of_a_part_cannot_close_the_account() -> None:
    ours = Ours()
    ours.next(ours.buy())
    (receipt,) = ours.next(ours.sell(ours.state.coins[COIN] - 1))
    assert code(receipt) == 11
    assert receipt.error[4] == 3


def test_a_signature_lands_once_on_a_fork_and_again_on_the_one_that_replaces_it() -> None:
    ours = Ours()
    trade = ours.buy()
    before = ours.state.lamports
    assert ours.next(trade, doomed=True)
    assert not ours.next(trade, doomed=True)
    assert [block.doomed for block in ours.chain.leave_fork()] == [True, True]
    assert ours.state.lamports == before
    assert ours.next(trade)
    assert not ours.next(trade)


def test_a_blockhash_lives_for_150_blocks_and_one_of_a_fork_left_behind_not_at_all() -> None:
    ours = Ours()
    first = ours.buy()
    second = ours.buy(2)
    for _ in range(BLOCKHASH_BLOCKS - 1):
        ours.next()
    assert ours.next(first)
    assert not ours.next(second)
    ours.next(doomed=True)
    lost = ours.buy()
    ours.chain.leave_fork()
    assert not ours.next(lost)


def test_blocks_are_confirmed_after_two_and_final_after_thirty_two_but_never_on_a_doomed_fork() -> None:
    ours = Ours()
    at = len(ours.chain.blocks) - 1
    ours.next()
    ours.next(doomed=True)
    ours.next(doomed=True)
    assert ours.chain.commitment_at(at) == "processed"
    ours.chain.leave_fork()
    ours.next()
    assert ours.chain.commitment_at(at) == "confirmed"
    for _ in range(29):
        ours.next()
    assert ours.chain.commitment_at(at) == "confirmed"
    ours.next()
    assert ours.chain.commitment_at(at) == "finalized"


def events(receipt: Receipt) -> tuple[Event, ...]:
    info = shown.transaction(receipt, 0, NOW)
    decoded = decode(transaction_from_update(info, FIRST_SLOT))
    assert not decoded.problems
    return decoded.events


def test_the_stream_shows_our_trades_as_they_were() -> None:
    ours = Ours()
    (bought,) = ours.next(ours.buy())
    (sold,) = ours.next(ours.sell(ours.state.coins[COIN]))
    for receipt, action in ((bought, "BUY"), (sold, "SELL")):
        assert receipt.effect is not None
        (event,) = events(receipt)
        assert (event.action, event.mint, event.wallet) == (action, str(COIN), SIGNER.address)
        assert (event.base_raw, event.quote_raw) == (receipt.effect.base_raw, receipt.effect.quote_lamports)
        assert (event.tx_fee_lamports, event.tip_lamports) == (COSTS, 77_000)
        raw = transaction_from_update(shown.transaction(receipt, 0, NOW), FIRST_SLOT)
        before, after = receipt.lamports[SIGNER.pubkey]
        assert raw.post_balances[0] - raw.pre_balances[0] == after - before
    left = ours.state.curves[COIN]
    assert (event.reserve_base_raw, event.reserve_quote_raw) == (left.virtual_base, left.virtual_quote)


def test_a_failed_transaction_is_shown_with_its_error_and_without_events() -> None:
    ours = Ours()
    (receipt,) = ours.next(ours.buy(2**60))
    info = shown.transaction(receipt, 0, NOW)
    assert custom_code(info.meta.err.err) == 6042
    assert info.meta.fee == COSTS
    assert events(receipt) == ()


def test_a_buy_that_empties_the_curve_is_shown_with_both_its_parts() -> None:
    ours = Ours()
    state = ours.state.curves[COIN]
    short = curve.buy_exact_out(state, FEES, state.real_base - 10**12)
    ours.next(Trade(b"s" * 64, LEADERS[0], COIN, True, short.user_quote))
    (receipt,) = ours.next(ours.buy())
    parts = events(receipt)
    assert len(parts) == 2
    assert receipt.effect is not None
    assert sum(event.base_raw or 0 for event in parts) == receipt.effect.base_raw == ours.state.coins[COIN]
    assert sum(event.quote_raw or 0 for event in parts) == receipt.effect.quote_lamports
    assert ours.state.curves[COIN].real_base == 0


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world that has begun, and in which nothing goes wrong."""
    made = World(3, tmp_path, faults=Faults())
    made.signer = SIGNER
    made.accounts = Accounts(SIGNER.pubkey)
    made.chain.produce(FIRST_SLOT, NOW, made.market.opening())
    return made


def answered(world: World, work: Awaitable[T]) -> T:
    loop = VirtualLoop(world.timeline)
    task: Any = loop.create_task(work)  # type: ignore[arg-type]
    task.add_done_callback(lambda _: loop.stop())
    loop.run_forever()
    loop.bury()
    found: T = task.result()
    return found


def node(world: World, at: int = 0) -> ChainRpc:
    return ChainRpc(Node(world, Life(0, Path()), world.nodes[at]))


def landed(world: World) -> Wire:
    latest = world.chain.tip.blockhash
    one = signed(buy(SIGNER.pubkey, Coin(COIN), SPEND, 1, CHARGES, latest, new_wallet=True))
    world.chain.produce(FIRST_SLOT + 1, NOW, [one])
    return one


def test_nodes_answer_by_commitment(world: World) -> None:
    text = signature_text(landed(world).signature)
    one = node(world)
    (status,) = answered(world, one.statuses([text]))
    assert status is not None
    assert (status.commitment, status.error) == ("processed", None)
    assert answered(world, one.transaction(text)) is None
    assert answered(world, one.balance(SIGNER.pubkey)) == START_LAMPORTS
    for slot in (2, 3):
        world.chain.produce(FIRST_SLOT + slot, NOW, [])
    document = answered(world, one.transaction(text))
    assert document is not None
    (event,) = decode(transaction_from_json(document)).events
    assert (event.quote_raw, event.tip_lamports) == (SPEND, 77_000)
    assert answered(world, one.signatures_for(SIGNER.pubkey)) == [text]
    _, lamports, (held,) = answered(world, one.belongings(SIGNER.pubkey))
    assert lamports == answered(world, one.balance(SIGNER.pubkey))
    assert (held.mint, held.amount_raw) == (COIN, world.chain.tip.state.coins[COIN])
    life = answered(world, one.latest_blockhash("processed"))
    assert life.last_valid_block_height == world.chain.tip.height + BLOCKHASH_BLOCKS


def test_a_node_that_stands_still_shows_an_older_chain_that_never_goes_back(world: World) -> None:
    world.slot = FIRST_SLOT
    height = world.chain.tip.height
    world.nodes[0].stall(world, 5)
    text = signature_text(landed(world).signature)
    assert answered(world, node(world).statuses([text])) == [None]
    assert answered(world, node(world).block_height("processed")) == height
    assert answered(world, node(world, 1).statuses([text])) != [None]


def test_accounts_read_as_the_programs_own(world: World) -> None:
    asked = [a.bonding_curve(COIN), COIN, a.PUMP_FEE_CONFIG, a.PUMP_GLOBAL, Pubkey.default()]
    on_curve, mint, fees, settings, nothing = answered(world, node(world).accounts(asked, "processed"))
    assert nothing is None
    assert on_curve is not None and mint is not None and fees is not None and settings is not None
    coin_curve = decode_bonding_curve(on_curve.data)
    assert coin_curve.state == world.chain.tip.state.curves[COIN]
    policy = mint_policy(
        COIN,
        MintAccount(mint.owner, mint.data),
        curve_address=asked[0],
        curve_owner=on_curve.owner,
        curve=coin_curve,
    )
    assert policy is None
    assert decode_fee_config(fees.data).tiers == CURVE_FEES.tiers
    assert decode_global(settings.data).buyback_recipients == tuple(RECIPIENTS.buybacks)


def test_a_simulation_tells_what_would_happen_and_changes_nothing(world: World) -> None:
    latest, before = world.chain.tip.blockhash, world.chain.tip.state.copy()
    for least, error in ((1, None), (2**60, {"InstructionError": [3, {"Custom": 6042}]})):
        one = signed(buy(SIGNER.pubkey, Coin(COIN), SPEND, least, CHARGES, latest, new_wallet=True))
        assert answered(world, node(world).simulate(one.raw)).error == error
    assert world.chain.tip.state == before


def test_two_questions_at_once_are_answered_in_the_same_order_every_time(world: World) -> None:
    async def both() -> list[str]:
        order: list[str] = []

        async def ask(name: str, at: int) -> None:
            await node(world, at).block_height()
            order.append(name)

        await asyncio.gather(ask("a", 0), ask("b", 1))
        return order

    world._rng.seed("again")
    first = answered(world, both())
    world._rng.seed("again")
    assert answered(world, both()) == first
