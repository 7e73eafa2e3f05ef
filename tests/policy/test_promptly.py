"""What is known before signing is what the decision says: never other plans, and plans wherever it accepts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from copytrader_core.policy.decide import decide
from copytrader_core.policy.guards import GUARDS
from copytrader_core.policy.landing import with_landings
from copytrader_core.policy.promptly import IS_WHOLE, Plans, prompt_plans
from copytrader_core.policy.values import Lock, Now
from copytrader_core.records import Inflow, LandingCount
from tests.policy.policy_inputs import BOOK, COPY_POLICY, EDGES, MARKET, NOW, PATTERN, SIGNAL, SOL, VALUE, settings

INFLOW = Inflow("leader", 3, (0, 2, 10), (0.0, 0.5, 1.0), (3.0, 2.0, 0.1), (0.0, 1.0, 2.0))

CONFIG = [
    settings(),
    settings(policy={"require_positive_ev": False}),
    settings(policy={"expected_value": "inflow"}, risk={"blocked_mints": ["other"], "leader_cool_down_ms": 3_000}),
    settings(policy={"min_win_rate": 0.6, "trailing_fraction": 0.2, "stop_x": 0.5}),
    settings(risk={"blocked_leaders": ["leader"]}),
    settings(policy=COPY_POLICY),
    settings(policy=COPY_POLICY, executor={"paper_latency_slots": 3}),
    settings(policy=COPY_POLICY | {"gate": "seed", "require_positive_ev": False, "max_slippage_bps": 100}),
    settings(policy={"gate": "copy_value"}),
    settings(policy={"exit": "value", "expected_value": "inflow"}),
    with_landings(
        settings(policy=COPY_POLICY), [LandingCount("BUY", slots, 30) for slots in (-1, 1, 2, 4)], "2026-10-11"
    ),
    settings(policy={"max_size_sol": 0.3}, risk={"max_tip_share_bps": 1, "max_positions_per_mint": 2}),
]
markets = st.builds(
    lambda venue, quote, base, real, complete: replace(
        MARKET, venue=venue, quote_raw=quote, base_raw=base, real_base_raw=real, complete=complete, lp_fee_bps=20
    ),
    st.sampled_from(["curve", "amm"]),
    st.sampled_from([1, 500_000_000, 32_190_000_000, 10**14]),
    st.sampled_from([10**9, 10**15]),
    st.sampled_from([0, 10**6, 720_100_000_000_000]),
    st.sampled_from([False, False, False, True]),
)
signals = st.builds(
    lambda market, slot, size, quote: replace(SIGNAL, market=market, slot=slot, size_lamports=size, quote_mint=quote),
    st.one_of(st.just(MARKET), markets, st.none()),
    st.sampled_from([100, 100, 76, 75, 74, 200]),
    st.sampled_from([SOL, SOL, 49_999_999, 50_000_000]),
    st.sampled_from([SIGNAL.quote_mint, SIGNAL.quote_mint, SIGNAL.quote_mint, "USDC"]),
)
patterns = st.builds(
    lambda style, entry, win, x, hold: replace(
        PATTERN, typical_exit_style=style, avg_entry_sol=entry, win_rate=win, p50_target_x=x, p50_hold_ms=hold
    ),
    st.sampled_from(["target_x", "time_stop", "mixed"]),
    st.sampled_from([1.0, 0.01, 9.0, float("nan"), 0.0]),
    st.sampled_from([0.52, 0.7, 0.5199]),
    st.sampled_from([1.5, 1.01, 3.0]),
    st.sampled_from([10_000, 10_000, 0]),
)
values = st.builds(
    lambda verdict, tier, factors, capacity, shift: replace(
        VALUE,
        verdict=verdict,
        tier=tier,
        alpha=factors[0],
        beta=factors[1],
        capacity_sol=capacity,
        mean_x=tuple(tuple(x + shift for x in row) for row in VALUE.mean_x),
        lower_x=tuple(tuple(x + shift for x in row) for row in VALUE.lower_x),
    ),
    st.sampled_from(["COPY", "COPY", "COPY", "UNPROVEN"]),
    st.sampled_from(["ACTIVE", "PROBATION", "BENCH"]),
    st.sampled_from([(1.0, 1.0), (0.5, 0.5), (0.0, 0.0)]),
    st.sampled_from([3.0, 0.15, 20.0]),
    st.sampled_from([0.0, 0.0, -0.06, -0.2, 0.5]),
)
few = st.sampled_from([0, 0, 0, 1, 9, 10, 19, 20])
sums = st.sampled_from([0, 0, 0, SOL, 2_749_000_000, 2_750_000_000, 5 * SOL, 9 * SOL, 20 * SOL])
books = st.builds(
    lambda state, balance, held, flying, sums, counts, ages, flags: replace(
        BOOK,
        trading_state=state,
        balance_lamports=balance,
        open_positions=held,
        in_flight_buys=flying,
        exposure_lamports=sums[0],
        in_flight_lamports=sums[1],
        mint_exposure_lamports={"mint": sums[2]},
        leader_exposure_lamports={"leader": sums[3]},
        loss_hour_lamports=sums[4],
        loss_day_lamports=sums[5],
        mint_count={"mint": counts[0]},
        leader_count={"leader": counts[1]},
        last_trade_ns={} if ages[0] is None else {"mint": NOW.ts_ns - ages[0]},
        last_loss_ns={} if ages[1] is None else {"leader": NOW.ts_ns - ages[1]},
        stream_age_ms=ages[2],
        first_trade=flags[0],
        drift="an unknown event" if flags[1] == 3 else None,
        locks=(Lock("mint", "mint" if flags[1] == 1 else "another", "audit"),) if flags[1] in (1, 2) else (),
    ),
    st.sampled_from(["ACTIVE", "ACTIVE", "ACTIVE", "REDUCING", "HALTED"]),
    st.sampled_from([100 * SOL, 3 * SOL, 822_000_000, SOL, 0]),
    few,
    few,
    st.tuples(*[sums] * 6),
    st.tuples(few, few),
    st.tuples(
        st.sampled_from([None, None, 0, 4_999_999_999, 5_000_000_000, -1]),
        st.sampled_from([None, None, 0, 2_999_999_999, 3_000_000_000]),
        st.sampled_from([0, 0, 3_000, 3_001]),
    ),
    st.tuples(st.booleans(), st.sampled_from([0, 0, 0, 0, 1, 2, 3])),
)


@hypothesis_settings(max_examples=2_500, deadline=None)
@given(
    signals,
    st.one_of(st.just(PATTERN), patterns),
    st.one_of(st.just(BOOK), books),
    st.sampled_from(CONFIG),
    st.one_of(st.just(VALUE), values, st.none()),
)
def test_plans_are_those_of_the_decision_or_there_are_none(signal, pattern, book, config, value):
    decision = decide(signal, pattern, EDGES, book, config, NOW, INFLOW, value=value)
    plans = prompt_plans(signal, pattern, book, config, NOW, INFLOW, value)
    accepted = Plans(decision.entry, decision.exit) if decision.accepted else None
    # A lock of something else leaves the answer to the decision; nothing else that is accepted does.
    assert plans == (None if book.locks else accepted)


def test_every_guard_of_today_is_asked():
    assert IS_WHOLE, "a guard is missing in policy/promptly.py: " + ", ".join(guard.__name__ for guard in GUARDS)


def test_each_limit_alone_stops_the_plans():
    assert prompt_plans(SIGNAL, PATTERN, BOOK, CONFIG[0], NOW) is not None
    for change in (
        {"trading_state": "REDUCING"},
        {"drift": "changed"},
        {"stream_age_ms": 3_001},
        {"open_positions": 20},
        {"mint_count": {"mint": 1}},
        {"leader_count": {"leader": 10}},
        {"last_trade_ns": {"mint": NOW.ts_ns}},
        {"exposure_lamports": 20 * SOL},
        {"mint_exposure_lamports": {"mint": 3 * SOL}},
        {"leader_exposure_lamports": {"leader": 10 * SOL}},
        {"loss_hour_lamports": 5 * SOL},
        {"loss_day_lamports": 10 * SOL},
        {"balance_lamports": SOL // 2},
    ):
        assert prompt_plans(SIGNAL, PATTERN, replace(BOOK, **change), CONFIG[0], NOW) is None, change
    assert prompt_plans(SIGNAL, PATTERN, BOOK, CONFIG[0], Now(126, NOW.ts_ns)) is None


def test_other_settings_are_another_answer_at_once():
    small = settings(policy={"max_size_sol": 0.5})
    first, second = (prompt_plans(SIGNAL, PATTERN, BOOK, config, NOW) for config in (CONFIG[0], small))
    assert first is not None and second is not None
    assert (first.entry.spend_lamports, second.entry.spend_lamports) == (750_000_000, 500_000_000)


def test_a_copy_is_sized_and_left_by_its_value_before_signing_too():
    config = settings(policy=COPY_POLICY)
    plans = prompt_plans(SIGNAL, PATTERN, BOOK, config, NOW, INFLOW, VALUE)

    assert plans is not None
    assert plans.exit.timer_ms == 40_000
    assert prompt_plans(SIGNAL, PATTERN, BOOK, config, NOW, INFLOW, replace(VALUE, tier="BENCH")) is None
    assert prompt_plans(SIGNAL, PATTERN, BOOK, config, NOW, INFLOW, None) is None
