"""Orders of a live journal become counts by side and slots late."""

from __future__ import annotations

from copytrader_core.records import LandingCount
from copytrader_core.store.own_landings import OrderLine, counted

ABOUT = "leader-sig mint"


def buy(name: str, *ends: tuple[str, int], slot: int = 100, is_sent: bool = True) -> list[OrderLine]:
    lines = [OrderLine("DECISION", name, name, slot + 1, slot)]
    lines += [OrderLine("SEND", name, name, slot + 1)] if is_sent else []
    return lines + [OrderLine(kind, name, name, at) for kind, at in ends]


def attempt(number: int, slot: int) -> list[OrderLine]:
    name = f"sale {number}"
    return [OrderLine("EXIT", name, ABOUT, slot), OrderLine("SEND", name, ABOUT, slot)]


def end(number: int, kind: str, slot: int) -> OrderLine:
    return OrderLine(kind, f"sale {number}", ABOUT, slot)


def test_a_buy_is_late_from_the_leaders_slot_on() -> None:
    lines = buy("a", ("FILL", 103)) + buy("b", ("FILL", 103)) + buy("c", ("EXPIRED", 260)) + buy("d", ("REVERTED", 101))
    assert counted(lines) == [LandingCount("BUY", -1, 1), LandingCount("BUY", 1, 1), LandingCount("BUY", 3, 2)]


def test_what_never_left_or_is_still_under_way_is_not_counted() -> None:
    assert counted(buy("a", ("EXPIRED", 101), is_sent=False) + buy("b")) == []


def test_an_order_that_lands_again_after_a_fork_counts_once_by_its_last_landing() -> None:
    assert counted(buy("a", ("FILL", 102), ("ROLLED_BACK", 102), ("FILL", 105))) == [LandingCount("BUY", 5, 1)]
    assert counted(buy("a", ("FILL", 102), ("ROLLED_BACK", 102))) == []


def test_a_sale_is_late_from_the_first_attempt_that_did_not_land() -> None:
    lines = [*attempt(1, 200), *attempt(2, 208), end(1, "EXPIRED", 360), end(2, "FILL", 211)]
    assert counted(lines) == [LandingCount("SELL", 11, 1)]


def test_an_attempt_after_one_that_landed_with_an_error_is_late_by_itself() -> None:
    lines = [*attempt(1, 200), end(1, "REVERTED", 202), *attempt(2, 203), end(2, "FILL", 204)]
    assert counted(lines) == [LandingCount("SELL", 1, 1), LandingCount("SELL", 2, 1)]


def test_a_sale_that_a_fork_took_back_is_waited_for_from_its_beginning() -> None:
    lines = [*attempt(1, 200), end(1, "FILL", 202), end(1, "ROLLED_BACK", 202), *attempt(2, 206), end(2, "FILL", 209)]
    assert counted(lines) == [LandingCount("SELL", 9, 1)]
