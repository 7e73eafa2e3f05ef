"""What a start makes of the journal: the book, orders under way, what was decided before, the last known reserves.

A restart trusts the journal; live it asks the chain as well (`executor.chain_events`). No stream here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.landing import model_name
from copytrader_core.policy.record import settings_document
from copytrader_core.records import Release
from copytrader_core.settings import Settings
from executor.broker import Broker
from executor.clock import Clock
from executor.control import Switch
from executor.desk import Desk
from executor.engine import Engine
from executor.journal import Entry, Journal
from executor.market_book import MarketBook
from executor.marks import landed_event
from executor.orders import order_from
from executor.paper import PaperBroker
from executor.what_if import WhatIfBook


def start(
    journal: Journal, settings: Settings, clock: Clock, release: Release, switch: Switch, broker: Broker | None = None
) -> Engine:
    """An engine that goes on where the last run of this mode ended, however that ended. Without `broker` on paper."""
    opening = 0 if journal.mode == "live" else lamports(settings.executor.paper_balance_sol)
    market = WhatIfBook() if broker is None else MarketBook()
    desk = Desk(journal, broker or PaperBroker(settings.executor), clock, settings, switch, opening, market)
    engine = Engine(desk, release)
    facts = {
        "settings": settings_document(desk.settings),
        "landing": model_name(desk.settings.executor),
        "positions": len(desk.holdings.open),
        "balance_lamports": desk.holdings.balance_lamports,
        "state": switch.state,
    }
    journal.syncs_first = settings.executor.sync_before_send
    journal.preamble = lambda: desk.entry("SETTINGS", {"settings": settings_document(desk.settings)})
    journal.write(Entry("RUN", clock.now_ns(), release_id=release.release_id, payload=facts))
    if broker is None:
        _resume_orders(journal, desk)
    return engine


def know_markets(desk: Desk, rows: Sequence[Mapping[str, Any]]) -> None:
    """Takes landed reserves (`last_markets`): an overdue exit need not wait for the coin's next trade.

    What is held on paper is put back into its market.
    """
    for row in rows:
        desk.market.hear(landed_event(row))
    for position in desk.holdings.open.values():
        desk.market.restore(position)


def _resume_orders(journal: Journal, desk: Desk) -> None:
    """An order that left stays under way until its slot is known; one that never left is over."""
    for row in list(journal.ledger.intents.values()):
        order = order_from(row["payload"])
        if row["state"] == "SENT":
            desk.broker.submit(order, None)
            position = desk.holdings.open.get(order.position_id)
            if position is not None:
                position.selling = True
        else:
            desk.expire(order, "the run that planned it ended before it was sent", was=row["state"])
