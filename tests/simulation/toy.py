"""An honest little trader for the tests of this world: buys when a leader buys, sells some slots later, asks statuses.

It knows the rules and nothing of the executor but the form of its journal's files. What it takes for true is confirmed
on chain; an order is over only where every node says so.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from solders.hash import Hash
from solders.pubkey import Pubkey

from copytrader_core.errors import CopytraderError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump import addresses as a
from copytrader_core.pump import curve
from copytrader_core.pump.decode import decode
from copytrader_core.records import Event
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.chain_rpc import ChainRpc
from copytrader_core.solana.coins import Coin
from copytrader_core.solana.routes.route import Route
from copytrader_core.solana.rpc_json import transaction_from_json
from copytrader_core.solana.trades import Charges, buy, sell, wire
from executor.wal import Wal
from tests.simulation.bank import FEES
from tests.simulation.ends import Outside
from tests.simulation.market import LEADERS
from tests.simulation.story import Subject, TradingState
from tests.simulation.truth import Book, Signed, lines_of

_SPEND: Final = 300_000_000
_HOLD_SLOTS: Final = 20
_CHARGES: Final = Charges(100_000, 50_000, a.JITO_TIP_ACCOUNTS[0])
_POLL_SECONDS: Final = 0.7
_LEADERS: Final = frozenset(map(str, LEADERS))

Line = dict[str, Any]


@dataclass(slots=True)
class Fold:
    """What the lines add up to. An order is its PLAN line; `positions` are filled buys that have not been sold."""

    orders: dict[str, Line] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    positions: dict[str, Line] = field(default_factory=dict)
    signed: dict[str, Line] = field(default_factory=dict)
    cash: int = 0
    rent: int = 0

    def apply(self, line: Line) -> None:
        """Takes one line."""
        kind, intent = line["kind"], line["intent"]
        if kind == "PLAN":
            self.orders[intent] = line
        elif kind == "SIGNED":
            self.signed[intent] = line
        else:
            self.ended[intent] = kind
            self.cash += line.get("cash", 0)
            self.rent += line.get("rent", 0)
            order = self.orders[intent]
            if kind == "FILL" and order["side"] == "BUY":
                self.positions[order["mint"]] = line
            elif kind == "FILL":
                del self.positions[order["mint"]]

    def under_way(self) -> list[str]:
        """Orders that have not come to an end."""
        return [intent for intent in self.orders if intent not in self.ended]

    def is_busy(self, mint: str) -> bool:
        """Whether an order for this coin is under way."""
        return any(self.orders[intent]["mint"] == mint for intent in self.under_way())


class Toy:
    """One run."""

    def __init__(self, home: Path, outside: Outside) -> None:
        self._home = home
        self._outside = outside
        self._wal = Wal(journal(home))
        self._fold = Fold()
        self._slot = 0
        self._latest: tuple[Hash, int] | None = None
        for line in self._wal.replay():
            self._fold.apply(dict(line))

    async def run(self) -> None:
        """Until the stream ends."""
        sends: set[asyncio.Task[None]] = set()
        self._sends = sends
        for intent in self._fold.under_way():
            if intent not in self._fold.signed:
                self._write("EXPIRED", intent)
        tasks = [asyncio.create_task(self._poll())]
        try:
            async for received in self._outside.stream:
                self._hear(received.update)
        finally:
            for task in [*tasks, *sends]:
                task.cancel()
            await asyncio.gather(*tasks, *sends, return_exceptions=True)
            self._wal.close()

    def _hear(self, update: pb.SubscribeUpdate) -> None:
        if update.HasField("block_meta"):
            meta = update.block_meta
            self._slot = max(self._slot, meta.slot)
            self._latest = Hash.from_string(meta.blockhash), meta.block_height.block_height + 150
            self._exits()
        elif update.HasField("transaction"):
            raw = transaction_from_update(update.transaction.transaction, update.transaction.slot)
            for event in decode(raw).events:
                if event.action == "BUY" and event.wallet in _LEADERS:
                    self._consider(event)

    def _consider(self, event: Event) -> None:
        fold = self._fold
        intent = f"{event.sig} {event.mint}"
        crowded = len(fold.positions) + len(fold.under_way()) >= 6
        if intent in fold.orders or event.mint in fold.positions or fold.is_busy(event.mint) or crowded:
            return
        if self._latest is None or self._is_halted() or not event.meta["real_base_raw"]:
            return
        assert event.reserve_base_raw is not None and event.reserve_quote_raw is not None
        state = curve.CurveState(
            event.reserve_base_raw, event.reserve_quote_raw, event.meta["real_base_raw"], event.meta["real_quote_raw"]
        )
        least = curve.buy_exact_in(state, FEES, _SPEND).base_raw * 93 // 100
        self._order(intent, {"side": "BUY", "mint": event.mint, "leader_sig": event.sig}, _SPEND, least)

    def _exits(self) -> None:
        fold = self._fold
        for mint, fill in fold.positions.items():
            if self._slot >= fill["slot"] + _HOLD_SLOTS and not fold.is_busy(mint) and not self._is_halted():
                attempt = sum(order["side"] == "SELL" for order in fold.orders.values())
                self._order(f"sell {attempt}", {"side": "SELL", "mint": mint, "leader_sig": ""}, fill["base"], 1)

    def _order(self, intent: str, what: Line, amount: int, least: int) -> None:
        assert self._latest is not None
        blockhash, last_valid = self._latest
        coin, owner = Coin(Pubkey.from_string(what["mint"])), self._outside.signer.pubkey
        self._write("PLAN", intent, **what)
        if what["side"] == "BUY":
            message = buy(owner, coin, amount, least, _CHARGES, blockhash, new_wallet=True)
        else:
            message = sell(owner, coin, amount, least, _CHARGES, blockhash, close_account=True)
        signature = self._outside.signer.sign(message)
        raw = wire(message, signature)
        text = signature_text(signature)
        self._write("SIGNED", intent, signature=text, wire=base64.b64encode(raw).decode(), last_valid=last_valid)
        self._send(intent)

    def _send(self, intent: str) -> None:
        if self._is_halted():
            return
        line = self._fold.signed[intent]
        for route in self._outside.routes:
            task = asyncio.create_task(_quietly(route, base64.b64decode(line["wire"]), line["signature"]))
            self._sends.add(task)
            task.add_done_callback(self._sends.discard)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            for intent in self._fold.under_way():
                with contextlib.suppress(CopytraderError):
                    await self._resolve(intent)

    async def _resolve(self, intent: str) -> None:
        line = self._fold.signed[intent]
        is_over = True
        for node in self._outside.nodes:
            height = await node.block_height("finalized")
            (status,) = await node.statuses([line["signature"]])
            if status is not None and status.commitment != "processed":
                await self._settle(node, intent, line)
                return
            is_over &= status is None and height > line["last_valid"]
        if is_over:
            self._write("EXPIRED", intent)
        else:
            self._send(intent)

    async def _settle(self, node: ChainRpc, intent: str, line: Line) -> None:
        document = await node.transaction(line["signature"])
        if document is None or intent in self._fold.ended:
            return
        raw = transaction_from_json(document)
        change = raw.post_balances[0] - raw.pre_balances[0]
        if raw.failed:
            self._write("FAILED", intent, cash=change)
            return
        (event,) = decode(raw).events
        assert event.base_raw is not None and event.quote_raw is not None
        quote = event.quote_raw if event.action == "SELL" else -event.quote_raw
        cash = quote - event.tx_fee_lamports - event.tip_lamports
        self._write("FILL", intent, base=event.base_raw, slot=event.slot, cash=cash, rent=cash - change)

    def _write(self, kind: str, intent: str, **facts: Any) -> None:
        line = {"kind": kind, "intent": intent, **facts}
        self._wal.append(line)
        self._fold.apply(line)

    def _is_halted(self) -> bool:
        return (self._home / "halted").exists()


async def _quietly(route: Route, raw: bytes, signature: str) -> None:
    with contextlib.suppress(CopytraderError):
        await route.send(raw, signature)


def journal(home: Path) -> Path:
    """The journal's folder."""
    return home / "toy"


def _control(home: Path, state: TradingState) -> None:
    path = home / "halted"
    path.touch() if state == "HALTED" else path.unlink(missing_ok=True)


def _book(home: Path) -> Book:
    fold = Fold()
    for line in lines_of(journal(home)):
        fold.apply(dict(line))
    signed = {}
    for intent, line in fold.signed.items():
        order = fold.orders[intent]
        signed[line["signature"]] = Signed(intent, order["side"], order["mint"], order["leader_sig"])
    positions = {mint: fill["base"] for mint, fill in fold.positions.items()}
    return Book(signed, positions, {}, tuple(fold.under_way()), fold.cash, fold.rent)


def subject(trader: type[Toy] = Toy) -> Subject:
    """A trader of this kind as the one who lives in a world."""
    return Subject(lambda home, outside: trader(home, outside).run(), _book, _control, journal)
