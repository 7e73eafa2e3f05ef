"""The pool of nonces: one landing per value, one position per account, and nothing that a crash could lose."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.pubkey import Pubkey

from copytrader_core.errors import TransactionError
from copytrader_core.policy.values import ExitPlan
from copytrader_core.records import Release
from copytrader_core.settings import Settings
from copytrader_core.solana.chain_rpc import ChainRpc
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.nonce import NonceState
from copytrader_core.solana.rpc import RpcClient
from executor.broker import Landed
from executor.coins import CoinBook
from executor.control import ACTIVE
from executor.engine import Engine
from executor.ledger import Ledger, ledger_from
from executor.live import LiveBroker
from executor.nonces import Nonces, Use
from executor.orders import DurableNonce, Order, Position, Signed, signed_from
from executor.settler import Answer


def pool(*accounts: str) -> Nonces:
    """Accounts that have been read in slot 10."""
    nonces = Nonces(accounts)
    for account in accounts:
        nonces.learn(account, f"{account}1", 10)
    return nonces


def use(position: str, nonce: DurableNonce | None, *, landed: bool = False) -> Use:
    return Use(position, nonce, landed)


def test_every_attempt_of_a_position_is_a_variant_under_one_value() -> None:
    nonces = pool("A", "B")
    first = nonces.lend("p", [])
    assert first == DurableNonce("A", "A1", 10)
    assert nonces.lend("p", [use("p", first), use("p", first)]) == first
    assert nonces.is_exclusive("p", [use("p", first)])


def test_two_positions_never_share_an_account_and_the_third_goes_by_blockhash() -> None:
    nonces = pool("A", "B")
    one = nonces.lend("p", [])
    two = nonces.lend("q", [use("p", one)])
    assert one is not None and two is not None and one.account != two.account
    uses = [use("p", one), use("q", two)]
    assert nonces.lend("r", uses) is None
    assert not nonces.is_exclusive("r", uses)


def test_an_attempt_by_blockhash_cannot_be_excluded_by_a_nonce_any_more() -> None:
    nonces = pool("A")
    assert nonces.lend("p", [use("p", None)]) is None
    assert not nonces.is_exclusive("p", [use("p", None)])


def test_what_has_landed_is_not_signed_under_again_until_a_node_shows_another_value() -> None:
    nonces = pool("A")
    first = nonces.lend("p", [])
    assert first is not None
    landed = [use("p", first), use("p", first, landed=True)]
    assert nonces.lend("p", landed) is None
    assert nonces.is_unread(landed)
    nonces.learn("A", "A2", 12)
    assert nonces.lend("p", landed) == DurableNonce("A", "A2", 12)
    assert nonces.has_moved(first)


def test_a_landing_that_is_taken_back_gives_the_value_back() -> None:
    nonces = pool("A", "B")
    first = nonces.lend("p", [])
    assert nonces.lend("p", [use("p", first, landed=True)]) != first
    assert nonces.lend("p", [use("p", first)]) == first


def test_after_a_landing_for_good_only_an_answer_of_that_slot_or_later_counts() -> None:
    nonces = pool("A")
    first = nonces.lend("p", [])
    assert first is not None
    nonces.spend(first, 20)
    assert nonces.lend("q", []) is None and nonces.is_unread([])
    nonces.learn("A", "A1", 19)
    assert nonces.lend("q", []) is None
    nonces.learn("A", "A2", 20)
    assert nonces.lend("q", []) == DurableNonce("A", "A2", 20)


def test_a_node_that_is_behind_does_not_bring_an_old_value_back() -> None:
    nonces = pool("A")
    nonces.learn("A", "A2", 30)
    nonces.learn("A", "A1", 29)
    assert nonces.lend("p", []) == DurableNonce("A", "A2", 30)


def test_after_a_landing_that_nobody_has_seen_nothing_is_sold_until_it_is_known() -> None:
    nonces = pool("A", "B")
    first = nonces.lend("p", [])
    assert first is not None
    uses = [use("p", first), use("p", first)]
    nonces.learn("A", "A2", 30)
    with pytest.raises(TransactionError, match="not known yet"):
        nonces.lend("p", uses)
    assert not nonces.is_exclusive("p", uses)
    assert nonces.lend("q", uses) == DurableNonce("A", "A2", 30), "nothing of it concerns others"
    nonces.spend(first, 29)
    assert nonces.lend("p", uses[:1]) == DurableNonce("A", "A2", 30)


def test_a_restart_knows_what_an_earlier_run_saw_landing_for_good() -> None:
    first = DurableNonce("A", "A1", 10)
    ledger = Ledger()
    for number in range(300):
        nonce = {"account": "A", "value": f"A{number}", "slot": number}
        identity, payload = f"i{number}", {**sale("p", number).document(), "nonce": nonce, "signature": f"s{number}"}
        moved = {"intent_id": identity, "from": "PLANNED", "to": "SIGNED", "payload": payload}
        landed = {"intent_id": identity, "from": "SIGNED", "to": "LANDED_OK", "payload": {}, "final": number % 2 == 0}
        changes = [("plan_intent", {"intent_id": identity, "side": "SELL", "payload": {}}), ("move_intent", moved)]
        changes.append(("move_intent", landed))
        if number % 2:
            changes.append(("confirm_intent", {"intent_id": identity}))
        ledger.apply({"kind": "EXIT", "changes": changes})
    assert len(ledger.spent) == 256 and ledger.spent[-1] == ["A", "A299"]
    again = ledger_from(ledger.snapshot())
    nonces = pool("A")
    nonces.learn("A", "A999", 400)
    last = DurableNonce("A", "A299", 299)
    with pytest.raises(TransactionError):
        nonces.lend("p", [use("p", last)])
    nonces.recall(again.spent)
    assert nonces.lend("p", [use("p", last)]) == DurableNonce("A", "A999", 400)
    with pytest.raises(TransactionError):
        nonces.lend("p", [use("p", first)])


def test_what_is_void_has_spent_nothing() -> None:
    ledger, nonce = Ledger(), {"account": "A", "value": "A1", "slot": 1}
    payload = {**sale("p").document(), "nonce": nonce, "signature": "s"}
    signed = {"intent_id": "i", "from": "PLANNED", "to": "SIGNED", "payload": payload}
    void = {"intent_id": "i", "from": "SIGNED", "to": "EXPIRED", "payload": {}}
    plan = ("plan_intent", {"intent_id": "i", "side": "SELL", "payload": {}})
    ledger.apply({"kind": "EXIT", "changes": [plan, ("move_intent", signed), ("move_intent", void)]})
    assert ledger.spent == [] and ledger.intents == {}


def test_an_account_that_the_settings_forgot_is_watched_and_not_lent() -> None:
    nonces, old = pool("A"), DurableNonce("Z", "Z1", 5)
    nonces.watch("Z")
    assert nonces.is_unread([]) and "Z" in nonces.accounts
    nonces.learn("Z", "Z2", 30)
    assert nonces.has_moved(old)
    assert nonces.lend("q", [use("p", DurableNonce("A", "A1", 10))]) is None


def test_after_a_restart_a_position_goes_on_under_the_value_that_its_order_has() -> None:
    nonce = DurableNonce("A", "A1", 5)
    kept = Signed("sig", b"bytes", 0, nonce).document()
    signed = signed_from({"intent_id": "x", **kept})
    assert signed is not None and signed.nonce == nonce and not signed.is_past(10**9)
    uses = [use("p", signed.nonce)]
    unread = Nonces(("A", "B"))
    assert unread.lend("p", uses) == nonce
    read = pool("A", "B")
    assert read.lend("p", uses) == nonce
    assert read.lend("q", uses) == DurableNonce("B", "B1", 10)
    assert Nonces().lend("p", uses) == nonce, "an account that the settings do not name any more"


def test_what_has_landed_under_in_an_earlier_run_is_not_lent_though_a_node_still_shows_it() -> None:
    nonces = Nonces(["A", "B"])
    nonces.recall([["A", "A1"]])
    nonces.learn("A", "A1", 10)
    nonces.learn("B", "B1", 10)
    assert nonces.is_unread([]), "another node may know the next value"
    assert nonces.lend("p", []) == DurableNonce("B", "B1", 10)
    nonces.learn("A", "A2", 11)
    assert nonces.lend("q", []) == DurableNonce("A", "A2", 11) and not nonces.is_unread([])


def test_an_account_that_does_not_serve_us_is_not_lent() -> None:
    nonces = pool("A")
    nonces.learn("A", None, 30)
    assert nonces.lend("p", []) is None and not nonces.is_unread([])
    nonces.learn("A", "A1", 31)
    assert nonces.lend("p", []) is not None, "a node that was wrong"


@given(
    st.lists(st.tuples(st.sampled_from("pqrs"), st.sampled_from(["attempt", "land", "confirm", "read"])), max_size=60)
)
def test_whatever_happens_no_key_is_ever_two_positions_and_none_lands_twice(steps: list[tuple[str, str]]) -> None:
    """A chain of two accounts; `read` is a node that shows what it holds."""
    nonces, chain, slot = pool("A", "B"), {"A": "A1", "B": "B1"}, 10
    uses: list[Use] = []
    owners: dict[tuple[str, str], str] = {}
    landings: set[tuple[str, str]] = set()
    for position, what in steps:
        slot += 1
        mine = [one for one in uses if one.position_id == position]
        if what == "attempt":
            try:
                nonce = nonces.lend(position, uses)
            except TransactionError:
                continue
            if nonce is not None:
                assert owners.setdefault(nonce.key, position) == position
            uses.append(use(position, nonce))
        elif what == "land":
            for one in mine:
                if one.nonce is not None and chain[one.nonce.account] == one.nonce.value:
                    assert one.nonce.key not in landings
                    landings.add(one.nonce.key)
                    chain[one.nonce.account] = f"{one.nonce.account}{slot}"
                    uses[uses.index(one)] = use(position, one.nonce, landed=True)
                    break
        elif what == "confirm":
            for one in mine:
                if one.has_landed and one.nonce is not None:
                    nonces.spend(one.nonce, slot)
                    uses.remove(one)
        else:
            for account, value in chain.items():
                nonces.learn(account, value, slot)


def sale(position: str, attempt: int = 1) -> Order:
    return Order(f"{position}{attempt}", "SELL", "mint", "leader", "sig", position, 1, 1, 1, 1, attempt=attempt)


def broker_of(nonces: Nonces) -> LiveBroker:
    return LiveBroker(Signer(bytes(32)), [], CoinBook(), lambda: "ACTIVE", lambda: (), lambda: 0.0, nonces=nonces)


def test_what_an_earlier_run_saw_landing_is_spent_once_it_is_confirmed() -> None:
    nonces = pool("A")
    broker = broker_of(nonces)
    signed = Signed("s", b"", 0, DurableNonce("A", "A1", 5))
    broker.resume(sale("p"), signed)
    broker.flights["s"].landed_slot = 12
    broker.forget(sale("p"))
    assert nonces.lend("q", broker.sales) is None
    nonces.learn("A", "A2", 12)
    assert nonces.lend("q", broker.sales) == DurableNonce("A", "A2", 12)


def test_bytes_under_a_nonce_are_sent_again_until_its_value_has_moved() -> None:
    nonces = pool("A")
    broker = broker_of(nonces)
    broker.resume(sale("p"), Signed("s", b"", 0, nonces.lend("p", [])))
    broker.head.height = 10**9
    flight = broker.flights["s"]
    assert not broker.is_over(flight)
    nonces.learn("A", "A2", 30)
    assert broker.is_over(flight)


def test_one_that_lands_and_is_void_again_leaves_its_value_to_the_next_look() -> None:
    nonces = pool("A")
    broker = broker_of(nonces)
    broker.resume(sale("p"), Signed("s", b"", 0, nonces.lend("p", [])))
    broker.flights["s"].sightings[40] = Landed(1, 1, 0, 0, 0)
    broker.forget(sale("p"))
    nonces.learn("A", "A1", 39)
    assert nonces.lend("p", broker.sales) is None
    nonces.learn("A", "A1", 41)
    assert nonces.lend("p", broker.sales) is not None


def test_a_finalized_value_from_before_ours_proves_nothing() -> None:
    ours, other = Hash.new_unique(), Hash.new_unique()
    signed = Signed("s", b"", 0, DurableNonce("A", str(ours), 100))

    def answer(slot: int, value: Hash | None) -> Answer:
        state = None if value is None else NonceState(Pubkey.default(), value)
        return Answer(ChainRpc(RpcClient("http://127.0.0.1:1")), 10**9, [None], slot, {"A": state})

    assert not answer(99, other).is_over(signed)
    assert not answer(100, ours).is_over(signed)
    assert answer(100, other).is_over(signed)
    assert answer(100, None).is_over(signed), "closed: it advances nothing any more"


def held(name: str) -> Position:
    """A position whose exit is due and whose attempt left long ago."""
    plan = ExitPlan(None, None, 0, False)
    return Position(name, "leader", "sig", "mint", 1, 1, 10, 10, 10, plan, selling=True, attempts=1, due="kill")


@pytest.mark.parametrize(("nonce", "tried"), [(DurableNonce("A", "A1", 5), ["p"]), (None, [])])
def test_beside_another_position_of_the_coin_only_a_variant_is_sent(
    nonce: DurableNonce | None, tried: list[str]
) -> None:
    broker = broker_of(pool("A", "B"))
    broker.resume(sale("p"), Signed("s", b"", 10**9, nonce))
    broker.resume(sale("q"), Signed("t", b"", 10**9, None))
    sold, open_ones = list[str](), {name: held(name) for name in "pq"}
    desk = SimpleNamespace(
        is_alone=lambda position: len(open_ones) == 1,
        broker=broker,
        holdings=SimpleNamespace(open=open_ones, in_mint=lambda mint: list(open_ones.values())),
        settings=Settings(),
        clock=SimpleNamespace(is_set=True, now_ns=lambda: 10**18),
        switch=SimpleNamespace(control=ACTIVE),
        journal=SimpleNamespace(ledger=SimpleNamespace(decided={})),
        retries=True,
        head_slot=100,
        note=lambda kind, payload: None,
        sell=lambda position, reason, slot: sold.append(position.position_id),
    )
    Engine(desk, Release("r", "2026-10-11", {}, ())).on_tick()  # type: ignore[arg-type]
    assert sold == tried


class Caught:
    """A route that notes when it was asked."""

    name = "caught"

    def __init__(self, told: list[str], *, waits: bool) -> None:
        self.told, self.waits, self.is_scarce = told, waits, False

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def send(self, wire: bytes, signature: str) -> None:
        self.told.append(f"{signature}, {'waits' if self.waits else 'at once'}")


class Broken(Caught):
    """A route with a fault of its own."""

    async def send(self, wire: bytes, signature: str) -> None:
        await super().send(wire, signature)
        raise RuntimeError("a bug")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_fault_of_one_route_keeps_nothing_from_the_others(
    waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    broker, order = broker_of(pool()), sale("p")
    broker.routes = [Broken(told, waits=waits), Caught(told, waits=False)]
    broker.submit(order, Signed("s", b"", 0))
    await asyncio.sleep(0)
    assert {*told} == {f"s, {'waits' if waits else 'at once'}", "s, at once"} and len(told) == 2
    assert "the route caught has failed" in caplog.text


async def test_what_waits_for_nothing_leaves_before_the_loop_turns() -> None:
    told: list[str] = []
    broker = broker_of(pool())
    broker.routes = [Caught(told, waits=True), Caught(told, waits=False)]
    broker.submit(sale("p"), Signed("s", b"", 0))
    assert told == ["s, at once"]
    assert broker.is_sending
    await asyncio.sleep(0)
    assert told == ["s, at once", "s, waits"]
    assert broker.routes_of(sale("p"))["caught"]["n"] == 2
