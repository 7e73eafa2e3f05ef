"""Quick records are what frozen dataclasses are to those who only read them."""

from __future__ import annotations

from dataclasses import field, fields, replace

from copytrader_core.quick import quick_record


@quick_record
class Pair:
    """Two fields, one of them made anew for each."""

    left: int
    right: dict[str, int] = field(default_factory=dict)


@quick_record
class Key:
    """Nothing but what can be hashed."""

    name: str
    number: int = 3


def test_equal_fields_make_equal_records_with_equal_hashes():
    assert Key("a") == Key("a", 3)
    assert hash(Key("a")) == hash(Key("a", 3))
    assert len({Key("a"), Key("a", 3), Key("b")}) == 2


def test_each_record_has_its_own_default():
    Pair(1).right["x"] = 1
    assert Pair(1).right == {}


def test_a_changed_copy_leaves_the_first_as_it_was():
    first = Key("a")
    assert (replace(first, number=4), first) == (Key("a", 4), Key("a", 3))


def test_there_is_no_room_for_other_fields():
    assert not hasattr(Key("a"), "__dict__")
    assert [one.name for one in fields(Key)] == ["name", "number"]
