"""What is signed before the decision is what the decision says, wherever it accepts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from copytrader_core.policy.decide import decide
from copytrader_core.policy.landing import with_landings
from copytrader_core.policy.promptly import prompt_entry
from copytrader_core.policy.values import Lock
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
def test_wherever_the_decision_accepts_its_entry_is_known_before(signal, pattern, book, config, value):
    decision = decide(signal, pattern, EDGES, book, config, NOW, INFLOW, value=value)
    entry = prompt_entry(signal, pattern, config, INFLOW, value)
    if decision.accepted:
        assert entry == decision.entry


def test_nothing_is_laid_out_for_a_leader_whom_nobody_follows():
    assert prompt_entry(SIGNAL, PATTERN, CONFIG[0]) is not None
    for change in ({"win_rate": 0.1}, {"sample_trades": 1}, {"avg_entry_sol": float("nan")}):
        assert prompt_entry(SIGNAL, replace(PATTERN, **change), CONFIG[0]) is None, change
    config = settings(policy=COPY_POLICY)
    assert prompt_entry(SIGNAL, PATTERN, config, INFLOW, VALUE) is not None
    for value in (replace(VALUE, tier="BENCH"), replace(VALUE, verdict="UNPROVEN"), None):
        assert prompt_entry(SIGNAL, PATTERN, config, INFLOW, value) is None


def test_nothing_is_laid_out_where_nothing_can_be_bought():
    for change in (
        {"market": None},
        {"market": replace(MARKET, complete=True)},
        {"market": replace(MARKET, real_base_raw=0)},
        {"quote_mint": "USDC"},
    ):
        assert prompt_entry(replace(SIGNAL, **change), PATTERN, CONFIG[0]) is None, change


def test_other_settings_are_another_answer_at_once():
    small = settings(policy={"max_size_sol": 0.5})
    first, second = (prompt_entry(SIGNAL, PATTERN, config) for config in (CONFIG[0], small))
    assert first is not None and second is not None
    assert (first.spend_lamports, second.spend_lamports) == (750_000_000, 500_000_000)
