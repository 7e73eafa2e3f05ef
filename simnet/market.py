"""The planted market: agents act in slot time on the bank, one block after another, the same way for the same seed.

Every trade is a real transaction on the deployed programs: planned outcomes are pushed by the crowd's money, not
written down. The script is `simnet.plan`'s, the cast `simnet.traders`'; what truly happened is `simnet.settle`'s.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from copytrader_core.geyser.copytrader_geyser_pb2 import SubscribeUpdateBlock
from copytrader_core.records import LAMPORTS_PER_SOL, ExitStyle
from simnet.agenda import Act, Agenda, slots_in
from simnet.bank import Bank, Executed, NotIncludedError, slot_at
from simnet.bytecode import Snapshot
from simnet.desk import Coin, Desk, Order, Wallet, keypair
from simnet.plan import CoinPlan, Planner, Session
from simnet.settle import boundaries, settle
from simnet.traders import STARTING_LAMPORTS, Cast, Copier, Leader, Sniper, assemble
from simnet.truth import Truth

Landed = Callable[[Executed], None]

_EXIT_SLIPPAGE_BPS = 3_000
_ENTRY_SLIPPAGE_BPS = 1_500
_COPIER_SLIPPAGE_BPS = 900
_PANIC_DROP = 0.12
_RETRY_S = 3.0


@dataclass(slots=True)
class Position:
    """What a wallet holds of a coin and means to do with it."""

    wallet: Wallet
    coin: Coin
    cost: int
    target_x: float | None = None
    panics: bool = False
    bought: int = 0
    peak: float = 0.0
    is_leaving: bool = False
    on_exit: list[Act] = field(default_factory=list)


@dataclass(slots=True)
class LiveCoin:
    """A launched coin: its script, who of the crowd holds it, and the positions that watch its price."""

    plan: CoinPlan
    coin: Coin
    ends_slot: int
    holders: list[Wallet] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    is_complete: bool = False
    dump_steps: int = 4


class Market:
    """Runs sessions. `blocks()` yields every produced block; `truth` grows with them."""

    def __init__(
        self,
        seed: int,
        sessions: Sequence[Session],
        entries: Sequence[int],
        snapshot: Snapshot | None = None,
        undo_blocks: int = 0,
    ) -> None:
        self._rng = random.Random(seed)
        self._seed = seed
        self._sessions = list(zip(sessions, entries, strict=True))
        self.cast: Cast = assemble(seed, self._rng)
        self.bank = Bank(slot_at(sessions[0].start) - 1, snapshot, undo_blocks)
        for wallet in self.cast.wallets.values():
            self.bank.airdrop(wallet.pubkey, STARTING_LAMPORTS)
        self.desk = Desk(self.bank, self._rng, keypair(seed, "lookup table").pubkey())
        self.truth = Truth(seed, [(s.start, s.end) for s in sessions], self.cast.planted(), self.cast.edges())
        self._planner = Planner(self._rng)
        self._landing: list[tuple[Order, Landed | None]] = []
        self._agenda = Agenda(self.bank.parent_slot)
        self._touched: set[int] = set()
        self._live: dict[int, LiveCoin] = {}
        self._overnight: list[Act] = []
        self._has_provided = False
        # Seconds in which somebody moves a finished curve to its pool.
        self.migration_s = (4.0, 12.0)
        # Baskets of two coins fit a packet only in the leanest instructions.
        self._basket = next(w for w in self.cast.crowd if w.version == "v3_exact" and w.wire == "v0")

    # --- the clock ----------------------------------------------------------------------------------------------------

    def blocks(self) -> Iterator[SubscribeUpdateBlock]:
        """Every block that holds a transaction, in order. Other slots are skipped, and the nights between sessions."""
        for session, entries in self._sessions:
            self._open(session, entries)
            yield from self._session(slot_at(session.end))

    def _open(self, session: Session, entries: int) -> None:
        first = self._agenda.slot = slot_at(session.start)
        for leave in self._overnight:
            self._agenda.after(self._rng.uniform(20.0, 200.0), leave)
        self._overnight.clear()
        for plan in self._planner.day(session, self.cast.leaders, entries):
            self._agenda.at(first + slots_in(plan.launch_s), partial(self._launch, plan))

    def _session(self, last_slot: int) -> Iterator[SubscribeUpdateBlock]:
        for slot in self._agenda.slots(last_slot):
            if self._landing:
                yield self._produce(slot)
            self._look_around()

    def _look_around(self) -> None:
        for number in sorted(self._touched):
            self._watch(self._live[number])
        self._touched.clear()

    def _produce(self, slot: int) -> SubscribeUpdateBlock:
        self.bank.begin_block(slot)
        landing, self._landing = self._landing, []
        for order, landed in landing:
            self._land(order, landed)
        self.truth.n_blocks += 1
        return self.bank.end_block()

    def _land(self, order: Order, landed: Landed | None) -> None:
        between = boundaries(self.bank, self.desk, order) if len(order.legs) > 1 else []
        try:
            executed = self.bank.execute(order.transaction)
        except NotIncludedError:
            return  # dropped on the way, as the network does: nobody is told
        self.truth.events.extend(settle(order, executed, between))
        self.truth.n_transactions += 1
        self.truth.n_failed += not executed.ok
        if landed:
            landed(executed)

    def _send(self, order: Order, landed: Landed | None = None, *, slots: int = 0) -> None:
        """Lands an order that was written now, `slots` later (0: in this slot's block)."""
        if slots:
            self._agenda.at(self._agenda.slot + slots, lambda: self._landing.append((order, landed)))
        else:
            self._landing.append((order, landed))

    def _jitter(self, value: float, spread: float) -> float:
        return value * self._rng.lognormvariate(0.0, spread)

    # --- a coin's life ------------------------------------------------------------------------------------------------

    def _launch(self, plan: CoinPlan) -> None:
        creator = self._rng.choice(self.cast.creators)
        coin = Coin(f"COIN{plan.number}", keypair(self._seed, f"coin {plan.number}"), creator)
        ends = self._agenda.slot + slots_in(plan.flow_ends_s)
        live = self._live[plan.number] = LiveCoin(plan, coin, ends)
        dev_buy = self._dev_buy(plan)
        if dev_buy:
            live.holders.append(creator)
        self._send(self.desk.create(coin, f"https://coins.example/{plan.number}.json", dev_buy))
        self._touched.add(plan.number)
        for sniper in self.cast.snipers:
            if self._rng.random() < sniper.probability:
                self._agenda.after(self._rng.uniform(0.4, 1.4), partial(self._snipe, live, sniper))
        for _ in range(1 if plan.fate == "down" else self._rng.choice((2, 3))):
            self._agenda.after(self._rng.uniform(3.0, 22.0), partial(self._crowd_buy, live, 0.06, 0.09))
        for leader, offset in plan.entries:
            self._agenda.after(offset, partial(self._enter, live, leader))
        self._agenda.after(34.0 if plan.fate == "down" else 22.0, partial(self._flow, live))

    def _dev_buy(self, plan: CoinPlan) -> int:
        """What the creator buys in the first transaction: much, where the coin is made to be dumped."""
        if plan.fate == "down":
            return self._sol(self._rng.uniform(6.0, 9.0))
        return self._sol(self._rng.uniform(0.4, 1.6)) if self._rng.random() < 0.7 else 0

    def _flow(self, live: LiveCoin) -> None:
        """One push of the crowd, then the next: up or down as the script wants, with some against it."""
        if self._agenda.slot > live.ends_slot:
            self._fade(live)
            return
        against = live.plan.fate != "down" and self._rng.random() < 0.14
        if live.is_complete and not live.coin.migrated:
            pass
        elif (live.plan.fate == "down") != against:
            self._crowd_sell(live)
        elif live.plan.fate == "moon" and not live.coin.migrated:
            self._crowd_buy(live, 0.12, 0.18)
        elif live.coin.migrated:
            self._crowd_buy(live, 0.035, 0.055)
        elif self._rng.random() < 0.15:  # two at once: their order in the block decides who pays more
            self._crowd_buy(live, 0.02, 0.04)
            self._crowd_buy(live, 0.02, 0.04)
        else:
            self._crowd_buy(live, 0.055, 0.085)
        pace = {"up": 19.0, "moon": 13.0, "down": 19.0}[live.plan.fate]
        self._agenda.after(self._rng.uniform(0.4, 1.6) * pace, partial(self._flow, live))

    def _fade(self, live: LiveCoin) -> None:
        """The end of a coin: most of the crowd leaves, some keep their bags."""
        for holder in dict.fromkeys(wallet.name for wallet in live.holders):
            if self._rng.random() < 0.25:
                self._agenda.after(
                    self._rng.uniform(1.0, 70.0), partial(self._leave, live, self.cast.wallets[holder], 1.0)
                )
        live.holders.clear()

    def _crowd_buy(self, live: LiveCoin, low: float, high: float) -> None:
        """Someone of the crowd buys for a share of the coin's quote reserves between `low` and `high`."""
        if live.is_complete and not live.coin.migrated:
            return
        wallet = self._rng.choice(self.cast.crowd)
        spend = round(self.desk.reserves(live.coin).quote * self._rng.uniform(low, high))
        draw = self._rng.random()
        if draw < 0.03:
            self._send(self.desk.buy(wallet, live.coin, spend, -400))
        elif draw < 0.05 and not live.coin.migrated and wallet.wire != "legacy":
            self._send(self.desk.buy_and_sell(wallet, live.coin, spend // 4))
        elif draw < 0.07 and (other := self._other_coin(live)) and not live.coin.migrated:
            self._buy_with(
                live, self._basket, self.desk.buy_two(self._basket, live.coin, other.coin, spend // 2, 2_000)
            )
            self._touched.add(other.plan.number)
        elif live.coin.migrated and not self._has_provided:
            self._has_provided = True
            self._provide(live, wallet, spend)
        else:
            self._buy_with(live, wallet, self.desk.buy(wallet, live.coin, spend, 2_500))
        self._touched.add(live.plan.number)

    def _buy_with(self, live: LiveCoin, wallet: Wallet, order: Order) -> None:
        def landed(executed: Executed) -> None:
            if executed.ok:
                live.holders.append(wallet)

        self._send(order, landed)

    def _other_coin(self, live: LiveCoin) -> LiveCoin | None:
        others = [
            x for x in self._live.values() if x is not live and not x.is_complete and x.ends_slot > self._agenda.slot
        ]
        return self._rng.choice(others) if others else None

    def _provide(self, live: LiveCoin, wallet: Wallet, spend: int) -> None:
        """Buys, adds liquidity with half of it, and takes the liquidity back half a minute later."""
        self._buy_with(live, wallet, self.desk.buy(wallet, live.coin, spend, 2_500))
        self._agenda.after(5.0, lambda: self._send(self.desk.deposit(wallet, live.coin, 150)))
        self._agenda.after(35.0, lambda: self._send(self.desk.withdraw(wallet, live.coin)))

    def _crowd_sell(self, live: LiveCoin) -> None:
        if not live.holders:
            return
        if live.plan.fate == "down":  # the creator first, piece by piece, so that whoever comes later still loses
            wallet, part = live.holders[0], 1 / live.dump_steps if live.dump_steps else 1.0
            live.dump_steps = max(0, live.dump_steps - 1)
        else:
            wallet, part = self._rng.choice(live.holders), self._rng.choice((0.3, 0.6))
        if part == 1.0:
            live.holders[:] = [holder for holder in live.holders if holder is not wallet]
        self._leave(live, wallet, part)

    def _leave(self, live: LiveCoin, wallet: Wallet, part: float) -> None:
        if live.is_complete and not live.coin.migrated:
            self._agenda.after(_RETRY_S, partial(self._leave, live, wallet, part))
            return
        if tokens := int(self.desk.holding(wallet, live.coin) * part):
            self._send(self.desk.sell(wallet, live.coin, tokens, _EXIT_SLIPPAGE_BPS))
            self._touched.add(live.plan.number)

    def _check_complete(self, live: LiveCoin) -> None:
        """Once the curve is sold out someone moves it to its pool within seconds."""
        if not live.is_complete and not live.coin.migrated and self.desk.reserves(live.coin).complete:
            live.is_complete = True
            self._agenda.after(self._rng.uniform(*self.migration_s), partial(self._migrate, live))

    def _migrate(self, live: LiveCoin) -> None:
        def landed(executed: Executed) -> None:
            live.coin.migrated = executed.ok

        self._send(self.desk.migrate(self.cast.creators[0], live.coin), landed)

    # --- leaders ------------------------------------------------------------------------------------------------------

    def _enter(self, live: LiveCoin, leader: Leader) -> None:
        if live.is_complete and not live.coin.migrated:
            self._agenda.after(_RETRY_S, partial(self._enter, live, leader))
            return
        wallet = self.cast.wallets[leader.name]
        spend = self._sol(self._jitter(leader.size_sol, 0.12))
        position = Position(wallet, live.coin, 0)
        order = self.desk.buy(wallet, live.coin, spend, _ENTRY_SLIPPAGE_BPS)
        self._send(
            order, lambda executed: self._entered(live, leader, position, spend) if executed.ok else None, slots=1
        )

    def _entered(self, live: LiveCoin, leader: Leader, position: Position, spend: int) -> None:
        self._filled(live, position, spend)
        self._signal(live, leader.name, position)
        if self._rng.random() < leader.bag_share:
            if self._rng.random() < 0.5:
                self._overnight.append(partial(self._exit, live, position, 1.0))
            return
        styles: tuple[ExitStyle, ...] = ("time_stop", "target_x", "panic_dump", "scale_out")
        style = self._rng.choice(styles) if leader.style == "mixed" else leader.style
        # Somebody without a habit has none in time either.
        hold_s = leader.hold_s * (math.exp(self._rng.gauss(0.0, 0.9)) if leader.style == "mixed" else 1.0)
        self._plan_exit(live, leader, style, hold_s, position)
        if self._rng.random() < 0.1:
            self._agenda.after(self._rng.uniform(3.0, 8.0), partial(self._add, live, position, spend // 2))

    def _plan_exit(self, live: LiveCoin, leader: Leader, style: ExitStyle, hold_s: float, position: Position) -> None:
        if style == "time_stop":
            self._agenda.after(self._jitter(hold_s, 0.04), partial(self._exit, live, position, 1.0))
        elif style == "scale_out":
            for share, part in ((1 / 3, 1 / 3), (2 / 3, 1 / 2), (1.0, 1.0)):
                self._agenda.after(self._jitter(hold_s * share, 0.04), partial(self._exit, live, position, part))
        else:
            position.target_x = leader.target_x if style == "target_x" else None
            position.panics = style == "panic_dump"
            live.positions.append(position)
            # Patience is no stop-watch: whoever waits for a price gives up at no fixed time.
            patience_s = hold_s * self._rng.uniform(0.5, 1.5)
            self._agenda.after(patience_s, partial(self._exit, live, position, 1.0))

    def _add(self, live: LiveCoin, position: Position, spend: int) -> None:
        """A second buy into an open position."""
        if position.is_leaving or live.is_complete:
            return
        order = self.desk.buy(position.wallet, live.coin, spend, _ENTRY_SLIPPAGE_BPS)
        self._send(order, lambda executed: self._filled(live, position, spend) if executed.ok else None)

    def _filled(self, live: LiveCoin, position: Position, spend: int) -> None:
        position.cost += spend
        position.bought = self.desk.holding(position.wallet, live.coin)
        position.peak = max(position.peak, self.desk.reserves(live.coin).price)
        self._touched.add(live.plan.number)

    def _watch(self, live: LiveCoin) -> None:
        """What holders, and whoever moves finished curves, do about what the last block left."""
        self._check_complete(live)
        if live.is_complete and not live.coin.migrated:
            return
        reserves = self.desk.reserves(live.coin)
        for position in live.positions:
            if position.is_leaving:
                continue
            position.peak = max(position.peak, reserves.price)
            reached = position.target_x and reserves.proceeds_of(position.bought) >= position.target_x * position.cost
            fell = position.panics and reserves.price < position.peak * (1 - _PANIC_DROP)
            if reached or fell:
                self._agenda.after(0.4, partial(self._exit, live, position, 1.0))
        live.positions = [position for position in live.positions if not position.is_leaving]

    def _exit(self, live: LiveCoin, position: Position, part: float) -> None:
        """Sells a part of what is held; tries again where the chain refuses or the coin is between its venues."""
        if position.is_leaving:
            return
        if live.is_complete and not live.coin.migrated:
            self._agenda.after(_RETRY_S, partial(self._exit, live, position, part))
            return
        held = self.desk.holding(position.wallet, live.coin)
        tokens = held if part == 1.0 else int(held * part)
        if not tokens:
            return
        position.is_leaving = part == 1.0

        def landed(executed: Executed) -> None:
            if not executed.ok:
                position.is_leaving = False
                self._agenda.after(_RETRY_S, partial(self._exit, live, position, part))
            elif part == 1.0:
                for act in position.on_exit:
                    act()

        self._send(self.desk.sell(position.wallet, live.coin, tokens, _EXIT_SLIPPAGE_BPS), landed)
        self._touched.add(live.plan.number)

    # --- those who follow, and those who are early --------------------------------------------------------------------

    def _signal(self, live: LiveCoin, source: str, position: Position) -> None:
        """Lets the copiers of `source` see its buy."""
        for copier in self.cast.copiers_of(source):
            if self._rng.random() < copier.probability:
                lag = self._jitter(copier.lag_ms / 1000, 0.22)
                self._agenda.after(max(0.4, lag - 0.4), partial(self._copy, live, copier, position))

    def _copy(self, live: LiveCoin, copier: Copier, source: Position) -> None:
        if live.is_complete and not live.coin.migrated:
            return
        wallet, spend = self.cast.wallets[copier.name], self._sol(self._jitter(copier.size_sol, 0.08))
        position = Position(wallet, live.coin, 0)

        def landed(executed: Executed) -> None:
            if not executed.ok:
                return
            self._filled(live, position, spend)
            self._signal(live, copier.name, position)
            leave = partial(self._exit, live, position, 1.0)
            source.on_exit.append(lambda: self._agenda.after(self._jitter(copier.lag_ms / 1000, 0.3), leave))
            self._agenda.after(200.0, leave)

        self._send(self.desk.buy(wallet, live.coin, spend, _COPIER_SLIPPAGE_BPS), landed, slots=1)

    def _snipe(self, live: LiveCoin, sniper: Sniper) -> None:
        wallet, spend = self.cast.wallets[sniper.name], self._sol(self._jitter(sniper.size_sol, 0.1))
        position = Position(wallet, live.coin, 0)

        def landed(executed: Executed) -> None:
            if executed.ok:
                self._filled(live, position, spend)
                self._agenda.after(self._rng.uniform(40.0, 110.0), partial(self._exit, live, position, 1.0))

        self._send(self.desk.buy(wallet, live.coin, spend, 2_000), landed)

    @staticmethod
    def _sol(amount: float) -> int:
        return round(amount * LAMPORTS_PER_SOL)
