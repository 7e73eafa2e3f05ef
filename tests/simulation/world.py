"""One world from one seed: chain, market, faults and clock around a process that is killed again and again.

What must hold is in `truth`; who lives in this world is a `Subject` (`glue` for the executor, `toy` for the tests).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from solders.pubkey import Pubkey

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump import addresses as a
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.chain_rpc import ChainRpc
from copytrader_core.solana.keys import Signer
from tests.simulation import shown
from tests.simulation.accounts import Accounts
from tests.simulation.bank import State, Trade, Wire, is_signed, read_wire
from tests.simulation.ends import Life, Node, NodeState, Outside, SimRoute, Stream
from tests.simulation.faults import Faults
from tests.simulation.market import Market
from tests.simulation.model_chain import FIRST_SLOT, Block, Chain
from tests.simulation.story import STORY, Death, Report, Story, Subject, TradingState
from tests.simulation.truth import violations
from tests.simulation.virtual import START_NS, Killed, Timeline, VirtualLoop, outside_world

SLOT_NS: Final = 400_000_000
START_LAMPORTS: Final = 60_000_000_000
# From a command to no further signature, as the red button promises.
_HALT_GRACE_NS: Final = 100_000_000
_SETTLING_SLOTS: Final = 320
_LEAST_SETTLING_SLOTS: Final = 40
_DRAIN_SLOTS: Final = 300
_FINAL_SLOTS: Final = 6
_END_NS: Final = 60_000_000_000
_MAX_OWN_DEATHS: Final = 5


class World:
    """One seed's world. `folder` holds the homes of its processes and should be in memory."""

    def __init__(self, seed: int, folder: Path, story: Story = STORY, *, faults: Faults | None = None) -> None:
        self.seed = seed
        self.faults = faults or Faults.drawn(seed)
        self.timeline = Timeline()
        self.signer = Signer(hashlib.sha256(f"{seed}/wallet".encode()).digest())
        self.market = Market(seed)
        self.slot = FIRST_SLOT - 1
        self.chain = Chain(seed, START_NS // 10**9 - 1, State(START_LAMPORTS))
        self.nodes = (NodeState("node-a", is_bad=False), NodeState("node-b", is_bad=True))
        self.accounts = Accounts(self.signer.pubkey)
        self.report = Report(seed)
        self.sends: list[tuple[int, str, str]] = []
        """(nanoseconds, route, signature) of everything that ever left."""
        self._rng = random.Random(f"{seed}/world")
        self._home = folder / "home"
        self._next_home = folder / "next"
        self._pool: list[Wire] = []
        self._returning: list[Trade] = []
        self._fork_left = self._gap_left = 0
        self._missed: list[pb.SubscribeUpdate] = []
        self._halted_ns: int | None = None
        self._life: Life | None = None
        self._loop: VirtualLoop | None = None
        self._stream: Stream | None = None
        self._known: set[str] = set()
        self._is_armed: Death | None = None
        self._story = story
        self._settling = self._is_over = False
        self._over_ns = 0
        self._over_slot: int | None = None
        self._last_slot = 0

    # --- the story ----------------------------------------------------------------------------------------------------

    def run(self, subject: Subject, plan: Iterator[Death]) -> Report:
        """The whole story of this world, and what it has shown."""
        self._subject = subject
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir(parents=True)
        with outside_world(self.timeline, self.seed, self._write):
            self.chain.produce(FIRST_SLOT, START_NS // 10**9, self.market.opening())
            self.slot = FIRST_SLOT
            self.timeline.after(SLOT_NS, self._tick)
            self._plan_halt()
            own_deaths = 0
            while self._live(None if self._settling else next(plan, None)):
                own_deaths += self._is_armed is None and not self._is_over
                if own_deaths > _MAX_OWN_DEATHS:
                    self._wrong("the process ends by itself again and again")
                    break
            self._conclude()
        return self.report

    def _live(self, death: Death | None) -> bool:
        """One process from its start to its end; False when the story is over."""
        loop = VirtualLoop(self.timeline)
        life = Life(self.report.deaths, self._home)
        self._loop, self._life, self._is_armed, self._known = loop, life, None, set()
        self._stream = Stream(life, lambda: self.timeline.now_ns)
        if self.faults.strikes("stream_replay"):
            self._stream.push(self._replayed())
        if self._is_over:
            self._over_ns = self.timeline.now_ns + _END_NS
            self._stream.push([None])
        outside = Outside(
            self._stream,
            tuple(ChainRpc(Node(self, life, node)) for node in self.nodes),
            tuple(SimRoute(self, life, name) for name in ("tpu", "block_engine", "rpc")),
            self.signer,
            lambda: self.timeline.now_ns,
        )
        loop.before_step = lambda: self._may_step(death)
        task = loop.create_task(self._guarded(life, outside))
        task.add_done_callback(lambda _: loop.stop())
        loop.run_forever()
        self.report.steps += loop.steps
        if not task.done() and self._is_over and self._is_armed is None:
            self._wrong("the process does not end with its stream")
        self._bury(life, loop)
        if self._is_over:
            return False
        self.timeline.run_until(self.timeline.now_ns + (death.down_ns if death else SLOT_NS))
        return True

    async def _guarded(self, life: Life, outside: Outside) -> None:
        try:
            await self._subject.trade(life.home, outside)
        except (Killed, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever ends a process is a finding
            self._wrong(f"the process ended with {error!r}")
            return
        if not self._is_over:
            self._wrong("the process ended by itself")

    def _may_step(self, death: Death | None) -> bool:
        loop = self._loop
        assert loop is not None
        if self._is_over and self.timeline.now_ns > self._over_ns:
            return False
        if death is None or self._settling or loop.steps < death.steps:
            return True
        if self._is_armed is None:
            self._is_armed = death
            self._snapshot_place(loop)
        # A process that does not write any more dies between two steps.
        return death.how != "between" and loop.steps < death.steps + 200

    def _write(self, file: int, data: bytes) -> int:
        """`os.write` of the process: it may die before it, in it, or right after it."""
        death, life = self._is_armed, self._life
        if death is None or death.how == "between" or life is None or not life.is_alive:
            return _real_write(file, data)
        if death.how == "torn_write":
            _real_write(file, data[: self._rng.randrange(1, max(2, len(data)))])
        elif death.how == "after_write":
            _real_write(file, data)
        self._snapshot(life)
        assert self._loop is not None
        self._loop.stop()
        raise Killed

    def _snapshot(self, life: Life) -> None:
        """Dead: what the files hold now is what the next process finds."""
        life.is_alive = False
        shutil.rmtree(self._next_home, ignore_errors=True)
        _copy(self._home, self._next_home)

    def _bury(self, life: Life, loop: VirtualLoop) -> None:
        if life.is_alive:
            self._snapshot(life)
        problems = loop.unheard()
        loop.bury()
        shutil.rmtree(self._home)
        self._next_home.rename(self._home)
        self.report.deaths += self._is_armed is not None
        for problem in problems:
            self._wrong(f"an error that nobody heard: {problem}")

    def _snapshot_place(self, loop: VirtualLoop) -> None:
        """Notes where in the code the tasks wait: the await points at which a process has died."""
        for task in [task for task in loop.tasks if not task.done()]:
            step: Any = task.get_coro()
            place = None
            while step is not None:
                frame = getattr(step, "cr_frame", None) or getattr(step, "ag_frame", None)
                if frame is not None and "asyncio" not in frame.f_code.co_filename:
                    place = f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"
                step = getattr(step, "cr_await", None) or getattr(step, "ag_await", None)
            if place is not None:
                self.report.places.add(place)

    def _plan_halt(self) -> None:
        """In every third world trading is halted now and then for a while."""
        if self._rng.random() < 0.35:
            for first in range(20, self._story.slots, 200):
                begin = START_NS + (first + self._rng.randint(0, 100)) * SLOT_NS
                self.timeline.at(begin, lambda: self._told("HALTED"))
                end = begin + self._rng.randint(5, 50) * SLOT_NS
                self.timeline.at(end, lambda: self._told("ACTIVE"))

    def _told(self, state: TradingState) -> None:
        if not self._settling:
            self._control(state)

    def _control(self, state: TradingState) -> None:
        self._subject.control(self._home, state)
        self._halted_ns = self.timeline.now_ns if state == "HALTED" else None

    def _conclude(self) -> None:
        report = self.report
        book = self._subject.book(self._home)
        report.violations += violations(self.chain, self.signer.pubkey, START_LAMPORTS, book)
        for _, receipt in self.chain.landed.values():
            if isinstance(receipt.source, Wire):
                report.landed[receipt.effect.side if receipt.effect else "failed"] += 1
        report.sends, report.struck = len(self.sends), self.faults.struck
        journal = b"".join(path.read_bytes() for path in sorted(self._subject.journal(self._home).glob("*.wal")))
        report.digest = hashlib.sha256(repr(self.sends).encode() + journal).hexdigest()

    def _wrong(self, text: str) -> None:
        steps = self._loop.steps if self._loop else 0
        self.report.violations.append(f"slot {self.slot}, life {self.report.deaths}, step {steps}: {text}")

    # --- what a process does to the world -----------------------------------------------------------------------------

    def latency(self, least: float, most: float) -> float:
        """Seconds that an answer takes."""
        return self._rng.uniform(least, most)

    def attempted(self, life: Life, route: str, raw: bytes, signature: str) -> None:
        """A process hands bytes to a route: they must be ours, in its journal, and allowed."""
        wire = read_wire(raw)
        self.sends.append((self.timeline.now_ns, route, signature))
        if signature_text(wire.signature) != signature or not is_signed(raw) or wire.payer != self.signer.pubkey:
            self._wrong(f"{signature} is not what was sent, or not signed by us")
        if self._halted_ns is not None and self.timeline.now_ns > self._halted_ns + _HALT_GRACE_NS:
            self._wrong(f"{signature} was sent while HALTED")
        if signature not in self._known:
            files = self._subject.journal(life.home).glob("*.wal")
            if not any(signature.encode() in path.read_bytes() for path in files):
                self._wrong(f"{signature} was sent and is not in the journal")
            self._known.add(signature)

    def deliver(self, raw: bytes) -> None:
        """The bytes are on the network."""
        faults = self.faults
        if faults.strikes("send_dropped"):
            return
        slots = faults.rng.randint(2, 12) if faults.strikes("send_late") else 0
        delay = int(self.latency(0.005, 0.3) * 1e9) + slots * SLOT_NS
        for copy in range(2 if faults.strikes("send_twice") else 1):
            self.timeline.after(delay + copy * 2 * SLOT_NS, lambda: self._pool.append(read_wire(raw)))

    # --- slots --------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """One slot: perhaps the end of a fork, perhaps a block, and what the stream shows of it."""
        self.slot += 1
        self.timeline.after(SLOT_NS, self._tick)
        if self._settling:
            self._look_for_the_end()
        elif self.slot >= FIRST_SLOT + self._story.slots or self.report.deaths >= self._story.deaths:
            self._settle()
        self._trouble()
        if self._fork_left == 0 and self.chain.tip.doomed:
            self._leave_fork()
        if self.faults.strikes("leader_skip"):
            return
        if self._fork_left == 0 and self.faults.strikes("fork"):
            self._fork_left = self.faults.rng.randint(1, 3)
        before = [self.chain.index_of(name) for name in ("confirmed", "finalized")]
        doomed = self._fork_left > 0
        self._fork_left -= doomed
        block = self.chain.produce(self.slot, self._block_time(), self._items(), doomed=doomed)
        self._show([*shown.block_updates(block), *self._settled_since(before)], block)

    def _block_time(self) -> int:
        return (START_NS + (self.slot - FIRST_SLOT) * SLOT_NS) // 10**9

    def _items(self) -> list[Trade | Wire]:
        """What the next block is made of, in its order. Ours stand anywhere, and somebody may come first."""
        state = self.chain.tip.state
        items: list[Trade | Wire] = [*self._returning, *self.market.trades(state)]
        self._returning = []
        wires = list({wire.signature: wire for wire in self._pool if self.chain.can_land(wire)}.values())
        self._pool = []
        for wire in wires:
            at = self._rng.randint(0, len(items))
            items.insert(at, wire)
            coin = _coin_of(wire)
            if coin in state.curves and self.faults.strikes("front_run"):
                items.insert(at, self.market.rival(coin))
        return items

    def _trouble(self) -> None:
        faults = self.faults
        for node in self.nodes:
            if faults.strikes("rpc_stalls"):
                node.stall(self, faults.rng.randint(3, 20))
            if faults.strikes("blockhash_stall"):
                node.stall_blockhash(self, faults.rng.randint(5, 170))

    def _leave_fork(self) -> None:
        left = self.chain.leave_fork()
        for receipt in [receipt for block in left for receipt in block.receipts]:
            if self.faults.strikes("lost_on_fork"):
                continue
            if isinstance(receipt.source, Wire):
                self._pool.append(receipt.source)
            else:
                self._returning.append(receipt.source)
        self._show([shown.slot_update(block.slot, block.parent_slot, pb.SLOT_DEAD) for block in left])

    def _settled_since(self, before: list[int]) -> list[pb.SubscribeUpdate]:
        found = []
        for name, status, index in zip(
            ("confirmed", "finalized"), (pb.SLOT_CONFIRMED, pb.SLOT_FINALIZED), before, strict=True
        ):
            for block in self.chain.blocks[index + 1 : self.chain.index_of(name) + 1]:  # type: ignore[arg-type]
                found.append(shown.slot_update(block.slot, block.parent_slot, status))
        return found

    def _show(self, updates: list[pb.SubscribeUpdate], block: Block | None = None) -> None:
        """The stream, which may break off and come back with or without what it has missed."""
        if self._stream is None:
            return
        if self._gap_left == 0 and block is not None and self.faults.strikes("stream_gap"):
            self._gap_left = self.faults.rng.randint(1, 8)
            self._missed = self._replayed()
        if self._gap_left:
            self._missed += updates
            self._gap_left -= block is not None
            if self._gap_left:
                return
            updates = self._missed if self.faults.strikes("stream_replay") else []
        self._stream.push(updates)

    def _replayed(self) -> list[pb.SubscribeUpdate]:
        """Some of the newest blocks again: a replay begins before what was seen last."""
        count = self.faults.rng.randint(1, 8)
        return [update for block in self.chain.blocks[-count:] for update in shown.block_updates(block)]

    def _settle(self) -> None:
        """Nobody dies and nothing goes wrong any more: what is under way comes to its end."""
        self._settling = True
        self._last_slot = self.slot + _SETTLING_SLOTS
        self._fork_left = self._gap_left = 0
        self.faults.stop()
        self.market.leader_buys = self.market.completes = 0.0
        if self._halted_ns is not None:
            self._control("ACTIVE")

    def _look_for_the_end(self) -> None:
        if self._over_slot is None and self.slot % 10 == 0:
            book = self._subject.book(self._home)
            if book.positions and self._halted_ns is None and self.slot >= self._last_slot:
                # What cannot be sold (its curve is complete) would be tried for ever.
                self._control("HALTED")
            # Time enough for a process that has just begun to look at the wallet for the first time.
            is_early = self.slot < self._last_slot - _SETTLING_SLOTS + _LEAST_SETTLING_SLOTS
            has_settled = not is_early and not book.unresolved and (not book.positions or self._halted_ns is not None)
            if has_settled or self.slot >= self._last_slot + _DRAIN_SLOTS:
                self._over_slot = self.slot + _FINAL_SLOTS
        if self._over_slot is not None and self.slot >= self._over_slot and not self._is_over:
            self._is_over, self._over_ns = True, self.timeline.now_ns + _END_NS
            assert self._stream is not None
            self._stream.push([None])


_real_write = os.write


@lru_cache(maxsize=256)
def _short(filename: str) -> str:
    """Folder and name."""
    return "/".join(Path(filename).parts[-2:])


def _copy(home: Path, copy: Path) -> None:
    """Journal files but the newest never change and are linked; a lock is its process's own."""
    for folder, _, names in os.walk(home):
        target = copy / Path(folder).relative_to(home)
        target.mkdir()
        newest = max((name for name in names if name.endswith(".wal")), default="")
        for name in names:
            if name.endswith(".wal") and name != newest:
                os.link(Path(folder, name), target / name)
            elif name != "lock":
                shutil.copyfile(Path(folder, name), target / name)


def _coin_of(wire: Wire) -> Pubkey | None:
    return next((accounts[1] for program, accounts, _ in wire.instructions if program == a.PUMP_PROGRAM), None)
