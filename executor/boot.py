"""What a start makes of the journal: the book, orders under way, what was decided before, the last known reserves.

A restart trusts the journal and nothing else; reserves of what is held come from Postgres if there is one. No stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.record import exit_plan, settings_document
from copytrader_core.records import Event, Release
from copytrader_core.settings import Settings
from executor.clock import Clock
from executor.control import Switch
from executor.desk import Desk
from executor.engine import Engine
from executor.journal import Entry, Journal
from executor.ledger import Ledger
from executor.orders import Position, order_from
from executor.paper import PaperBroker
from executor.positions import Holdings


def start(journal: Journal, settings: Settings, clock: Clock, release: Release, switch: Switch) -> Engine:
    """An engine that goes on where the last run of this mode ended, however that ended."""
    holdings = _holdings(journal.ledger, settings)
    desk = Desk(journal, PaperBroker(settings.executor), clock, settings, switch, holdings)
    engine = Engine(desk, release)
    facts = {
        "settings": settings_document(settings),
        "positions": len(holdings.open),
        "balance_lamports": holdings.balance_lamports,
        "state": switch.state,
    }
    journal.write(Entry("RUN", clock.now_ns(), release_id=release.release_id, payload=facts))
    _resume_orders(journal, desk)
    return engine


def know_markets(desk: Desk, rows: Sequence[Mapping[str, Any]]) -> None:
    """Takes landed reserves (`last_markets`): an overdue exit need not wait for the coin's next trade."""
    for row in rows:
        desk.market.hear(_event(row))


def _holdings(ledger: Ledger, settings: Settings) -> Holdings:
    holdings = Holdings(lamports(settings.executor.paper_balance_sol) + ledger.cash_lamports)
    for ts_ns, pnl_lamports in ledger.results:
        holdings.realised(ts_ns, pnl_lamports)
    for row in ledger.positions.values():
        holdings.open[row["position_id"]] = _position(row)
    return holdings


def _position(row: Mapping[str, Any]) -> Position:
    kept = row["payload"]
    return Position(
        position_id=row["position_id"],
        leader=row["leader"],
        leader_sig=row["leader_sig"],
        mint=row["mint"],
        opened_slot=row["slot"],
        opened_ts_ns=row["ts_ns"],
        qty_raw=row["base_raw"],
        cost_lamports=row["cost_lamports"],
        paid_in_lamports=kept["paid_in_lamports"],
        plan=exit_plan(kept["plan"]),
        attempts=kept["attempts"],
        leader_sold=kept["leader_sold"],
        due=kept["due"],
    )


def _resume_orders(journal: Journal, desk: Desk) -> None:
    """An order that left stays under way until its slot is known; one that never left is over."""
    for row in list(journal.ledger.intents.values()):
        order = order_from(row["payload"])
        if row["state"] == "SENT":
            desk.broker.submit(order)
            position = desk.holdings.open.get(order.position_id)
            if position is not None:
                position.selling = True
        else:
            desk.expire(order, "the run that planned it ended before it was sent", was=row["state"])


def _event(row: Mapping[str, Any]) -> Event:
    """A landed row as an event; what a market does not need is left empty."""
    return Event(
        slot=row["slot"],
        tx_index=row["tx_index"],
        sig=row["sig"],
        outer_ix=0,
        inner_ix=-1,
        event_seq=0,
        wallet="",
        fee_payer="",
        program=row["program"],
        action=row["action"],
        mint=row["mint"],
        base_mint=row["mint"],
        quote_mint=row["quote_mint"],
        base_raw=None,
        quote_raw=None,
        swap_fee_raw=None,
        tx_fee_lamports=0,
        tip_lamports=0,
        reserve_base_raw=int(row["reserve_base_raw"]),
        reserve_quote_raw=int(row["reserve_quote_raw"]),
        amount_in=None,
        amount_out=None,
        price_est=None,
        fee_sol=0.0,
        meta=row["meta_json"] or {},
    )
