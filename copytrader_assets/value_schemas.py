"""The columns and rules of the copies (what following each leader's buys would have brought) and of what is read from
them: values, exits, calibration.

Not here: how copies are replayed, the statistics (analysis/copy_value, analysis/leader_exits), the other tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from copytrader_assets.tables import Column, Rule, Table, count, floating, ordered, share
from copytrader_core.policy.coin_state import STATE_NAMES

if TYPE_CHECKING:
    import pandas as pd

_OUTCOMES: Final = ("LANDED", "REVERTED", "NO_MARKET")
_SIGNAL = (
    Column("leader", pa.string(), "the tracked wallet that bought", nullable=False),
    Column("mint", pa.string(), "the coin", nullable=False),
    Column("sig", pa.string(), "the leader's transaction", nullable=False),
    Column("slot", pa.int64(), "its slot", nullable=False, ge=0),
)
_RESULT = (
    Column("spend_lamports", pa.int64(), "all that was paid in: swap, network, tip, failed attempts", nullable=False),
    Column("pnl_lamports", pa.int64(), "profit with every cost in; REVERTED: the lost fee", nullable=False),
    Column("hold_ms", pa.int64(), "from our buy to our sale, or to the end of the day", ge=0),
    Column("exit_reason", pa.string(), "what sold it"),
    Column("censored", pa.bool_(), "held at the end of the day, marked at the sell quote", nullable=False),
)

COPIES = Table(
    "copies",
    "Copies of the day's leader buys, replayed on re-executed reserves: one row for each latency and size, under the "
    "exit rule that had been chosen for the leader by the day before.",
    (
        *_SIGNAL,
        Column("tx_index", pa.int32(), "its place in the block", ge=0),
        Column("ts_ns", pa.int64(), "its block time, ns UTC", nullable=False, ge=0),
        Column("venue", pa.string(), "where the coin traded at the signal", isin=("curve", "amm")),
        Column("real_quote_lamports", pa.int64(), "the coin's real SOL at the signal; a pool's vault", ge=0),
        Column("leader_size_lamports", pa.int64(), "what the leader paid", nullable=False, ge=0),
        Column("latency_slots", pa.int16(), "slots after the leader at which we land", nullable=False, ge=0),
        Column("size_lamports", pa.int64(), "what we spend on the swap", nullable=False, ge=1),
        Column("rule", pa.string(), "the exit rule", nullable=False),
        Column("outcome", pa.string(), "what became of the buy", nullable=False, isin=_OUTCOMES),
        *_RESULT,
        Column("entry_premium_bps", pa.float64(), "our average price over the leader's", finite=False),
    ),
    ("leader", "mint", "sig", "latency_slots", "size_lamports"),
    (
        Rule("what landed was held", lambda f: (f["outcome"] == "LANDED") == f["hold_ms"].notna()),
        Rule("what did not land earns nothing", lambda f: (f["outcome"] == "LANDED") | (f["pnl_lamports"] <= 0)),
    ),
)
COPY_EXITS = Table(
    "copy_exits",
    "The same buys at the reference latency and size under every exit rule of the family, and under the seed's exit.",
    (*_SIGNAL, Column("rule", pa.string(), "the exit rule, or seed", nullable=False), *_RESULT),
    ("leader", "mint", "sig", "rule"),
)
_LEADER = Column("leader", pa.string(), "the tracked wallet", nullable=False)
_AS_OF = Column("as_of", pa.date32(), "the day whose end this is", nullable=False)


def _return(name: str, about: str, *, nullable: bool = False) -> Column:
    """A return: profit as a share of the size."""
    return Column(name, pa.float64(), about, nullable=nullable)


def _needed(name: str, about: str, ge: float, le: float) -> Column:
    return Column(name, pa.float64(), about, nullable=False, ge=ge, le=le)


def _one_a_state(name: str) -> Rule:
    def holds(frame: pd.DataFrame) -> pd.Series:
        import numpy as np

        there = frame[name].notna()
        sizes = [len(one) if known else len(STATE_NAMES) for one, known in zip(frame[name], there, strict=True)]
        right: pd.Series = (there | True) & (np.array(sizes, dtype=np.int64) == len(STATE_NAMES))
        return right

    return Rule(f"{name} has one number for each of the {len(STATE_NAMES)} states", holds)


COPY_VALUE = Table(
    "copy_value",
    "What copying each leader is worth by latency and size, drawn together over all leaders; capacity, verdict, tier.",
    (
        _LEADER,
        Column("latency_slots", pa.int16(), "slots after the leader at which the copy lands", nullable=False, ge=0),
        Column("size_lamports", pa.int64(), "what the copy spends", nullable=False, ge=1),
        count("n_signals", "the leader's buys that were replayed", nullable=False),
        count("n_landed", "copies of them that landed", nullable=False),
        count("n_days", "days of these", nullable=False),
        count("n_coin_days", "coins of these, each day for itself", nullable=False),
        share("landed_share", "raw share that landed"),
        share("landing", "posterior share that lands", nullable=False),
        _return("raw_mean_x", "mean return of the landed copies as it is", nullable=True),
        _return("median_x", "their median return", nullable=True),
        _return("mean_x", "posterior mean return of a landed copy"),
        _return("lo_x", "posterior 5 %"),
        _return("hi_x", "posterior 95 %"),
        share("p_positive", "posterior probability that the mean return is above zero", nullable=False),
        _return("value_x", "return of a signal, landed or not: landing x mean_x less what reverts cost"),
        _return("value_lo_x", "the same at lo_x"),
        _return("value_hi_x", "the same at hi_x"),
        Column(
            "verdict",
            pa.string(),
            "what follows, at the reference latency",
            nullable=False,
            isin=("COPY", "UNPROVEN", "UNCOPYABLE"),
        ),
        Column("reason", pa.string(), "why", nullable=False),
        share("q_value", "false discovery rate of the leader's own record among all leaders", nullable=False),
        floating("capacity_sol", "size at which the value is zero; the largest of the grid: at least that", ge=0),
        floating("capacity_lo_sol", "the same of value_lo_x", ge=0),
        floating("capacity_hi_sol", "the same of value_hi_x", ge=0),
        floating(
            "break_even_slots", "latency at which the value of the reference size is zero, or at least that", ge=0
        ),
        Column("rule", pa.string(), "the exit rule that is chosen for it", nullable=False),
        Column("tier", pa.string(), "how it is traded", nullable=False, isin=("BENCH", "PROBATION", "ACTIVE")),
        _needed("alpha", "our size as a share of the best one", 0, 1),
        _needed("beta", "share of the value that the price may give away", 0, 1),
        Column(
            "state_x", pa.list_(pa.float64()), "added to returns, by state: " + ", ".join(STATE_NAMES), nullable=False
        ),
        Column("state_half_x", pa.list_(pa.float64()), "half of its 90 % interval, by state", nullable=False),
        _AS_OF,
    ),
    ("leader", "latency_slots", "size_lamports"),
    (
        ordered("lo_x", "mean_x", "hi_x"),
        ordered("value_lo_x", "value_x", "value_hi_x"),
        ordered("capacity_lo_sol", "capacity_sol", "capacity_hi_sol"),
        ordered("n_landed", "n_signals"),
        _one_a_state("state_x"),
        _one_a_state("state_half_x"),
        Rule(
            "whose copies are not proven is on the bench", lambda f: (f["verdict"] == "COPY") | (f["tier"] == "BENCH")
        ),
    ),
)
LEADER_EXITS = Table(
    "leader_exits",
    "What copies of each leader return under each exit rule, the seed's among them, and the rule that is chosen.",
    (
        _LEADER,
        Column("rule", pa.string(), "the exit rule, or seed", nullable=False),
        count("n_copies", "copies that landed", nullable=False),
        count("n_coin_days", "coins of these, each day for itself", nullable=False),
        _return("raw_mean_x", "mean return as it is", nullable=True),
        _return("mean_x", "posterior mean return"),
        _return("lo_x", "posterior 5 %"),
        _return("hi_x", "posterior 95 %"),
        Column("behind_x", pa.float64(), "how far its mean_x lies below the best rule's", nullable=False, ge=0),
        Column("behind_se_x", pa.float64(), "standard error of that, copy by copy", nullable=False, ge=0),
        _return("over_seed_x", "how far its mean return lies above the seed's, copy by copy", nullable=True),
        _return("over_seed_lo_x", "its 90 % interval, 5 %", nullable=True),
        _return("over_seed_hi_x", "its 90 % interval, 95 %", nullable=True),
        Column("conditions", pa.int16(), "conditions that can sell", nullable=False, ge=0),
        Column("is_chosen", pa.bool_(), "the simplest rule that is as good as the best one", nullable=False),
        _AS_OF,
    ),
    ("leader", "rule"),
    (
        ordered("lo_x", "mean_x", "hi_x"),
        ordered("over_seed_lo_x", "over_seed_x", "over_seed_hi_x"),
        Rule("the seed's exit stands beside the rules", lambda f: ~(f["is_chosen"] & (f["rule"] == "seed"))),
    ),
)
EXIT_CURVES = Table(
    "exit_curves",
    "Survival of each leader's positions by age and by multiple, open ones censored (Kaplan-Meier).",
    (
        _LEADER,
        Column("curve", pa.string(), "of what", nullable=False, isin=("hold_ms", "multiple")),
        Column("at", pa.float64(), "age in ms, or multiple of the cost", nullable=False, ge=0),
        share("survival", "share that is held longer, or was sold at more", nullable=False),
        count("n_trips", "positions", nullable=False),
        count("n_censored", "of them still held", nullable=False),
        _AS_OF,
    ),
    ("leader", "curve", "at"),
)
CALIBRATION = Table(
    "calibration",
    "Our own copies of each leader, expected against realised, and how it is traded from now on.",
    (
        _LEADER,
        Column("mode", pa.string(), "which copies: live, paper where there are no live ones", isin=("paper", "live")),
        count("n_decided", "copies that were decided on and came to an end, since `since`", nullable=False),
        count("n_landed", "of them landed", nullable=False),
        share("expected_landing", "mean share that was expected to land"),
        share("landing_p_value", "chance of so few landing", nullable=False),
        floating("expected_slots", "mean slots after the leader that were expected"),
        floating("slots_late", "mean slots after the leader at which they landed"),
        floating("entry_premium_bps", "mean of what was paid above the quote"),
        floating("entry_premium_se_bps", "its standard error", ge=0),
        floating("exit_premium_bps", "mean of what was got above the quote"),
        count("n_finished", "landed copies that are sold", nullable=False),
        _return("expected_x", "mean return that was expected of these", nullable=True),
        _return("realised_x", "mean return of these", nullable=True),
        _return("score", "sum of their scores: 0 if they are what was replayed"),
        Column("kill_line", pa.float64(), "the score below which the leader is given up", nullable=False, le=0),
        Column("cusum", pa.float64(), "drift statistic; an alarm above 9", nullable=False, ge=0),
        Column("drifted", pa.bool_(), "the alarm has been raised", nullable=False),
        Column("killed", pa.bool_(), "the kill line has been crossed", nullable=False),
        Column("tier", pa.string(), "how it is traded", nullable=False, isin=("BENCH", "PROBATION", "ACTIVE")),
        _needed("scale", "share of its tier's size", 0, 1),
        _needed("alpha", "our size as a share of the best one: tier x scale", 0, 1),
        _needed("beta", "share of the value that the price may give away", 0, 1),
        Column("since", pa.date32(), "from when on its record counts"),
        Column("benched", pa.date32(), "when its record last benched it"),
        _AS_OF,
    ),
    ("leader",),
    (
        ordered("n_landed", "n_decided"),
        ordered("n_finished", "n_landed"),
        ordered("alpha", "scale"),
        Rule("the bench buys nothing", lambda f: (f["tier"] != "BENCH") | (f["alpha"] == 0)),
    ),
)
CALIBRATION_BINS = Table(
    "calibration_bins",
    "Reliability of all our copies: realised against expected by tenth, and where returns lie among the replayed ones.",
    (
        Column(
            "kind",
            pa.string(),
            "return: of a landed copy; landing: share that lands; place: among the leader's replayed returns",
            nullable=False,
            isin=("return", "landing", "place"),
        ),
        Column("bin", pa.int32(), "tenth, by what was expected", nullable=False, ge=1, le=10),
        count("n_copies", "our copies in it", nullable=False),
        floating("expected", "mean of what was expected; place: a tenth"),
        floating("realised", "mean of what came; place: share of our copies"),
        floating("realised_lo", "its 90 % interval, 5 %"),
        floating("realised_hi", "its 90 % interval, 95 %"),
        _AS_OF,
    ),
    ("kind", "bin"),
    (ordered("realised_lo", "realised", "realised_hi"),),
)
VALUE_TABLES: Final = (COPIES, COPY_EXITS, COPY_VALUE, LEADER_EXITS, EXIT_CURVES, CALIBRATION, CALIBRATION_BINS)
