"""A chain that goes on: slots, leaders, blocks of a planted market and of whoever sends, forks and what goes wrong.

It has no clock and no sockets: `step` is one slot. `simnet.live` steps it in real time and serves it.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.errors import ConfigError
from copytrader_core.geyser.copytrader_geyser_pb2 import CONFIRMED, FINALIZED, PROCESSED
from copytrader_core.pump import addresses as a
from simnet.bank import Bank, NotIncludedError
from simnet.bytecode import load_snapshot
from simnet.faults import Faults
from simnet.intake import ONE_SHOT_SLOTS, Delivery, Intake
from simnet.leaders import Leaders
from simnet.ledger import LiveLedger
from simnet.live_market import LiveMarket

__all__ = ["Bundle", "LiveChain", "LiveOptions"]

_MIN_MINUTES = 15.0


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """A live chain. `minutes` is how long the market trades, in chain time; the chain itself goes on.

    `start` is the chain's first second (None: now). `warmup_slots` have passed before anybody is served. Ports of 0
    take free ones; `bundle_requests_per_s` is the block engine's limit.
    """

    seed: int = 7
    slot_ms: float = 400.0
    minutes: float = 60.0
    start: int | None = None
    warmup_slots: int = 200
    confirmed_after_slots: int = 2
    finalized_after_slots: int = 32
    n_leaders: int = 4
    n_jito: int = 3
    replay_slots: int | None = None
    geyser_port: int = 0
    rpc_port: int = 0
    block_engine_port: int = 0
    tpu_port: int = 0
    bundle_requests_per_s: float = 1.0
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        if self.slot_ms < 5 or self.minutes < _MIN_MINUTES:
            raise ConfigError(
                f"a live chain has slots of 5 ms or more and a market of {_MIN_MINUTES:g} minutes or more, "
                f"found {self.slot_ms:g} ms and {self.minutes:g}"
            )
        if not 1 <= self.confirmed_after_slots <= self.finalized_after_slots:
            raise ConfigError("delays must be 1 <= confirmed_after_slots <= finalized_after_slots")


@dataclass(slots=True)
class Bundle:
    """What the block engine knows of a bundle."""

    bundle_id: str
    signatures: list[str]
    received_slot: int
    status: str = "Pending"
    landed_slot: int | None = None


@dataclass(frozen=True, slots=True)
class _Block:
    """Others' transactions of a block that may still be left behind."""

    index: int
    transactions: list[VersionedTransaction]


class LiveChain:
    """The state of the chain. `landed` gives the position of the block that holds a signature."""

    def __init__(self, options: LiveOptions) -> None:
        self.options = options
        self.faults = options.faults
        self.leaders = Leaders(options.seed, options.n_leaders, options.n_jito)
        self._snapshot = load_snapshot()
        start = int(time.time()) if options.start is None else options.start
        undo = options.confirmed_after_slots + 1
        self.market = LiveMarket(options.seed, start, options.minutes, self._snapshot, undo)
        self.bank: Bank = self.market.bank
        self.ledger = LiveLedger(options.confirmed_after_slots, options.finalized_after_slots)
        self.intake = Intake(self.bank, self.leaders, self.faults)
        self.slot = self.bank.parent_slot
        self.landed: dict[bytes, int] = {}
        self.bundles: dict[str, Bundle] = {}
        self._recent: list[_Block] = []
        for _ in range(options.warmup_slots):
            self.market.act()
            self._next_block()

    def step(self) -> None:
        """One slot: perhaps a fork is left, perhaps the leader makes no block."""
        self._follow_settings()
        self.market.act()
        if self.faults.strikes("leader_skip"):
            self.slot += 1
            self._advance()
            return
        if self._recent and self.faults.strikes("rollback"):
            self._leave_fork()
        self._next_block()

    # --- ways in ------------------------------------------------------------------------------------------------------

    def airdrop(self, wallet: Pubkey, lamports: int) -> None:
        """Lamports out of nothing, outside of any block; a fork left now may take them back with later trades."""
        self.bank.airdrop(wallet, lamports)

    def send(self, transaction: VersionedTransaction, *, repeats: bool) -> None:
        """Through a node, which forwards it to every leader, again and again if it `repeats`."""
        until = None if repeats else self.slot + ONE_SHOT_SLOTS
        self.intake.submit(Delivery((transaction,), until), self.slot)

    def send_to_leader(self, identity: Pubkey, transaction: VersionedTransaction) -> None:
        """Straight to a validator: whoever does not lead now or next drops it, silently."""
        if self.leaders.takes(identity, self.slot + 1):
            until = self.slot + ONE_SHOT_SLOTS
            self.intake.submit(Delivery((transaction,), until, leader=identity), self.slot)

    def send_bundle(self, transactions: tuple[VersionedTransaction, ...], tip_lamports: int) -> Bundle:
        """Through the block engine: all of it in one block of a Jito leader, or nothing."""
        signatures = [str(transaction.signatures[0]) for transaction in transactions]
        bundle_id = hashlib.sha256(",".join(signatures).encode()).hexdigest()
        bundle = self.bundles.setdefault(bundle_id, Bundle(bundle_id, signatures, self.slot))
        delivery = Delivery(transactions, bundle_id=bundle_id, tip_lamports=tip_lamports)
        self.intake.submit(delivery, self.slot)
        return bundle

    def commitment_of(self, index: int) -> str:
        """How far the block at `index` has come."""
        if index < self.ledger.reached(FINALIZED):
            return "finalized"
        return "confirmed" if index < self.ledger.reached(CONFIRMED) else "processed"

    @property
    def finalized_blockhash(self) -> Hash:
        """The newest blockhash that no fork can take away."""
        entry = self.ledger.entry(max(0, self.ledger.reached(FINALIZED) - 1))
        return self.bank.blockhash if entry is None else Hash.from_string(entry.blockhash)

    # --- blocks -------------------------------------------------------------------------------------------------------

    def _next_block(self) -> None:
        self.slot += 1
        others: list[VersionedTransaction] = []
        block = self.market.produce(self.slot, lambda: self._run_others(others))
        index = self.ledger.append(block)
        for info in block.transactions:
            self.landed[info.signature] = index
        self._recent.append(_Block(index, others))
        self._advance()

    def _advance(self) -> None:
        """What is confirmed by now can no fork take away."""
        self.ledger.advance(self.slot)
        confirmed = self.ledger.reached(CONFIRMED)
        self._recent = [one for one in self._recent if one.index >= confirmed]

    def _run_others(self, done: list[VersionedTransaction]) -> None:
        if self.faults.strikes("creator_change") and not self.market.change_a_creator():
            self.faults.once("creator_change")
        if self.faults.strikes("complete") and not self.market.complete_a_curve():
            self.faults.once("complete")
        for delivery in self.intake.due(self.slot):
            self._front_run(delivery)
            if delivery.bundle_id is None:
                self._run_one(delivery.transactions[0], done)
            else:
                self._run_bundle(delivery.bundle_id, delivery.transactions, done)

    def _front_run(self, delivery: Delivery) -> None:
        coin = self.market.coin_among(delivery.transactions[0].message.account_keys)
        if coin is not None and self.faults.strikes("front_run"):
            self.market.buy_ahead(coin, self.faults.front_run_share)

    def _run_one(self, transaction: VersionedTransaction, done: list[VersionedTransaction]) -> None:
        try:
            self.bank.execute(transaction)
        except NotIncludedError:
            return  # a leader drops it and tells nobody
        done.append(transaction)

    def _run_bundle(
        self, bundle_id: str, transactions: tuple[VersionedTransaction, ...], done: list[VersionedTransaction]
    ) -> None:
        bundle, savepoint = self.bundles[bundle_id], self.bank.savepoint()
        try:
            all_ok = all(self.bank.execute(transaction).ok for transaction in transactions)
        except NotIncludedError:
            all_ok = False
        if all_ok:
            bundle.status, bundle.landed_slot = "Landed", self.slot
            done.extend(transactions)
        else:
            self.bank.undo_to(savepoint)
            bundle.status = bundle.status if bundle.landed_slot else "Failed"

    def _leave_fork(self) -> None:
        """The cluster goes on from before the blocks that nobody has confirmed yet."""
        left: list[VersionedTransaction] = []
        while self._recent:
            block = self._recent.pop()
            for info in self.ledger.block(block.index).transactions:
                self.landed.pop(info.signature, None)
            self.market.take_back()
            self.ledger.kill(block.index)
            left[:0] = block.transactions
        for transaction in left:
            if self.faults.strikes("reland"):
                self.intake.submit(Delivery((transaction,)), self.slot)
        for bundle in self.bundles.values():
            if bundle.landed_slot is not None and bundle.landed_slot > self.bank.parent_slot:
                bundle.status, bundle.landed_slot = "Failed", None

    def _follow_settings(self) -> None:
        self.market.delay_migrations(self.faults.migration_delay_slots)
        if self.faults.program_upgrade != self.market.is_paused:
            self.market.is_paused = self.faults.program_upgrade
            # Another program's code does not accept this address: it fails every call, with a code that no pump
            # interface lists. The market waits until its own code is back.
            code = a.AMM_PROGRAM if self.market.is_paused else a.PUMP_PROGRAM
            self.bank.svm.add_program(a.PUMP_PROGRAM, self._snapshot.programs[str(code)])

    @property
    def tip_index(self) -> int:
        """The position of the newest block."""
        return self.ledger.reached(PROCESSED) - 1
