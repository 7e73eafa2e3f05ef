"""From an update of the stream to the engine: what concerns us is read, everything else only moves the slot on."""

from __future__ import annotations

import logging
import threading

from copytrader_core.errors import DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.records import Event
from copytrader_core.solana.transaction import RawTransaction
from executor.engine import Engine
from executor.glance import Glance, glance, warm
from executor.interests import Interests
from executor.live_run import LiveRun

_log = logging.getLogger(__name__)


class Hearing:
    """Reads transactions for an engine, and for a live run its own ones."""

    def __init__(self, engine: Engine, live: LiveRun | None, *, is_quick: bool) -> None:
        """`is_quick`: leaders' buys are read the short way, once its kernel is loaded. Paper is in no hurry."""
        self.interests = Interests(engine, live.broker.address if live is not None else None)
        self._engine = engine
        self._live = live
        self._heard: bytes | None = None
        self._is_quick = is_quick
        if self._is_quick:
            # Beside the run, which has the nodes to ask first anyway.
            threading.Thread(target=warm, name="kernel", daemon=True).start()

    def rehearse(self) -> None:
        """Reads the last leader's buy once more and decides on it, without any effect: so that the next one is fast."""
        if self._heard is not None:
            buy = glance(self._heard)
            if buy is not None:
                self._engine.rehearse(buy)

    def transaction(self, update: pb.SubscribeUpdateTransaction, received_ns: int, raw: bytes) -> None:
        """What concerns neither a leader nor a coin of ours is not even decoded."""
        if not self.interests.concern(update.transaction):
            self._engine.on_slot(update.slot)
            return
        buy = glance(raw) if self._is_quick else None
        if buy is not None and buy.wallet in self._engine.release.patterns and not self._is_own(buy):
            self._engine.on_buy(buy, received_ns)
            self._heard = raw
            return
        tx = _raw(update)
        if tx is None:
            return
        self._engine.on_transaction(update.slot, _events(tx), received_ns, tx)
        if self._live is not None:
            self._live.on_transaction(update, tx)

    def _is_own(self, buy: Glance) -> bool:
        return self._live is not None and buy.sig in self._live.broker.flights


def _raw(update: pb.SubscribeUpdateTransaction) -> RawTransaction | None:
    """What cannot be read is logged and says nothing: the worker keeps it for later."""
    try:
        return transaction_from_update(update.transaction, update.slot)
    except DecodeError as error:
        _log.warning("slot %d: %s", update.slot, error)
        return None


def _events(tx: RawTransaction) -> tuple[Event, ...]:
    """What a transaction says."""
    try:
        decoded = decode(tx)
    except DecodeError as error:
        _log.warning("slot %d: %s", tx.slot, error)
        return ()
    for problem in decoded.problems:
        _log.warning("slot %d, instruction %s: %s", tx.slot, problem.path, problem.reason)
    return decoded.events
