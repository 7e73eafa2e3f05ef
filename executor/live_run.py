"""A live run's own parts, put together: broker, what the chain says, who asks it. The service feeds them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.policy.entry import lamports
from copytrader_core.records import Release
from copytrader_core.settings import Settings
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.transaction import RawTransaction
from executor import boot
from executor.canary import Canary
from executor.chain_events import ChainEvents
from executor.clock import WallClock
from executor.coins import CoinBook
from executor.control import Switch
from executor.fills import failure_of_update
from executor.journal import Journal
from executor.live import LiveBroker
from executor.nonce_accounts import follow
from executor.outside import Outside
from executor.reconcile import Put, Reconciler
from executor.settler import Settler

_STATUS: Final = {
    pb.SLOT_PROCESSED: "processed",
    pb.SLOT_CONFIRMED: "confirmed",
    pb.SLOT_FINALIZED: "confirmed",
    pb.SLOT_DEAD: "dead",
}


Work = Callable[[], Awaitable[None]]
"""Something that goes on until the run ends."""


class LiveRun:
    """What a live run has beside its engine."""

    def __init__(
        self, journal: Journal, settings: Settings, release: Release, switch: Switch, outside: Outside
    ) -> None:
        coins = CoinBook()
        self.broker = LiveBroker(
            outside.signer,
            outside.routes,
            coins,
            lambda: switch.state,
            lambda: journal.ledger.signatures,
            outside.time,
            nonces=outside.nonces,
            last_seen=lambda: switch.seen,
        )
        clock = WallClock(outside.now_ns)
        self.engine = boot.start(journal, settings, clock, release, switch, self.broker)
        self.engine.desk.coins, self.engine.desk.wall_ns = coins, outside.now_ns
        self.broker.nonces.recall(journal.ledger.spent)
        self.chain = ChainEvents(self.engine, self.broker)
        self._outside = outside
        self._switch = switch

    def works(self, put: Put) -> list[Work]:
        """What has to go on beside the engine."""
        desk, config = self.engine.desk, self.engine.desk.settings.executor
        settler = Settler(
            self.broker,
            self._outside.nodes,
            put,
            lambda: self._switch.state,
            lambda: desk.holdings.open,
            every_seconds=config.rebroadcast_ms / 1000,
            now=self._outside.time,
        )
        asking = Reconciler(
            self.broker,
            self._outside.nodes,
            settler,
            put,
            every_seconds=config.reconcile_seconds,
            quorum=self._outside.quorum,
        )
        self.chain.doubted = asking.ask
        canary = Canary(
            self.broker,
            self._outside.nodes,
            put,
            every_seconds=config.canary_seconds,
            spend_lamports=lamports(desk.settings.policy.min_size_sol),
        )
        broker, every = self.broker, config.rebroadcast_ms / 1000
        nonces = partial(follow, broker.nonces, self._outside.nodes, broker.owner, every_seconds=every)
        return [
            partial(canary.run, self._newest_coin),
            settler.send_again,
            settler.follow,
            partial(nonces, lambda: broker.nonces.is_unread(broker.sales)),
            partial(asking.run, lambda: frozenset(desk.journal.ledger.signatures), lambda: self.chain.needs_truth),
            partial(asking.read_coins, self.chain.wanted),
        ]

    def _newest_coin(self) -> tuple[str, dict[str, Any]] | None:
        """The last coin whose market is open, for the canary."""
        desk = self.engine.desk
        mint = desk.coins.newest
        market = desk.market.state(mint) if mint is not None else None
        if mint is None or market is None or market.complete:
            return None
        coin = desk.coins.document(mint, market)
        return None if coin is None else (mint, coin)

    def on_block_meta(self, meta: pb.SubscribeUpdateBlockMeta) -> None:
        """A block at processed."""
        self.chain.on_slot_status(meta.slot, meta.parent_slot, "processed")
        self.broker.head.block(meta.slot, meta.blockhash, meta.block_height.block_height)
        if self._outside.tpu is not None:
            self._outside.tpu.on_slot(meta.slot)

    def on_slot(self, update: pb.SubscribeUpdateSlot) -> None:
        """What became of a slot."""
        parent = update.parent if update.HasField("parent") else None
        status = _STATUS.get(update.status)
        if status is not None:
            self.chain.on_slot_status(update.slot, parent, status)

    def on_transaction(self, update: pb.SubscribeUpdateTransaction, tx: RawTransaction) -> None:
        """A transaction that may be ours."""
        signature = signature_text(tx.signature)
        if signature in self.broker.flights:
            failure = failure_of_update(update.transaction.meta.err.err) if tx.failed else None
            self.chain.on_own(update.slot, signature, tx, failure)
