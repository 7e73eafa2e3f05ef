"""Exit rules: their names, the family, and the plan that a rule becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_inputs import PATTERN, VALUE, settings

from copytrader_core.errors import ConfigError
from copytrader_core.policy.exits import due_exit, seed_exit
from copytrader_core.policy.rules import DEFAULT, FAMILY, ExitRule, chosen_exit, parse, plan

rules = st.builds(
    ExitRule,
    st.none() | st.integers(1, 10**7),
    st.none() | st.floats(0.01, 1e6),
    st.none() | st.floats(1e-6, 0.999999),
    st.booleans(),
)


@given(rules)
def test_a_rule_is_its_text(rule):
    assert parse(str(rule)) == rule


def test_texts_are_short():
    assert str(ExitRule(20_000, 1.5, 0.25, True)) == "timer=20s target=1.5 trail=0.25 mirror"
    assert str(ExitRule(250)) == "timer=250ms"
    assert str(ExitRule(target_x=2.0)) == "target=2"
    assert parse("hold") == ExitRule()


@pytest.mark.parametrize(
    "text",
    ["", "timer", "timer=20", "timer=x", "target=", "mirror=1", "trail=1.5", "timer=-1s", "stop=0.5", "mirror mirror"],
)
def test_other_texts_are_refused(text):
    with pytest.raises(ConfigError):
        parse(text)


def test_the_family_is_small_has_no_doubles_and_always_ends():
    assert len(FAMILY) == len(set(FAMILY)) == 59
    assert DEFAULT in FAMILY
    assert all(rule.timer_ms is not None for rule in FAMILY)


def test_a_rule_becomes_the_exit_that_was_replayed():
    chosen = settings(copies={"horizon_seconds": 900}, policy={"stop_x": 0.5})
    exit_plan = plan(parse("timer=20s target=1.5 trail=0.25 mirror"), PATTERN, chosen)

    assert due_exit(exit_plan, 19_999, 1.0, False, 1.1) is None
    assert due_exit(exit_plan, 20_000, 1.0, False, 1.1) == "timer"
    assert due_exit(exit_plan, 1, 1.5, False) == "target"
    assert due_exit(exit_plan, 1, 0.8, False, 1.1) == "trailing"
    assert due_exit(exit_plan, 1, 1.0, True) == "leader_sold"
    assert due_exit(exit_plan, 1, 0.5, False) == "adverse"
    assert due_exit(exit_plan, 900_000, None, False) == "kill"
    assert exit_plan.reasons["timer"] == "rule 'timer=20s target=1.5 trail=0.25 mirror' of Leo"


def test_the_settings_say_whose_exit_it_is():
    by_value = settings(policy={"exit": "value"})

    assert chosen_exit(PATTERN, VALUE, settings()) == seed_exit(PATTERN, settings().policy)
    assert chosen_exit(PATTERN, VALUE, by_value) == plan(parse(VALUE.rule), PATTERN, by_value)
    assert chosen_exit(PATTERN, None, by_value) == plan(DEFAULT, PATTERN, by_value)


def test_what_is_remembered_of_one_leader_and_release_is_nothing_to_the_next():
    by_value = settings(policy={"exit": "value"})
    first = chosen_exit(PATTERN, VALUE, by_value)
    other = replace(VALUE, rule="timer=7s")
    assert chosen_exit(PATTERN, other, by_value).timer_ms == 7_000
    assert chosen_exit(replace(PATTERN, alias="Mia"), VALUE, by_value).reasons != first.reasons
    assert chosen_exit(PATTERN, VALUE, settings(policy={"exit": "value", "stop_x": 0.4})).stop_x == 0.4
    assert chosen_exit(PATTERN, VALUE, by_value) == first
