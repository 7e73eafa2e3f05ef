"""Nodes that are behind, silent, odd or lying: none alone is believed, and none ends a run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from solders.hash import Hash
from solders.pubkey import Pubkey
from test_identities import ACCOUNT, COIN, COMPLETE, HELD, MINT, TOKEN_PROGRAM, live_run, position
from test_nonces import broker_of, pool, sale

from copytrader_core.errors import DecodeError
from copytrader_core.solana.chain_rpc import ChainRpc, HeldTokens, Lifetime, SignatureStatus
from copytrader_core.solana.coins import Coin
from copytrader_core.solana.nonce import NonceState
from copytrader_core.solana.programs import associated_token_address
from copytrader_core.solana.routes.route import Code, RouteError
from copytrader_core.solana.rpc import RpcError
from executor import reconcile, settler
from executor.accounts import CoinNews
from executor.broker import Landed, Reverted
from executor.fills import failure_of_json, failure_of_update
from executor.live import Chainhead, LiveBroker, Outcome
from executor.orders import DurableNonce, Signed
from executor.reconcile import CoinLook, Reconciler, Truth, by_mint
from executor.settler import Settler
from executor.trips import Trips
from tests.solana.test_rpc_json import document

SIGNATURE = str(document()["transaction"]["signatures"][0])
FAILED = document(meta=document()["meta"] | {"err": {"InstructionError": [0, {"Custom": 6002}]}})
TOKENS = Pubkey.from_string(TOKEN_PROGRAM)


class Node:
    """Answers what it is told to; an exception is raised, a number of seconds is slept before."""

    def __init__(self, **answers: Any) -> None:
        self.label = "node"
        self.height, self.transactions, self.lifetime = 10**6, None, None
        self.status: SignatureStatus | None = None
        self.tokens: list[HeldTokens] = []
        self.news: Any = None
        self.__dict__.update(answers)

    async def block_height(self, commitment: str) -> int:
        return self.height

    async def statuses(self, signatures: Sequence[str]) -> list[SignatureStatus | None]:
        return [self.status] * len(signatures)

    async def transaction(self, signature: str) -> Any:
        return _told(self.transactions)

    async def latest_blockhash(self) -> Lifetime:
        found: Lifetime = _told(self.lifetime)
        return found

    async def belongings(self, owner: Pubkey) -> tuple[int, int, list[HeldTokens]]:
        return self.height, 7, self.tokens

    async def accounts(self, addresses: Sequence[Pubkey]) -> list[None]:
        return [None] * len(addresses)


def _told(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


class Desk:
    """A settler over nodes, with what it has told and a clock."""

    def __init__(self, *nodes: Node) -> None:
        self.told: list[Any] = []
        self.now = 100.0
        self.broker: LiveBroker = broker_of(pool())
        self.nodes = nodes
        self.settler = Settler(
            self.broker, nodes, self.put, lambda: "ACTIVE", lambda: (), every_seconds=1.0, now=lambda: self.now
        )  # type: ignore[arg-type]

    async def put(self, what: Any) -> None:
        self.told.append(what)

    async def look(self, times: int = 1, seconds: float = 1.0) -> list[Any]:
        for _ in range(times):
            self.now += seconds
            await self.settler.look(patience=0.0)
        return self.told

    def fly(self, last_block: int = 10) -> None:
        self.broker.resume(sale("p"), Signed(SIGNATURE, b"", last_block))


VALUE = str(Hash(bytes([7]) * 32))
CONFIRMED = SignatureStatus(9, None, "confirmed")


NO_ERROR = {"meta": {"err": {"InstructionError": [1]}}}


@pytest.mark.parametrize("useless", [None, RpcError("no history"), DecodeError("odd"), [], "text", {}, NO_ERROR])
async def test_what_one_node_cannot_tell_of_a_transaction_the_next_one_can(useless: Any) -> None:
    desk = Desk(Node(status=CONFIRMED, transactions=useless), Node(status=CONFIRMED, transactions=FAILED))
    desk.fly()
    (outcome,) = await desk.look()
    assert isinstance(outcome.result, Reverted) and (outcome.slot, outcome.result.code) == (9, 6002)


async def test_a_transaction_that_lacks_its_events_is_believed_only_where_nobody_tells_more() -> None:
    slim = document()
    desk = Desk(Node(status=CONFIRMED, transactions=slim), Node(status=CONFIRMED, transactions=FAILED))
    desk.fly()
    (outcome,) = await desk.look()
    assert outcome.problem is None
    alone = Desk(Node(status=CONFIRMED, transactions=slim), Node(status=CONFIRMED))
    alone.fly()
    (outcome,) = await alone.look()
    assert outcome.problem is not None


@pytest.mark.parametrize(("heights", "is_void"), [((20, 20, 5), True), ((20, 5, 5), False), ((20,), True)])
async def test_nodes_that_are_behind_have_no_say_in_what_is_void(heights: tuple[int, ...], is_void: bool) -> None:
    desk = Desk(*[Node(height=height) for height in heights])
    desk.fly()
    assert await desk.look() == []
    assert bool(await desk.look(5)) == is_void


async def test_four_nodes_need_a_second_look_too() -> None:
    desk = Desk(*[Node() for _ in range(4)])
    desk.fly()
    assert await desk.look(3, seconds=0.1) == []
    assert len(await desk.look()) == 1


@pytest.mark.parametrize(("slots", "is_told"), [((20, 20), True), ((20, 9), False), ((20,), True)])
async def test_a_sale_under_a_nonce_whose_block_nobody_knows_is_left_behind_and_not_void(
    slots: tuple[int, ...], is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(node: Any, accounts: Any, commitment: str) -> tuple[int, dict[str, NonceState]]:
        return node.height, {"A": NonceState(Pubkey.default(), Hash.from_string(VALUE))}

    monkeypatch.setattr(settler, "read_nonces", read)
    desk = Desk(*[Node(height=slot) for slot in slots])
    desk.broker.resume(sale("p"), Signed(SIGNATURE, b"", 0, DurableNonce("A", VALUE, 5)))
    desk.broker.flights[SIGNATURE].landed_slot = 9
    told = await desk.look(5)
    assert [(one.result, one.final) for one in told[:1]] == [(None, False)] * is_told


def test_what_is_left_behind_is_held_again_and_still_under_way(tmp_path: Path) -> None:
    now = SimpleNamespace(ns=10**18)
    with live_run(tmp_path, now) as run:
        run.engine.desk.market.learn(str(MINT), TRADING)
        wanted = position()
        wanted.due = "timer"
        run.engine.desk.adopt(wanted)
        run.engine.on_tick()
        (signature,) = run.broker.flights
        gone = Outcome(signature, 0, None, final=False, reason="left behind")
        run.chain.on_outcome(gone)
        assert signature in run.broker.flights, "it was never seen"
        run.chain.on_outcome(Outcome(signature, 106, Landed(HELD, 5, 0, 5_000, 0), final=False))
        assert not run.engine.desk.holdings.open
        run.chain.on_outcome(gone)
        assert len(run.engine.desk.holdings.open) == 1
        assert run.broker.flights[signature].landed_slot is None
        run.chain.on_outcome(Outcome(signature, 120, Landed(HELD, 5, 0, 5_000, 0), final=True))
        assert not run.engine.desk.holdings.open and not run.broker.flights


def lifetime(height: int) -> Lifetime:
    return Lifetime(Hash(height.to_bytes(32, "big")), height + 150)


@pytest.mark.parametrize(
    ("answers", "taken"),
    [
        ((lifetime(500), lifetime(900)), 900),
        ((RpcError("away"), lifetime(900)), 900),
        ((lifetime(10**9), lifetime(900), lifetime(890)), 900),
    ],
)
async def test_the_newest_blockhash_of_all_nodes_is_taken_but_not_from_far_ahead(
    answers: tuple[Any, ...], taken: int
) -> None:
    desk = Desk(*[Node(lifetime=answer) for answer in answers])
    await desk.look()
    assert desk.broker.head.blockhash_height == taken


def test_an_odd_blockhash_of_the_stream_signs_nothing_and_ends_nothing() -> None:
    head = Chainhead()
    for text in ("", "0", "nonsense", "1" * 31, "é"):
        head.block(5, text, 10)
        head.confirm(5)
    assert head.is_stale


@pytest.mark.parametrize("answer", [{"value": {"blockhash": "0", "lastValidBlockHeight": 1}}, [], None, {"value": 1}])
async def test_an_odd_blockhash_of_a_node_is_an_answer_of_another_form(answer: Any) -> None:
    async def call(method: str, params: Sequence[Any]) -> Any:
        return answer

    with pytest.raises(DecodeError):
        await ChainRpc(SimpleNamespace(label="n", call=call)).latest_blockhash()  # type: ignore[arg-type]


@pytest.mark.parametrize("height", [-1, 1 << 63, 10**30, 1.0, True, "5"])
async def test_numbers_that_no_table_holds_are_refused(height: Any) -> None:
    async def call(method: str, params: Sequence[Any]) -> Any:
        return height

    with pytest.raises(DecodeError):
        await ChainRpc(SimpleNamespace(label="n", call=call)).block_height()  # type: ignore[arg-type]


ODD_PAIRS = [[], [None, 1], ["a", {}], [1, {"Custom": None}], [0, {"Custom": -1}], [0, {"Custom": 1 << 40}], [[], {}]]


@pytest.mark.parametrize("error", [*({"InstructionError": pair} for pair in ODD_PAIRS), "text", None, 7, []])
def test_an_odd_error_of_a_node_is_repeated_and_has_no_code(error: Any) -> None:
    failure = failure_of_json(error)
    assert failure.code is None and len(failure.text) < 300


def test_errors_of_instructions_without_a_code_press_the_button_too() -> None:
    trips = Trips()
    raw = (8).to_bytes(4, "little") + b"\x03" + (37).to_bytes(4, "little")
    by_node = failure_of_json({"InstructionError": [3, "ProgramFailedToComplete"]})
    assert failure_of_update(raw).instruction == by_node.instruction == 3
    assert [trips.failed(Reverted("out of units", 1, None, "curve")) is None for _ in range(3)] == [True, True, False]
    assert Trips().failed(Reverted("InsufficientFundsForRent", 1, None, "")) is None


def test_only_a_buy_that_went_through_makes_a_wallet_one_that_has_traded() -> None:
    for result, traded in ((Reverted("no", 1), set()), (Landed(1, 1, 0, 0, 0), {"curve"})):
        broker = broker_of(pool())
        order = replace(sale("p"), side="BUY", coin=COIN)
        broker.resume(order, Signed("s", b"", 0))
        broker.flights["s"].sightings[9] = result
        broker.flights["s"].landed_slot = 9
        broker.forget(order)
        assert broker.has_traded == traded


class Scarce:
    """A route that takes what it is given until it is told not to."""

    name, waits, is_scarce = "scarce", False, True

    def __init__(self) -> None:
        self.got: list[str] = []
        self.refuses = False

    async def send(self, wire: bytes, signature: str) -> None:
        self.got.append(signature)
        if self.refuses:
            raise RouteError(Code.RATE_LIMITED, "full")


def test_a_scarce_route_gets_what_pays_a_tip_and_what_it_has_taken_only_once() -> None:
    route, broker = Scarce(), broker_of(pool())
    broker.routes = [route]  # type: ignore[list-item]
    for name, tip in (("free", 0), ("paid", 1_000)):
        broker.submit(replace(sale(name), tip_lamports=tip), Signed(name, b"", 0))
    route.refuses = True
    broker.submit(replace(sale("late"), tip_lamports=1_000), Signed("late", b"", 0))
    route.refuses = False
    for _ in range(3):
        for flight in broker.flights.values():
            broker.carry(flight)
    assert route.got == ["paid", "late", "late"]


# --- what the wallet holds -------------------------------------------------------------------------------------------


def held(account: Pubkey = ACCOUNT, amount: int = HELD, mint: Pubkey = MINT) -> HeldTokens:
    return HeldTokens(account, mint, TOKENS, amount)


async def truths(*nodes: Node, quorum: int = 2) -> list[Truth]:
    """What a reconciler over the nodes tells by its first look."""
    told: list[Any] = []
    broker = broker_of(pool())

    async def put(what: Any) -> None:
        told.append(what)

    async def look(patience: float) -> None:
        raise asyncio.CancelledError

    asking = Reconciler(broker, nodes, SimpleNamespace(look=look), put, every_seconds=1.0, quorum=quorum)  # type: ignore[arg-type]
    broker.withdraw_authority = Pubkey.default()
    with pytest.raises(asyncio.CancelledError):
        await asking.run(frozenset, lambda: True)
    return told


async def test_accounts_of_one_coin_may_come_in_any_order() -> None:
    both = [held(), held(Pubkey.default(), 1)]
    (truth,) = await truths(Node(tokens=both), Node(tokens=both[::-1]))
    assert len(truth.tokens) == 2


@pytest.mark.parametrize(("quorum", "n_truths"), [(2, 0), (1, 1)])
async def test_one_node_of_two_has_to_do_where_nothing_else_would_be_sold(quorum: int, n_truths: int) -> None:
    class Away(Node):
        async def belongings(self, owner: Pubkey) -> tuple[int, int, list[HeldTokens]]:
            raise RpcError("away")

    assert len(await truths(Node(), Away(), quorum=quorum)) == n_truths


def test_coins_that_a_stranger_puts_into_another_account_count_for_nothing() -> None:
    owner = broker_of(pool()).owner
    own = associated_token_address(owner, MINT, TOKENS)
    assert by_mint([held(Pubkey.default(), 10**15), held(own, 5)], owner) == {str(MINT): held(own, 5)}
    assert by_mint([held(Pubkey.default(), 10**15)], owner) == {}


def look_at(run: Any, now: SimpleNamespace, lamports: int, *tokens: HeldTokens, times: int = 2) -> None:
    for _ in range(times):
        now.ns += 20 * 10**9
        run.chain.on_truth(Truth(now.ns / 1e9, 10, lamports, tokens, (), frozenset()))


TRADING = replace(COMPLETE, real_base_raw=6 * 10**14, real_quote_raw=10**10, complete=False)


@pytest.mark.parametrize(("news", "sold"), [(CoinNews(Coin(MINT), TRADING, None), True), (None, False)])
def test_what_an_earlier_run_has_put_aside_is_sold_by_one_that_sells_all(
    tmp_path: Path, news: CoinNews | None, sold: bool
) -> None:
    now = SimpleNamespace(ns=10**18)
    with live_run(tmp_path, now) as run:
        run.engine.desk.quarantine(str(MINT), str(ACCOUNT), HELD)
    with live_run(tmp_path, now) as run:
        look_at(run, now, 0, held())
        assert run.chain.wanted() == [str(MINT)]
        run.chain.on_coin(str(MINT), news)
        assert bool(run.engine.desk.holdings.open) == sold
        # What is worth nothing is not looked at for ever.
        look_at(run, now, 0, held(), times=4)
        assert not run.chain.needs_truth and (sold or not run.chain.wanted())


def test_a_balance_that_moves_between_two_looks_leaves_no_doubt_behind(tmp_path: Path) -> None:
    now = SimpleNamespace(ns=10**18)
    with live_run(tmp_path, now) as run:
        run.engine.desk.journal.ledger.signatures["s"] = 1
        look_at(run, now, 10**9)
        for lamports in (5, 6, 7):
            look_at(run, now, lamports, times=1)
            assert run.chain.needs_truth
        look_at(run, now, 10**9, times=1)
        assert not run.chain.needs_truth


def test_a_doubt_is_looked_at_again_soon(tmp_path: Path) -> None:
    now = SimpleNamespace(ns=10**18)
    asked: list[int] = []
    with live_run(tmp_path, now) as run:
        run.chain.doubted = lambda: asked.append(1)
        look_at(run, now, 0, held(), times=1)
    assert asked == [1]


@pytest.mark.parametrize("slow", [False, True])
async def test_a_coin_is_told_by_the_newest_answer_and_no_node_keeps_it_waiting(
    slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_COIN_SECONDS", 0.05)
    told: list[CoinLook] = []

    async def put(what: Any) -> None:
        told.append(what)

    async def read(node: Any, mint: str) -> CoinNews:
        if node.news is None:
            await asyncio.sleep(60)
        return CoinNews(Coin(MINT), replace(TRADING, slot=node.news), None)

    monkeypatch.setattr(reconcile, "read_coin", read)
    nodes = [Node(news=None if slow else 5), Node(news=9)]
    asking = Reconciler(broker_of(pool()), nodes, SimpleNamespace(), put, every_seconds=1.0)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        await asking._read_coin(str(MINT))
    assert [look.news.market.slot for look in told if look.news] == [9]
