"""What tells an old or partial source from a damaged one."""

from dataclasses import replace

import pytest

from copytrader_core.errors import DecodeError
from copytrader_core.pump.decode import decode
from copytrader_core.solana.transaction import check_complete
from tests.pump.recorded import one

TODAY = 1_793_000_000


@pytest.mark.parametrize("prefix", ["661yA5s6", "3sWBncNG"])
def test_the_first_creations_have_no_time_and_are_the_same_wherever_they_are_found(shared, prefix):
    moved = decode(replace(one(shared, prefix), slot=460_000_010, block_time=TODAY))
    assert [event.action for event in moved.events] == ["CREATE", "BUY"]
    assert not moved.problems


def test_logs_that_stop_before_our_programs_line_are_not_taken_for_silence(shared):
    tx = one(shared, "26EFfj")
    cut = decode(replace(tx, inner={}, inner_recorded=False, logs=tx.logs[:13]))
    assert not cut.events and "lines are missing" in cut.problems[0].reason


def test_depths_are_told_for_every_call_or_for_none(shared):
    tx = one(shared, "QUYUtVPV")
    index, group = next(iter(tx.inner.items()))
    patchy = {**tx.inner, index: (group[0]._replace(stack_height=None), *group[1:])}
    with pytest.raises(DecodeError, match="depth"):
        check_complete(replace(tx, inner=patchy))


def test_a_token_balance_without_an_owner_is_refused(shared):
    tx = one(shared, "2zNeSn8c")
    with pytest.raises(DecodeError, match="owner"):
        check_complete(replace(tx, post_tokens=(tx.post_tokens[0]._replace(owner=""), *tx.post_tokens[1:])))
