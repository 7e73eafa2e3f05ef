"""A second executor inside the first: it plays the last leader's buy again and again, so that the next one is fast.

What has not run for some milliseconds has left the processor's caches and takes several times as long. The understudy
goes the whole way, from the signal to the routes' door, by the very same code. Its key, journal and book are its own:
nothing that it does is signed by the wallet, written down or sent.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Final

from copytrader_core.solana.keys import Signer
from copytrader_core.solana.routes.route import Route
from executor.coins import CoinBook
from executor.control import ACTIVE, Control, Switch
from executor.desk import Desk, Tally
from executor.engine import Engine
from executor.glance import Glance
from executor.journal import Journal
from executor.live import LiveBroker
from executor.market_book import MarketBook
from executor.wal import Document, Wal

__all__ = ["Understudy"]

_SEED_BYTES: Final = 32


class Understudy:
    """Stands beside a live engine and its broker; reads both, changes neither."""

    def __init__(self, engine: Engine, broker: LiveBroker, routes: tuple[Route, ...] = ()) -> None:
        """`routes` must lead nowhere."""
        self._lead = engine
        self._release, self._settings = engine.release, engine.desk.settings
        switch = _Onlooker(engine.desk.switch)
        self._journal = Journal(_Nowhere(), "live", "rehearsal", lambda: switch.state)
        ledger = self._journal.ledger
        coins = CoinBook()
        self._broker = LiveBroker(
            Signer(secrets.token_bytes(_SEED_BYTES)),
            routes,
            coins,
            lambda: switch.state,
            lambda: ledger.signatures,
            broker.time,
            last_seen=lambda: switch.seen,
        )
        self._broker.head, self._broker.has_traded = broker.head, broker.has_traded
        self._desk = Desk(self._journal, self._broker, engine.desk.clock, self._settings, switch, 0)
        self._desk.coins, self._desk.wall_ns = coins, engine.desk.wall_ns
        self._engine = Engine(self._desk, self._release)

    @property
    def may_play(self) -> bool:
        """Whether the engine would buy at all."""
        return self._lead.trading_state == "ACTIVE"

    def play(self, buy: Glance) -> None:
        """The way of `Engine.on_buy` for a buy of somebody who is followed; afterwards nothing of it is left."""
        if buy.wallet not in self._lead.release.patterns:
            return
        self._follow()
        try:
            self._engine.on_buy(buy, self._desk.wall_ns())
        finally:
            self._forget()

    def _follow(self) -> None:
        """Takes over what the engine decides by."""
        lead, desk = self._lead, self._desk
        if self._release is not lead.release:
            self._release = lead.release
            self._engine.swap_release(self._release)
        if self._settings is not lead.desk.settings:
            self._settings = lead.desk.settings
            self._engine.swap_settings(self._settings)
        desk.holdings.balance_lamports, desk.drift = lead.desk.holdings.balance_lamports, lead.desk.drift
        desk.switch.locks = lead.desk.switch.locks

    def _forget(self) -> None:
        ledger, desk = self._journal.ledger, self._desk
        for order in self._broker.orders:
            self._broker.forget(order)
        self._broker.drop_ready()
        for kept in (ledger.intents, ledger.bought, ledger.signatures, ledger.decided):
            kept.clear()
        desk.coins.forget(())
        desk.market = MarketBook()
        desk.tally = Tally()


class _Onlooker(Switch):
    """Sees what the file forbids, as the switch does that it stands beside; presses nothing."""

    def __init__(self, other: Switch) -> None:
        super().__init__(other.folder)
        self.heard(ACTIVE)

    def trip(self, control: Control) -> bool:
        return False

    def flattened(self) -> None:
        """The wish stays: it is not for a rehearsal to fulfil."""


class _Nowhere(Wal):
    """Lines are put together and handed to the system, which throws them away."""

    def __init__(self) -> None:
        self.snapshot: Document = {}
        self.seq = self._size = self._last = self._head = 0
        self._file = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._file)

    def replay(self) -> Iterator[Document]:
        return iter(())

    def take_back(self) -> None:
        """There is nothing to take back."""

    @property
    def is_long(self) -> bool:
        return False
