"""A leader's buy on its way to our bytes: signed before it is decided, and gone again without a trace."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from solders.hash import Hash
from solders.transaction import VersionedTransaction

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.policy.values import ExitPlan, Lock
from copytrader_core.pump.decode import decode
from copytrader_core.records import WSOL, Event, Pattern, Release
from copytrader_core.settings import Settings
from copytrader_core.solana.keys import Signer
from executor import boot
from executor.clock import WallClock
from executor.coins import CoinBook
from executor.control import ACTIVE, Control, Switch, read_control, write_control
from executor.engine import Engine
from executor.hearing import Hearing
from executor.journal import Journal
from executor.live import LiveBroker
from executor.locks import Locks
from executor.orders import Position, signed_from
from executor.understudy import Understudy
from executor.wal import Wal
from simnet.demo_tape import TAPE
from simnet.tape import read_tape


class Counting(Signer):
    """Keeps what it has signed."""

    def __init__(self) -> None:
        super().__init__(bytes(range(32)))
        self.messages: list[bytes] = []

    def sign(self, message: bytes) -> bytes:
        self.messages.append(message)
        return super().sign(message)


class Run:
    """An engine in mode live without routes, and what it hears with."""

    def __init__(self, folder: Path, leaders: set[str], **risk: Any) -> None:
        policy = {"min_sample_trades": 0, "min_win_rate": 0.0, "require_positive_ev": False}
        wide = {"min_leader_size_sol": 0.0, "mint_cool_down_ms": 0, "max_price_impact_bps": 10_000}
        self.settings = Settings(home=folder, policy=policy, risk=wide | risk)  # type: ignore[arg-type]
        self.switch = Switch(folder / "executor")
        self.switch.heard(ACTIVE)
        self.journal = Journal(Wal(folder / "wal"), "live", "run", lambda: self.switch.state)
        self.signer, coins = Counting(), CoinBook()
        self.broker = LiveBroker(
            *(self.signer, (), coins, lambda: self.switch.state, lambda: self.journal.ledger.signatures, lambda: 0.0),
            last_seen=lambda: self.switch.seen,
        )
        self.broker.head.take(Hash(bytes([7]) * 32), 1_000)
        patterns = {
            wallet: Pattern(wallet, None, 30, 100, 0.6, 1.0, 30_000, 90_000, 1.4, 2.0, "mixed", 0.05, 0.5, 0.5)
            for wallet in leaders
        }
        release = Release("r", "2026-10-11", patterns, ())
        self.engine: Engine = boot.start(self.journal, self.settings, WallClock(), release, self.switch, self.broker)
        self.engine.desk.coins = coins
        self.engine.desk.holdings.balance_lamports = 10**15
        self.hearing = Hearing(self.engine, None, is_quick=True)
        self.hearing.wait()

    def hear(self, raw: bytes) -> dict[str, Any]:
        """The line of the decision on a buy."""
        self.hearing.transaction(raw, 0)
        lines = [line for line in self.journal._wal.replay() if line["kind"] == "DECISION"]
        return dict(lines[-1])


def buys() -> Iterator[tuple[bytes, Event]]:
    """Updates of the tape that are one buy paid in SOL."""
    for block in read_tape(TAPE).blocks:
        for info in block.transactions:
            events = decode(transaction_from_update(info, block.slot)).events
            if len(events) == 1 and events[0].action == "BUY" and events[0].quote_mint == WSOL:
                update = pb.SubscribeUpdateTransaction(slot=block.slot, transaction=info)
                yield pb.SubscribeUpdate(filters=["pump"], transaction=update).SerializeToString(), events[0]


@pytest.fixture(scope="module")
def shown() -> list[tuple[bytes, Event]]:
    """The first buys of sixty coins."""
    found: dict[str, tuple[bytes, Event]] = {}
    for raw, event in buys():
        found.setdefault(event.mint, (raw, event))
        if len(found) == 60:
            break
    return list(found.values())


def wallets(shown: list[tuple[bytes, Event]]) -> set[str]:
    return {event.wallet for _, event in shown}


def test_what_was_signed_early_is_what_the_decision_sends(tmp_path: Path, shown: list[tuple[bytes, Event]]) -> None:
    sums = dict.fromkeys(("max_exposure_sol", "max_exposure_per_leader_sol", "max_exposure_per_mint_sol"), 1e6)
    counts = dict.fromkeys(("max_open_positions", "max_positions_per_leader"), 1_000)
    run = Run(tmp_path, wallets(shown), **sums, **counts)
    bought = 0
    for raw, event in shown:
        line = run.hear(raw)
        assert line["leader_sig"] == event.sig
        signed = [signed_from(values["payload"]) for name, values in line["changes"] if name == "move_intent"]
        if signed and signed[0] is not None:
            bought += 1
            assert bytes(VersionedTransaction.from_bytes(signed[0].wire).message) == run.signer.messages[-1][1:]
    assert bought == len(run.signer.messages) == len(shown), "an order was signed twice, or for nothing"


def test_what_is_refused_is_signed_at_most_and_never_written_or_sent(
    tmp_path: Path, shown: list[tuple[bytes, Event]]
) -> None:
    run = Run(tmp_path, wallets(shown), min_leader_size_sol=1e6)
    for raw, _ in shown:
        line = run.hear(raw)
        assert line["payload"]["decision"]["code"] == "LEADER_MIN_SIZE"
        assert line["changes"] == []
    assert run.signer.messages, "the limit is asked after signing"
    assert not run.broker.flights
    assert not run.journal.ledger.signatures


def test_nothing_is_signed_early_while_buying_is_forbidden(tmp_path: Path, shown: list[tuple[bytes, Event]]) -> None:
    run = Run(tmp_path, wallets(shown))
    write_control(tmp_path / "executor", Control("REDUCING", False, "by hand"))
    for raw, _ in shown[:10]:
        assert run.hear(raw)["payload"]["decision"]["code"] == "TRADING_STATE"
    assert run.signer.messages == []


@pytest.mark.parametrize(
    "change",
    ["nothing", "amount_in", "min_out", "priority_fee_lamports", "tip_lamports", "intent_id", "blockhash", "venue"],
)
def test_an_order_that_is_another_one_is_signed_anew(
    tmp_path: Path, shown: list[tuple[bytes, Event]], change: str
) -> None:
    """Whatever moves between the early signature and the order: what leaves is what signing alone would give."""
    run = Run(tmp_path, wallets(shown))
    run.hear(shown[0][0])
    early, orders = [], []
    presign, sign = run.broker.presign, run.broker.sign
    run.broker.presign = lambda likely: early.append(presign(likely)) or early[-1]  # type: ignore[method-assign]
    run.broker.sign = lambda order, given=None: orders.append(order) or sign(order, given)  # type: ignore[method-assign]
    run.hear(shown[1][0])
    (found,), (order,) = early, orders
    run.journal.ledger.signatures.clear()
    if change == "blockhash":
        run.broker.head.take(Hash(bytes([8]) * 32), 1_001)
    elif change == "venue":
        run.broker.has_traded.add("curve")
    elif change == "intent_id":
        order = replace(order, intent_id=f"{int(order.intent_id[0], 16) ^ 1:x}{order.intent_id[1:]}")
    elif change != "nothing":
        order = replace(order, **{change: getattr(order, change) + 1})
    before = len(run.signer.messages)
    taken = sign(order, found)
    anew = len(run.signer.messages) - before
    assert taken == sign(order)
    assert anew == (change not in ("nothing", "intent_id"))


class Played:
    """A run whose first buy has been heard, and its understudy, whose bytes are kept."""

    name, waits, is_scarce = "kept", False, False

    def __init__(self, folder: Path, shown: list[tuple[bytes, Event]], **risk: Any) -> None:
        self.run = Run(folder, wallets(shown), **risk)
        self.run.hear(shown[0][0])
        self.wires: list[bytes] = []
        self.understudy = Understudy(self.run.engine, self.run.broker, (self,))

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, wire: bytes, signature: str) -> None:
        self.wires.append(wire)

    def play(self) -> None:
        self.run.hearing.rehearse(self.understudy)


def test_a_rehearsal_goes_all_the_way_and_leaves_no_trace(tmp_path: Path, shown: list[tuple[bytes, Event]]) -> None:
    played = Played(tmp_path, shown)
    run = played.run
    desk = run.engine.desk
    orders, tally = run.broker.orders, copy.deepcopy(desk.tally)
    lines, state = run.journal._wal.seq, copy.deepcopy(run.journal.ledger.snapshot())
    signed = len(run.signer.messages)
    for _ in range(4):
        played.play()
    assert (run.journal._wal.seq, run.journal.ledger.snapshot()) == (lines, state)
    assert (run.broker.orders, desk.tally, len(desk.holdings.open)) == (orders, tally, 0)
    assert len(run.signer.messages) == signed, "the wallet has signed a rehearsal"
    # Before the first one nothing is recovered; from then on the bytes are the real ones, but for whose they are.
    assert len(played.wires) >= 3
    for wire in played.wires:
        transaction = VersionedTransaction.from_bytes(wire)
        (real,) = run.broker.flights.values()
        ours = VersionedTransaction.from_bytes(real.signed.wire)
        assert transaction.message.account_keys[0] != run.signer.pubkey
        assert transaction.message.instructions[-1].data == ours.message.instructions[-1].data


def test_rehearsals_do_not_pile_up(tmp_path: Path, shown: list[tuple[bytes, Event]]) -> None:
    played = Played(tmp_path, shown)
    played.play()
    sizes = []
    for _ in range(3):
        for _ in range(100):
            played.play()
        broker, journal, desk = played.understudy._broker, played.understudy._journal, played.understudy._desk
        ledger = journal.ledger.snapshot()
        held = (broker.flights, broker._by_intent, desk.coins._coins, desk.market._curves, desk.tally.latencies_us)
        held += (broker._templates._ready,)
        sizes.append([len(part) for part in held] + [len(str(ledger[name])) for name in sorted(ledger)])
    assert sizes[0] == sizes[1] == sizes[2]
    assert sum(sizes[0][: len(held)]) == 0


def test_nothing_is_rehearsed_where_nothing_would_be_bought(tmp_path: Path, shown: list[tuple[bytes, Event]]) -> None:
    played = Played(tmp_path, shown)
    played.play()
    played.play()
    for state in ("REDUCING", "HALTED"):
        played.wires.clear()
        write_control(tmp_path / "executor", Control(state, True, "by hand"))  # type: ignore[arg-type]
        played.play()
        assert played.wires == []
        # The wish to flatten is the run's to fulfil.
        assert read_control(tmp_path / "executor").flatten
    write_control(tmp_path / "executor", ACTIVE)
    played.play()
    assert len(played.wires) == 1


def test_a_rehearsal_goes_by_the_locks_in_force(tmp_path: Path, shown: list[tuple[bytes, Event]]) -> None:
    played = Played(tmp_path, shown)
    for locks in (Locks(), Locks((Lock("all", "", "by hand"),)), Locks()):
        played.run.switch.locks = locks
        played.play()
        played.wires.clear()
        played.play()
        assert len(played.wires) == (not locks.locks)


def test_a_rehearsal_goes_by_the_settings_and_the_release_in_force(
    tmp_path: Path, shown: list[tuple[bytes, Event]]
) -> None:
    played = Played(tmp_path, shown)
    run = played.run
    for _ in range(2):
        played.play()
    before = played.wires[-1]
    executor = run.settings.executor.model_copy(update={"priority_fee_lamports": 1})
    run.engine.swap_settings(run.settings.model_copy(update={"executor": executor}))
    played.play()
    assert len(played.wires[-1]) == len(before)
    assert played.wires[-1][65:] != before[65:]
    played.wires.clear()
    run.engine.swap_release(Release("other", "2026-10-12", {}, ()))
    played.play()
    assert played.wires == [], "nobody is followed any more"


@pytest.mark.parametrize("most", [1, 2])
def test_a_sale_leaves_the_account_open_while_a_buy_of_the_same_coin_is_under_way(
    tmp_path: Path, shown: list[tuple[bytes, Event]], most: int
) -> None:
    """Were the buy to land first, closing the account would fail, and the sale with it; a second one would sell it."""
    run = Run(tmp_path, wallets(shown), max_positions_per_mint=most)
    run.engine.on_tick()
    raw, event = shown[0]
    held = Position(
        *("p", event.wallet, "sig", event.mint, 1, time.time_ns() - 10**12, 10**9, 10**9, 10**9),
        ExitPlan(1, None, 1, False),
    )
    run.journal.adopted(held, run.engine.desk.entry("ADOPTED", {}))
    run.engine.desk.holdings.hold(held)
    line = run.hear(raw)
    assert line["payload"]["decision"]["code"] == ("ACCEPTED" if most == 2 else "PER_MINT")
    (sale,) = [order for order in run.broker.orders if order.side == "SELL"]
    assert sale.coin is not None and sale.coin["closes"] == (most == 1)
    held.sent_ns = 0
    run.engine.on_tick()
    attempts = [order.attempt for order in run.broker.orders if order.side == "SELL"]
    assert attempts == ([1, 2] if most == 1 else [1])


def test_what_is_due_leaves_after_a_buy_and_in_the_same_call(tmp_path: Path, shown: list[tuple[bytes, Event]]) -> None:
    """A buy by the same update comes first, whatever is due by its price or by the clock."""
    run = Run(tmp_path, wallets(shown))
    run.hear(shown[0][0])
    run.engine.desk.retries = False
    first, mint = shown[1][1], shown[0][1].mint
    held = Position(
        *("p", first.wallet, "sig", mint, 1, time.time_ns() - 10**12, 10**9, 10**9, 10**9),
        ExitPlan(1, None, 1, False),
        coin=run.engine.desk.coins.document(mint),
    )
    run.journal.adopted(held, run.engine.desk.entry("ADOPTED", {}))
    run.engine.desk.holdings.hold(held)
    run.hear(shown[1][0])
    kinds = [(line["kind"], line["mint"]) for line in run.journal._wal.replay()][-4:]
    assert kinds == [("DECISION", first.mint), ("SEND", first.mint), ("EXIT", mint), ("SEND", mint)]
