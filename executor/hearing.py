"""From an update of the stream to the engine: what concerns us is read, everything else only moves the slot on."""

from __future__ import annotations

import logging
import threading

from copytrader_core.errors import DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import parsed
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.records import Event
from copytrader_core.solana.base58 import address_bytes
from copytrader_core.solana.transaction import RawTransaction
from executor.engine import Engine
from executor.glance import Glance, Glancer, is_loaded
from executor.interests import Interests
from executor.live_run import LiveRun
from executor.understudy import Understudy

_log = logging.getLogger(__name__)


class Hearing:
    """Reads transactions for an engine, and for a live run its own ones."""

    def __init__(self, engine: Engine, live: LiveRun | None, *, is_quick: bool) -> None:
        """`is_quick`: leaders' buys are read the short way, once its kernel is loaded. Paper is in no hurry."""
        self.interests = Interests(engine, live.broker.address if live is not None else None)
        self._engine = engine
        self._live = live
        self._heard: bytes | None = None
        self._glance = Glancer()
        self._release_id: str | None = None
        self._warming: threading.Thread | None = None
        if is_quick and is_loaded():
            self._glance.warm()
        elif is_quick:
            # Beside the run, which has the nodes to ask first anyway.
            self._warming = threading.Thread(target=self._glance.warm, name="kernel", daemon=True)
            self._warming.start()

    def wait(self) -> None:
        """Returns when the short way can be gone."""
        if self._warming is not None:
            self._warming.join()

    def rehearse(self, understudy: Understudy) -> None:
        """Reads the last leader's buy once more, for another who plays it."""
        if self._heard is not None and understudy.may_play:
            buy = self._glance(self._heard)
            if buy is not None:
                understudy.play(buy)

    def transaction(self, raw: bytes, received_ns: int, update: pb.SubscribeUpdateTransaction | None = None) -> None:
        """An update that holds a transaction, as bytes and, where somebody has parsed it already, as what they say.

        What concerns neither a leader nor a coin of ours is not even decoded.
        """
        release = self._engine.release
        if self._release_id != release.release_id:
            self._release_id = release.release_id
            self._glance.follow([address_bytes(wallet) for wallet in release.patterns])
        buy = self._glance(raw)
        if buy is not None and buy.wallet in release.patterns and not self._is_own(buy):
            self._engine.on_buy(buy, received_ns)
            self._heard = raw
            return
        if update is None and (update := _parsed(raw)) is None:
            return
        if not self.interests.concern(update.transaction):
            self._engine.on_slot(update.slot)
            return
        tx = _raw(update)
        if tx is None:
            return
        self._engine.on_transaction(update.slot, _events(tx), received_ns, tx)
        if self._live is not None:
            self._live.on_transaction(update, tx)

    def _is_own(self, buy: Glance) -> bool:
        return self._live is not None and buy.sig in self._live.broker.flights


def _parsed(raw: bytes) -> pb.SubscribeUpdateTransaction | None:
    found = parsed(raw)
    if found is None:
        _log.warning("an update of %d bytes is no SubscribeUpdate", len(raw))
    return None if found is None else found.transaction


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
