"""The live chain without its doors: forks, skips and faults leave a chain whose truth the decoder agrees with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import pytest
from solders.pubkey import Pubkey

from copytrader_core.errors import ConfigError, DataError
from copytrader_core.geyser.copytrader_geyser_pb2 import CONFIRMED, SubscribeUpdateBlock
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.records import Event
from simnet.faults import Faults
from simnet.live_chain import LiveChain, LiveOptions

START = 1_791_900_000

pytestmark = pytest.mark.usefixtures("snapshot")


def _chain(**faults: float) -> LiveChain:
    return LiveChain(LiveOptions(start=START, faults=Faults(seed=5, **faults)))  # type: ignore[arg-type]


def _alive(chain: LiveChain) -> Iterator[SubscribeUpdateBlock]:
    for index in range(len(chain.ledger)):
        entry = chain.ledger.entry(index)
        if entry is not None and not entry.is_dead:
            yield chain.ledger.block(index)


@pytest.fixture(scope="module")
def stormy() -> LiveChain:
    """A chain that has seen every fault of forks and market many times."""
    chain = _chain(rollback=0.1, leader_skip=0.05, complete=0.003, creator_change=0.005)
    for _ in range(1_500):
        chain.step()
    return chain


def test_the_storm_was_one(stormy: LiveChain) -> None:
    entries = [stormy.ledger.entry(index) for index in range(len(stormy.ledger))]
    assert sum(entry.is_dead for entry in entries if entry) > 100
    assert any(coin.migrated for coin in stormy.market.coins)


def test_blocks_that_stay_follow_each_other(stormy: LiveChain) -> None:
    for before, block in pairwise(_alive(stormy)):
        assert (block.parent_slot, block.parent_blockhash) == (before.slot, before.blockhash)
        assert block.block_height.block_height == before.block_height.block_height + 1


def test_no_confirmed_block_was_ever_left_behind(stormy: LiveChain) -> None:
    chain = _chain(rollback=0.3)
    confirmed: list[int] = []
    for _ in range(200):
        chain.step()
        for index in range(len(confirmed), chain.ledger.reached(CONFIRMED)):
            entry = chain.ledger.entry(index)
            confirmed.append(bool(entry and entry.is_dead))
    after = [chain.ledger.entry(index) for index in range(len(confirmed))]
    assert [bool(entry and entry.is_dead) for entry in after] == confirmed


def test_the_decoder_agrees_with_the_truth_of_what_stayed(stormy: LiveChain) -> None:
    decoded: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for block in _alive(stormy):
        for info in block.transactions:
            for event in decode(transaction_from_update(info, block.slot, block.block_time.timestamp)).events:
                decoded[event.sig, event.outer_ix].append(event)
    for truth in stormy.market.truth.events:
        rows = decoded.pop((truth.sig, truth.outer_ix))
        assert {(r.wallet, r.action, r.mint, r.slot) for r in rows} == {
            (truth.wallet, truth.action, truth.mint, truth.slot)
        }
        if truth.action != "CREATE":
            assert sum(r.base_raw or 0 for r in rows) == truth.base_raw
            assert sum(r.quote_raw or 0 for r in rows) == truth.quote_raw
    assert not decoded


def test_lamports_are_what_the_last_block_says(stormy: LiveChain) -> None:
    last: dict[bytes, int] = {}
    for block in _alive(stormy):
        for info in block.transactions:
            keys = [*info.transaction.message.account_keys, *info.meta.loaded_writable_addresses]
            last |= dict(zip(keys, info.meta.post_balances, strict=False))
    wallets = [bytes(wallet.pubkey) for wallet in stormy.market.cast.wallets.values()]
    assert all(stormy.bank.lamports(Pubkey.from_bytes(key)) == last[key] for key in wallets if key in last)


def test_the_same_seed_and_start_give_the_same_chain() -> None:
    one, other = _chain(rollback=0.1), _chain(rollback=0.1)
    for chain in (one, other):
        for _ in range(100):
            chain.step()
    assert one.bank.blockhash == other.bank.blockhash


def test_a_block_that_is_not_kept_cannot_be_taken_back() -> None:
    chain = _chain()
    for _ in range(chain.options.confirmed_after_slots + 1):
        chain.bank.undo_block()
    with pytest.raises(DataError, match="undo_blocks"):
        chain.bank.undo_block()


def test_an_impossible_chain_is_refused() -> None:
    for options in ({"slot_ms": 1.0}, {"minutes": 1.0}, {"confirmed_after_slots": 0}):
        with pytest.raises(ConfigError):
            LiveOptions(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        LiveChain(LiveOptions(n_leaders=2, n_jito=3))
