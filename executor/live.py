"""The live broker: signs orders, hands their bytes to every route, and keeps what the stream and the nodes say of them.

One order has one signature for ever: whatever is sent again is the same bytes. A further attempt to sell is signed
under the nonce of the one before it where that has one, so that only one of them lands (`executor.nonces`). When to
look and to send again is `executor.settler`'s, what an outcome means for the book the desk's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from solders.hash import Hash
from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError, TransactionError
from copytrader_core.policy.market import MarketState
from copytrader_core.policy.values import LeaderBuy, TradingState
from copytrader_core.pump.addresses import JITO_TIP_ACCOUNTS
from copytrader_core.settings import ExecutorSettings
from copytrader_core.solana.base58 import address_bytes, signature_text
from copytrader_core.solana.coins import Coin
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.routes.block_engine import MIN_TIP_LAMPORTS
from copytrader_core.solana.routes.route import Route, RouteError
from copytrader_core.solana.templates import TradeTemplates
from copytrader_core.solana.trades import RECIPIENTS, Charges, Nonce, Recipients, migrate, wire
from executor.broker import Landed, Reverted
from executor.coins import CoinBook
from executor.nonces import Nonces, Use
from executor.orders import DurableNonce, Likely, Order, Presigned, Side, Signed

_log = logging.getLogger(__name__)

LIFETIME_BLOCKS: Final = 150
# A blockhash this old is not signed with any more: what it signs could hardly land in time.
_STALE_BLOCKS: Final = 75
_MOST_HASHES: Final = 1_024


@dataclass(frozen=True, slots=True)
class Outcome:
    """News of a signature: landed in `slot` with a result, or (`result` None) void for ever.

    Without a result and not `final`: only the block in which it was seen was left behind.
    """

    signature: str
    slot: int
    result: Landed | Reverted | None
    final: bool
    reason: str = ""
    problem: str | None = None
    """Why the result is a guess by balances."""


@dataclass(slots=True)
class Flight:
    """An order under way: its bytes, what the routes said, where it has been seen, and when it left."""

    order: Order
    signed: Signed
    sent_at: float
    routes: dict[str, dict[str, Any]] = field(default_factory=dict)
    sightings: dict[int, Landed | Reverted] = field(default_factory=dict)
    landed_slot: int | None = None
    voids: int = 0
    """How many answers so far agree that it can never land."""
    void_since: float = 0.0
    """When the first of them came."""


class Chainhead:
    """The newest blockhash that is safe to sign with, and how high the chain is. Fed by the stream or by a node."""

    def __init__(self) -> None:
        self.height = 0
        self._hashes: dict[int, tuple[Hash, int]] = {}
        self._shown = 0
        self._blockhash: tuple[Hash, int] | None = None

    def block(self, slot: int, blockhash: str, height: int) -> None:
        """A block that the stream shows; its hash is used once its slot is confirmed."""
        try:
            found = Hash(address_bytes(blockhash))
        except DecodeError:
            _log.warning("blockhash_unread slot=%d: its block signs nothing", slot)
            return
        self._shown = max(self._shown, height)
        self.height = max(self.height, height)
        self._hashes[slot] = (found, height)
        if len(self._hashes) > _MOST_HASHES:
            del self._hashes[next(iter(self._hashes))]

    def confirm(self, slot: int) -> None:
        """The block in `slot` stays: no fork can make what is signed with its hash void.

        It stands above whatever a node has said: one that names a height that nobody has reached is not believed long.
        """
        found = self._hashes.get(slot)
        if found is not None:
            self._blockhash, self.height = found, self._shown
            self._hashes = {one: kept for one, kept in self._hashes.items() if one > slot}

    def take(self, blockhash: Hash, height: int) -> None:
        """A confirmed blockhash and its block's height."""
        if self._blockhash is None or height > self._blockhash[1]:
            self._blockhash, self.height = (blockhash, height), max(self.height, height)

    @property
    def blockhash_height(self) -> int:
        """The block height of the blockhash that is signed with, 0 without one."""
        return 0 if self._blockhash is None else self._blockhash[1]

    @property
    def is_stale(self) -> bool:
        """Whether there is nothing to sign with."""
        return self._blockhash is None or self.height - self._blockhash[1] > _STALE_BLOCKS

    def lifetime(self) -> tuple[Hash, int]:
        """Blockhash, and the last block height at which what it signs can land. Raises TransactionError without one."""
        if self._blockhash is None or self.is_stale:
            raise TransactionError("no recent blockhash: the stream and the nodes are behind; nothing is signed until")
        blockhash, height = self._blockhash
        return blockhash, height + LIFETIME_BLOCKS


class _BuyParts(NamedTuple):
    """All that the message of a buy is made of."""

    coin: Coin
    spend_lamports: int
    min_tokens_raw: int
    charges: Charges
    blockhash: Hash
    is_new: bool
    may_complete: bool


class LiveBroker:
    """Our orders on the chain.

    `may_sign` is the red button, asked by the signer itself for each signature that may leave, `last_seen` what it said
    to whoever asked last; `signed` are the signatures so far.
    """

    signs = True

    def __init__(
        self,
        signer: Signer,
        routes: Sequence[Route],
        coins: CoinBook,
        may_sign: Callable[[], TradingState],
        signed: Callable[[], Container[str]],
        now: Callable[[], float],
        recipients: Recipients = RECIPIENTS,
        nonces: Nonces | None = None,
        last_seen: Callable[[], TradingState] | None = None,
    ) -> None:
        self.owner: Pubkey = signer.pubkey
        self.address = signer.address
        self.routes = routes
        self.head = Chainhead()
        self.nonces = nonces or Nonces()
        self.flights: dict[str, Flight] = {}
        self.has_traded: set[str] = set()
        """Venues on which this wallet has traded: its volume account is there."""
        self.withdraw_authority: Pubkey | None = None
        """Whom a migration names; None until a node has said."""
        self._signer = signer
        self._coins = coins
        self._may_sign = may_sign
        self._last_seen = last_seen or may_sign
        self._signed = signed
        self.time = now
        self._templates = TradeTemplates(signer.pubkey, recipients)
        self._by_intent: dict[str, str] = {}
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def orders(self) -> tuple[Order, ...]:
        """What is under way, first sent first; what has landed but may be taken back is not."""
        return tuple(flight.order for flight in self.flights.values() if flight.landed_slot is None)

    @property
    def is_sending(self) -> bool:
        """Whether a route is still at work on something of ours."""
        return bool(self._sending)

    def adopt(self, settings: ExecutorSettings) -> None:
        """Every order brings its own fees: nothing changes."""

    def is_first_trade(self, signal: LeaderBuy) -> bool:
        """Whether our wallet has no volume account yet where `signal` trades."""
        return signal.market is None or signal.market.venue not in self.has_traded

    def presign(self, likely: Likely) -> Presigned:
        """A buy as `sign` will want it once it is decided. Raises TransactionError as `sign`.

        It leaves only through `sign`, which looks at the red button again; here counts what somebody saw of it last.
        """
        self._ask("BUY", self._last_seen())
        parts = self._early_parts(likely)
        message = self._buy(parts)
        return Presigned(message, self._signer.sign(message), parts)

    def drop_ready(self) -> None:
        """Forgets the coins that have been traded: the next trade of each begins like its first."""
        self._templates.drop_ready()

    def _early_parts(self, likely: Likely) -> _BuyParts:
        entry, settings = likely.entry, likely.settings
        charges = _charges(likely.mint, settings.priority_fee_lamports, settings.tip_lamports)
        (coin, venue, may_complete), blockhash = likely.coin, self.head.lifetime()[0]
        is_new = venue not in self.has_traded
        return _BuyParts(coin, entry.spend_lamports, entry.min_tokens_raw, charges, blockhash, is_new, may_complete)

    @staticmethod
    def _ask(side: Side, state: TradingState) -> None:
        if state == "HALTED" or (state == "REDUCING" and side == "BUY"):
            raise TransactionError(f"trading is {state}: no {side} is signed")

    def sign(self, order: Order, early: Presigned | None = None) -> Signed:
        """The order's bytes. Raises TransactionError where the state forbids it, or where something is not known."""
        # The red button, once more before every signature.
        self._ask(order.side, self._may_sign())
        nonce = self.nonces.lend(order.position_id, self.sales) if order.side == "SELL" else None
        blockhash, last_valid = self.head.lifetime() if nonce is None else (Hash.from_string(nonce.value), 0)
        used, extra = self._signed(), 0
        if early is not None and order.side == "BUY" and early.parts == self._order_parts(order, blockhash, 0):
            text = signature_text(early.signature)
            if text not in used:
                return Signed(text, wire(early.message, early.signature), last_valid, None)
        while True:
            message = self._message(order, blockhash, extra, nonce)
            signature = self._signer.sign(message)
            text = signature_text(signature)
            if text not in used:
                return Signed(text, wire(message, signature), last_valid, nonce)
            # Another order is the same to the byte: one of the two has to differ, or one landing would be two fills.
            extra += 1

    def unsigned(self, order: Order) -> bytes:
        """The order's transaction with an empty signature: what a simulation takes. Raises TransactionError."""
        return wire(self._message(order, self.head.lifetime()[0], 0, None), bytes(64))

    @property
    def sales(self) -> list[Use]:
        """The sales that have not come to their end, as the pool of nonces sees them."""
        return [
            Use(flight.order.position_id, flight.signed.nonce, flight.landed_slot is not None)
            for flight in self.flights.values()
            if flight.order.side == "SELL"
        ]

    def is_exclusive(self, position_id: str) -> bool:
        """Whether a further attempt to sell would be a variant of all that may land, so that only one of them does."""
        return self.nonces.is_exclusive(position_id, self.sales)

    def is_over(self, flight: Flight) -> bool:
        """Whether there is no use in sending a flight's bytes again."""
        landed = flight.landed_slot is not None or flight.signed.is_past(self.head.height)
        return landed or self.is_decided(flight)

    def is_decided(self, flight: Flight) -> bool:
        """Whether its nonce has moved on, so that the nodes can say at once what became of it."""
        return flight.signed.nonce is not None and self.nonces.has_moved(flight.signed.nonce)

    def _message(self, order: Order, blockhash: Hash, extra_lamports: int, nonce: DurableNonce | None) -> bytes:
        if order.side == "BUY":
            return self._buy(self._order_parts(order, blockhash, extra_lamports))
        facts = _facts(order)
        coin, charges = self._coins.coin(order.mint, facts), _order_charges(order, extra_lamports)
        if order.side == "SELL":
            durable = None if nonce is None else Nonce(Pubkey.from_string(nonce.account), blockhash)
            return self._templates.sell(
                coin,
                order.amount_in,
                order.min_out,
                charges,
                blockhash,
                close_account=bool(facts.get("closes")),
                nonce=durable,
            )
        if self.withdraw_authority is None:
            raise TransactionError("the curve program's settings have not been read: no migration is signed until")
        return migrate(self.owner, coin, self.withdraw_authority, charges, blockhash)

    def _order_parts(self, order: Order, blockhash: Hash, extra_lamports: int) -> _BuyParts:
        facts, charges = _facts(order), _order_charges(order, extra_lamports)
        coin, is_new = self._coins.coin(order.mint, facts), facts["venue"] not in self.has_traded
        return _BuyParts(coin, order.amount_in, order.min_out, charges, blockhash, is_new, facts["may_complete"])

    def _buy(self, parts: _BuyParts) -> bytes:
        coin, spend, least, charges, blockhash, is_new, may_complete = parts
        return self._templates.buy(coin, spend, least, charges, blockhash, new_wallet=is_new, may_complete=may_complete)

    def submit(self, order: Order, signed: Signed | None) -> None:
        """Sends a signed order by every route."""
        if signed is None or order.intent_id in self._by_intent:
            return
        flight = Flight(order, signed, self.time())
        self._keep(flight)
        self.carry(flight)

    def resume(self, order: Order, signed: Signed) -> None:
        """An order of an earlier run: it may be on its way, or have landed; nothing is sent by this."""
        if signed.nonce is not None:
            self.nonces.watch(signed.nonce.account)
        self._keep(Flight(order, signed, self.time()))

    def _keep(self, flight: Flight) -> None:
        self.flights[flight.signed.signature] = flight
        self._by_intent[flight.order.intent_id] = flight.signed.signature

    def carry(self, flight: Flight) -> None:
        """Hands the flight's bytes to every route once more."""
        for route in self.routes:
            if route.is_scarce and not _is_worth(flight, route):
                continue
            sending = self._by(route, flight)
            if not route.waits:
                # Not by a task, whose turn comes after all that the loop has to do already.
                _run(sending)
                continue
            task = asyncio.get_running_loop().create_task(sending)
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _by(self, route: Route, flight: Flight) -> None:
        began = self.time()
        try:
            await route.send(flight.signed.wire, flight.signed.signature)
            result = "sent"
        except RouteError as error:
            result = str(error.code)
        except Exception:  # noqa: BLE001 - logged; it must not keep the bytes from the other routes, nor end the run
            _log.exception("the route %s has failed", route.name)
            result = "FAILED"
        said = flight.routes.setdefault(route.name, {"result": result, "ms": 0.0, "n": 0})
        said["n"] += 1
        if said["n"] == 1 or result == "sent" != said["result"]:
            said["result"], said["ms"] = result, round((self.time() - began) * 1000, 3)

    def forget(self, order: Order) -> None:
        """An order that has come to its end."""
        signature = self._by_intent.pop(order.intent_id, None)
        if signature is not None:
            flight = self.flights.pop(signature)
            # What an earlier run saw landing has no sightings here.
            seen = [*flight.sightings, *([] if flight.landed_slot is None else [flight.landed_slot])]
            if seen and flight.signed.nonce is not None:
                self.nonces.spend(flight.signed.nonce, max(seen))
            is_bought = isinstance(flight.sightings.get(flight.landed_slot or 0), Landed)
            if is_bought and order.coin is not None and order.side == "BUY":
                self.has_traded.add(order.coin["venue"])

    def routes_of(self, order: Order) -> dict[str, Any]:
        """What each route said to an order."""
        signature = self._by_intent.get(order.intent_id)
        return dict(self.flights[signature].routes) if signature is not None else {}

    def next_due(self, last_slot: int) -> Order | None:
        """The chain tells, not we."""
        return None

    def land(self, order: Order, market: MarketState | None) -> Landed | Reverted | None:
        """Never asked: see `next_due`."""
        raise NotImplementedError("a live order lands on the chain")

    async def close(self) -> None:
        """Waits for sends that are under way to end."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)


def _is_worth(flight: Flight, route: Route) -> bool:
    """Whether a scarce route is to have these bytes: a first send must not find its only request of the second gone."""
    is_taken = flight.routes.get(route.name, {}).get("result") == "sent"
    return flight.order.tip_lamports >= MIN_TIP_LAMPORTS and not is_taken


def _run(sending: Coroutine[Any, Any, None]) -> None:
    """Runs what waits for nothing."""
    with suppress(StopIteration):
        sending.send(None)
        sending.close()
        raise AssertionError("a route that says it waits for nothing has waited")


def _facts(order: Order) -> Mapping[str, Any]:
    if order.coin is None:
        raise TransactionError(f"the accounts of {order.mint} are not known")
    return order.coin


def _order_charges(order: Order, extra_lamports: int) -> Charges:
    return _charges(order.mint, order.priority_fee_lamports + extra_lamports, order.tip_lamports)


@lru_cache(maxsize=1024)
def _charges(mint: str, priority_fee_lamports: int, tip_lamports: int) -> Charges:
    """The tip account follows from the coin, so that the same order always has the same bytes."""
    if not tip_lamports:
        return Charges(priority_fee_lamports)
    account = JITO_TIP_ACCOUNTS[address_bytes(mint)[0] % len(JITO_TIP_ACCOUNTS)]
    return Charges(priority_fee_lamports, tip_lamports, account)
