"""What a start makes of the database: the book, orders under way, what was decided before, the last known reserves.

A restart trusts the journal's tables and nothing else. No stream here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from copytrader_core.policy.entry import lamports
from copytrader_core.policy.record import exit_plan, settings_document
from copytrader_core.records import Event, Release
from copytrader_core.settings import Settings
from executor.clock import Clock
from executor.desk import Desk
from executor.engine import Engine
from executor.journal import Entry, Journal
from executor.orders import Position, order_from
from executor.paper import PaperBroker
from executor.positions import Holdings


async def start(journal: Journal, settings: Settings, clock: Clock, release: Release) -> Engine:
    """An engine that goes on where the last run of this mode ended, however that ended."""
    control = await journal.control()
    holdings = await _holdings(journal, settings)
    desk = Desk(journal, PaperBroker(settings.executor), clock, settings, control, holdings)
    decided = {(row["leader_sig"], row["mint"]): row["slot"] for row in await journal.rows("decided")}
    engine = Engine(desk, release, decided)
    facts = {
        "settings": settings_document(settings),
        "positions": len(holdings.open),
        "balance_lamports": holdings.balance_lamports,
        "state": control.state,
    }
    await journal.write(Entry("RUN", clock.now_ns(), release_id=release.release_id, payload=facts))
    await _resume_orders(journal, desk)
    await _know_markets(journal, desk)
    return engine


async def _holdings(journal: Journal, settings: Settings) -> Holdings:
    flow = (await journal.rows("cash_flow"))[0]["lamports"]
    holdings = Holdings(lamports(settings.executor.paper_balance_sol) + int(flow))
    for row in await journal.rows("results"):
        holdings.realised(int(row["ts_ns"]), int(row["pnl_lamports"]))
    for row in await journal.rows("open_positions"):
        holdings.open[row["position_id"]] = _position(row)
    return holdings


def _position(row: Mapping[str, Any]) -> Position:
    kept = row["payload"]
    return Position(
        position_id=row["position_id"],
        leader=row["leader"],
        leader_sig=row["leader_sig"],
        mint=row["mint"],
        opened_slot=row["opened_slot"],
        opened_ts_ns=row["opened_ts_ns"],
        qty_raw=int(row["qty_raw"]),
        cost_lamports=row["cost_lamports"],
        paid_in_lamports=kept["paid_in_lamports"],
        plan=exit_plan(kept["plan"]),
        attempts=kept["attempts"],
        leader_sold=kept["leader_sold"],
        due=kept["due"],
    )


async def _resume_orders(journal: Journal, desk: Desk) -> None:
    """An order that left stays under way until its slot is known; one that never left is over."""
    for row in await journal.rows("unfinished_intents"):
        order = order_from(row["payload"])
        if row["state"] == "SENT":
            desk.broker.submit(order)
            position = desk.holdings.open.get(order.position_id)
            if position is not None:
                position.selling = True
        else:
            await desk.expire(order, "the run that planned it ended before it was sent", was=row["state"])


async def _know_markets(journal: Journal, desk: Desk) -> None:
    """The newest landed reserves of what is held, so that an overdue exit need not wait for the coin's next trade."""
    mints = sorted({position.mint for position in desk.holdings.open.values()})
    for row in await journal.rows("last_markets", mints=mints) if mints else []:
        desk.market.hear(_event(row))


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
