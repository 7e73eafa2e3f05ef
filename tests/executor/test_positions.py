"""The book that the limits count: positions and buys under way, by coin and by leader; trades and losses remembered."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from copytrader_core.policy.record import inputs_document
from copytrader_core.policy.values import ExitPlan, LeaderBuy, Lock, Now
from copytrader_core.records import WSOL
from executor.orders import Order, Position
from executor.positions import Holdings, deadline_ns

NOW_NS = 1_791_800_000_000_000_000
DAY_NS = 86_400_000_000_000
PLAN = ExitPlan(None, None, 20_000, on_leader_sell=False)
parts = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(1, 10**10)), max_size=8)


def position(number: int, mint: str, leader: str, cost: int, opened_ns: int = NOW_NS - 5) -> Position:
    return Position(f"p{number}", leader, "sig", mint, 1, opened_ns, 1, cost, cost, PLAN)


def buy(number: int, mint: str, leader: str, spend: int) -> Order:
    return Order(f"o{number}", "BUY", mint, leader, "sig", f"o{number}", spend, 1, 1, 2)


def holdings(*positions: Position) -> Holdings:
    held = Holdings(10**11)
    for one in positions:
        held.hold(one)
    return held


def signal(mint: str, leader: str) -> LeaderBuy:
    return LeaderBuy(leader, mint, "sig", 1, 0, 1, WSOL, None)


@given(parts, parts)
def test_buys_under_way_count_like_positions_by_coin_and_by_leader(
    held: list[tuple[str, str, int]], sent: list[tuple[str, str, int]]
) -> None:
    owned = holdings(*(position(n, *part) for n, part in enumerate(held)))
    orders = [buy(n, *part) for n, part in enumerate(sent)]
    book = owned.book("ACTIVE", orders, NOW_NS)
    assert (book.open_positions, book.in_flight_buys) == (len(held), len(sent))
    for at, counts, exposures in (
        (0, book.mint_count, book.mint_exposure_lamports),
        (1, book.leader_count, book.leader_exposure_lamports),
    ):
        for key in "abcxyz":
            staked = [part[2] for part in held + sent if part[at] == key]
            assert (counts.get(key, 0), exposures.get(key, 0)) == (len(staked), sum(staked))
    for mint, leader in (("a", "x"), ("b", "z")):
        narrow = owned.book("ACTIVE", orders, NOW_NS, signal=signal(mint, leader))
        seen, whole = (inputs_document(signal(mint, leader), None, (), one, Now(1, 1)) for one in (narrow, book))
        assert seen == whole


def test_a_sell_under_way_is_no_new_exposure() -> None:
    owned = holdings(position(1, "a", "x", 7))
    sell = Order("s", "SELL", "a", "x", "sig", "p1", 1, 1, 1, 2)
    assert owned.book("ACTIVE", [sell], NOW_NS) == owned.book("ACTIVE", [], NOW_NS)


def test_a_second_sale_and_one_of_what_is_sold_are_stray_and_count_for_nothing_else() -> None:
    """Either may land after the other and would sell what was bought meanwhile."""
    owned = holdings(position(1, "a", "x", 7))
    first, second = (Order(name, "SELL", "a", "x", "sig", "p1", 1, 1, 1, 2) for name in "st")
    stray = Order("u", "SELL", "b", "y", "sig", "p2", 1, 1, 1, 2)
    book = owned.book("ACTIVE", [first, second, stray], NOW_NS)
    assert book.stray_sales == {"a": 1, "b": 1}
    assert replace(book, stray_sales={}) == owned.book("ACTIVE", [], NOW_NS)


def test_a_coin_was_traded_last_at_its_buy_its_exit_or_now_while_a_buy_is_under_way() -> None:
    owned = holdings(position(1, "held", "x", 7, opened_ns=NOW_NS - 100))
    owned.realised(NOW_NS - 300, 5, mint="sold", leader="x")
    owned.realised(NOW_NS - 200, 5, mint="sold", leader="x")
    owned.realised(NOW_NS - 400, 5, mint="held", leader="x")
    book = owned.book("ACTIVE", [buy(1, "bought", "x", 1), buy(2, "sold", "x", 1)], NOW_NS)
    assert book.last_trade_ns == {"held": NOW_NS - 100, "sold": NOW_NS, "bought": NOW_NS}
    assert owned.book("ACTIVE", [], NOW_NS).last_trade_ns["sold"] == NOW_NS - 200


def test_only_losing_exits_are_losses_of_their_leader() -> None:
    owned = holdings()
    owned.realised(NOW_NS - 3, -1, mint="a", leader="loses")
    owned.realised(NOW_NS - 2, 1, mint="a", leader="loses")
    owned.realised(NOW_NS - 1, 0, mint="a", leader="breaks even")
    owned.realised(NOW_NS, -105_000)
    assert owned.book("ACTIVE", [], NOW_NS).last_loss_ns == {"loses": NOW_NS - 3}


def test_trades_and_losses_of_the_day_before_are_forgotten() -> None:
    owned = holdings()
    owned.realised(NOW_NS - DAY_NS, -1, mint="old", leader="old")
    owned.realised(NOW_NS, -1, mint="new", leader="new")
    book = owned.book("ACTIVE", [], NOW_NS)
    assert (book.last_trade_ns, book.last_loss_ns) == ({"new": NOW_NS}, {"new": NOW_NS})


def test_what_only_others_know_is_handed_through() -> None:
    lock = Lock("all", "", "audit")
    book = holdings().book("ACTIVE", [], NOW_NS, stream_age_ms=7, drift="new event", locks=(lock,), first_trade=True)
    assert (book.stream_age_ms, book.drift, book.locks, book.first_trade) == (7, "new event", (lock,), True)


@given(parts, st.lists(st.integers(0, 7), max_size=8), st.sampled_from([NOW_NS, NOW_NS + 19_999_999_996]))
def test_what_presses_is_what_a_look_at_every_position_finds(
    held: list[tuple[str, str, int]], ended: list[int], now_ns: int
) -> None:
    owned = holdings(*(position(n, *part, opened_ns=NOW_NS - n) for n, part in enumerate(held)))
    for number in ended:
        if f"p{number}" in owned.open:
            owned.drop(f"p{number}")
    left = list(owned.open.values())
    assert owned.pressing({"a"}, now_ns) == [p for p in left if p.mint == "a" or now_ns >= deadline_ns(p)]
    assert owned.mints == {p.mint for p in left}
    assert owned.book("ACTIVE", [], NOW_NS).exposure_lamports == sum(p.cost_lamports for p in left)
