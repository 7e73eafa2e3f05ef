"""The published tables: their Arrow schema, pandera model, column metadata for Dagster and checked rules in one object.

What a column means stands here once. Not here: how rows are computed, the DDL (sql/migrations), the columns of the
fingerprints (pattern_schemas.py), and how rules are checked (tables.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from copytrader_assets.pattern_schemas import WALLET_PATTERNS, WALLET_WINDOWS
from copytrader_assets.proof_schemas import LANDINGS, PARITY, SHADOW_BOOK
from copytrader_assets.tables import AMOUNT, Column, Rule, Table, ordered
from copytrader_assets.tables import count as _count
from copytrader_assets.tables import floating as _float
from copytrader_assets.tables import milliseconds as _ms
from copytrader_assets.tables import share as _share
from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_assets.value_schemas import VALUE_TABLES
from copytrader_core.records import WSOL

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AMOUNT",
    "EDGE_VALIDATION",
    "ENTITIES",
    "EVENTS",
    "FIRST_BUYS",
    "FOLLOW_EDGES",
    "INFLOW_CALIBRATION",
    "LEADER_INFLOW",
    "LEADER_LINKS",
    "LEADER_SCORES",
    "OPEN_POSITIONS",
    "TABLES",
    "TAPE",
    "TAPE_SLOTS",
    "TRADES",
    "WALLET_LINKS",
    "WALLET_PATTERNS",
    "WALLET_WINDOWS",
    "Column",
    "Rule",
    "Table",
]

_DATE: Final = pa.date32()
_ACTIONS: Final = ("CREATE", "BUY", "SELL", "SWAP", "ADD", "REMOVE")


def _is_swap(frame: pd.DataFrame) -> pd.Series:
    return frame["action"].isin(["BUY", "SELL"])


EVENTS = Table(
    "events",
    "Every decoded event of the day in chain order: slot, tx_index, outer_ix, inner_ix, event_seq.",
    (
        Column("ts_ns", pa.int64(), "block time, ns UTC", nullable=False, ge=0),
        Column("recv_ts_ns", pa.int64(), "local receive time, ns UTC", repeats=False),
        Column("slot", pa.int64(), "slot", nullable=False, ge=0),
        Column("tx_index", pa.int32(), "place in the block; NULL where no source knows it", ge=0, repeats=False),
        Column("sig", pa.string(), "transaction signature", nullable=False, repeats=False),
        Column("outer_ix", pa.int32(), "top-level instruction", nullable=False, ge=0),
        Column("inner_ix", pa.int32(), "inner instruction, -1 = top level", nullable=False, ge=-1),
        Column("event_seq", pa.int32(), "event of that instruction", nullable=False, ge=0),
        Column("wallet", pa.string(), "the trader", nullable=False),
        Column("alias", pa.string(), "the trader's name when the event was written"),
        Column("fee_payer", pa.string(), "who paid the transaction"),
        Column("program", pa.string(), "program address", nullable=False),
        Column("action", pa.string(), "what it does, seen from the coin", nullable=False, isin=_ACTIONS),
        Column("mint", pa.string(), "the coin"),
        Column("base_mint", pa.string(), "the coin"),
        Column("quote_mint", pa.string(), "what the coin is paid in; WSOL for SOL"),
        Column("base_raw", pa.uint64(), "coins moved, raw", repeats=False),
        Column(
            "quote_raw", pa.uint64(), "quote that left or reached the wallet, swap fees included, raw", repeats=False
        ),
        Column("swap_fee_raw", pa.uint64(), "protocol, creator, LP and cashback share, raw quote", repeats=False),
        Column("tx_fee_lamports", pa.int64(), "the transaction's network fee", ge=0, repeats=False),
        Column("tip_lamports", pa.int64(), "the transaction's tip", ge=0),
        Column("reserve_base_raw", pa.uint64(), "effective base reserve after the event", repeats=False),
        Column("reserve_quote_raw", pa.uint64(), "effective quote reserve after the event", repeats=False),
        Column("amount_in", pa.float64(), "what the wallet gave, for reading", finite=False, repeats=False),
        Column("amount_out", pa.float64(), "what the wallet got, for reading", finite=False, repeats=False),
        Column("price_est", pa.float64(), "quote per coin before fees, for reading", finite=False, repeats=False),
        Column("fee_sol", pa.float64(), "network fee and tip, for reading", finite=False, repeats=False),
        Column("ix_accounts_json", pa.string(), "the instruction's accounts", repeats=False),
        Column("meta_json", pa.string(), "anything else that was decoded", repeats=False),
        Column("leader_wallet", pa.string(), "always NULL here: leader_links holds it"),
        Column("created_at", pa.timestamp("us", "UTC"), "when the row was written"),
    ),
    ("sig", "outer_ix", "inner_ix", "event_seq"),
    (
        Rule(
            "a BUY or SELL names coin and quote", lambda f: ~_is_swap(f) | (f["mint"].notna() & f["quote_mint"].notna())
        ),
        Rule("a BUY or SELL has amounts", lambda f: ~_is_swap(f) | (f["base_raw"].notna() & f["quote_raw"].notna())),
    ),
)

_TRIP_COLUMNS = (
    Column("wallet", pa.string(), "the trader", nullable=False),
    Column("alias", pa.string(), "the trader's name, as its events had it"),
    Column("mint", pa.string(), "the coin", nullable=False),
    Column("quote_mint", pa.string(), "what it was paid in", nullable=False),
    Column("open_sig", pa.string(), "transaction of the first buy", nullable=False),
    Column("open_path", pa.string(), "outer.inner.seq of the first buy", nullable=False),
    Column("open_ts_ns", pa.int64(), "block time of the first buy", nullable=False),
    Column("open_slot", pa.int64(), "slot of the first buy", nullable=False),
    Column("open_qty", pa.float64(), "coins bought, for reading", nullable=False),
    Column("open_qty_raw", AMOUNT, "coins bought, raw", nullable=False, ge=1),
    Column("open_cost_sol", pa.float64(), "cost in SOL, for reading; NULL if not quoted in SOL"),
    Column("open_cost_lamports", AMOUNT, "cost in lamports; NULL if not quoted in SOL", ge=0),
    Column("open_cost_raw", AMOUNT, "sum over buys of quote + network fee + tip, raw quote", nullable=False, ge=0),
    Column("close_sig", pa.string(), "transaction of the closing sell; CLOSED only"),
    Column("close_ts_ns", pa.int64(), "block time of the closing sell; CLOSED only"),
    Column("close_slot", pa.int64(), "slot of the closing sell; CLOSED only"),
    Column("close_qty", pa.float64(), "coins sold so far, for reading", nullable=False),
    Column("close_qty_raw", AMOUNT, "coins sold so far, raw", nullable=False, ge=0),
    Column("close_proceeds_sol", pa.float64(), "proceeds in SOL, for reading; NULL if not quoted in SOL"),
    Column("close_proceeds_lamports", AMOUNT, "proceeds in lamports; NULL if not quoted in SOL"),
    Column("close_proceeds_raw", AMOUNT, "sum over sells of quote - network fee - tip, raw quote", nullable=False),
    Column("hold_ms", pa.int64(), "close - open; CLOSED only", ge=0),
    Column("pnl_sol", pa.float64(), "pnl in SOL, for reading; NULL if not quoted in SOL"),
    Column("pnl_lamports", AMOUNT, "pnl in lamports; NULL if not quoted in SOL"),
    Column("pnl_raw", AMOUNT, "proceeds - matched cost, raw quote", nullable=False),
    Column("pnl_x", pa.float64(), "proceeds / matched cost"),
    Column("was_win", pa.bool_(), "pnl > 0; a DEAD trip is a loss; NULL while open"),
    Column("n_buys", pa.int32(), "BUY events", nullable=False, ge=1),
    Column("n_sells", pa.int32(), "SELL events", nullable=False, ge=0),
    Column("status", pa.string(), "OPEN, CLOSED or DEAD", nullable=False, isin=("OPEN", "CLOSED", "DEAD")),
    Column(
        "basis",
        pa.string(),
        "COMPLETE, or INCOMPLETE: more was sold than seen bought, or coins were sold for another quote",
        nullable=False,
        isin=("COMPLETE", "INCOMPLETE"),
    ),
    Column("meta_json", pa.string(), "legs, unbacked rest, open lots, the coin's last state", nullable=False),
)
_TRIP_KEY = ("wallet", "mint", "open_sig", "open_path")


def _in_sol(frame: pd.DataFrame) -> pd.Series:
    return frame["quote_mint"] == WSOL


def _lamports_follow_raw(name: str) -> Rule:
    lamports, raw, sol = f"{name}_lamports", f"{name}_raw", f"{name}_sol"
    return Rule(
        f"{lamports} equals {raw} in SOL and is NULL otherwise",
        lambda f: (
            (f[lamports].notna() == _in_sol(f))
            & (f[sol].notna() == _in_sol(f))
            & (f[lamports].isna() | (f[lamports] == f[raw]))
        ),
    )


_TRIP_RULES = (
    _lamports_follow_raw("open_cost"),
    _lamports_follow_raw("close_proceeds"),
    _lamports_follow_raw("pnl"),
    Rule("close_sig, close_ts_ns, close_slot and hold_ms are set when CLOSED, else NULL", lambda f: _only_closed(f)),
    Rule("sells nothing without a sell", lambda f: (f["n_sells"] > 0) | (f["close_qty_raw"] == 0)),
)


def _only_closed(frame: pd.DataFrame) -> pd.Series:
    closed = frame["status"] == "CLOSED"
    together = frame["close_sig"].notna() == closed
    for name in ("close_ts_ns", "close_slot", "hold_ms"):
        together &= frame[name].notna() == closed
    return together


TRADES = Table(
    "trades",
    "Round trips that closed or died on the day, every wallet's, in the order of their closing.",
    _TRIP_COLUMNS,
    _TRIP_KEY,
    (
        *_TRIP_RULES,
        Rule("a finished trip is CLOSED or DEAD", lambda f: f["status"] != "OPEN"),
        Rule("pnl is proceeds - cost", lambda f: f["pnl_raw"] == f["close_proceeds_raw"] - f["open_cost_raw"]),
        Rule(
            "closes after it opens",
            lambda f: (f["close_ts_ns"] >= f["open_ts_ns"]) & (f["close_slot"] >= f["open_slot"]),
        ),
        Rule("CLOSED: was_win is pnl > 0", lambda f: (f["status"] == "DEAD") | (f["was_win"] == (f["pnl_raw"] > 0))),
        Rule("DEAD is a loss", lambda f: (f["status"] != "DEAD") | ~f["was_win"].fillna(True)),
        Rule("CLOSED has a sell", lambda f: (f["status"] == "DEAD") | (f["n_sells"] >= 1)),
        Rule(
            "hold_ms is close_ts_ns - open_ts_ns",
            lambda f: f["hold_ms"] == (f["close_ts_ns"] - f["open_ts_ns"]) // 1_000_000,
        ),
        Rule("a finished trip says whether it won", lambda f: f["was_win"].notna()),
    ),
)
OPEN_POSITIONS = Table(
    "open_positions",
    "Round trips that are held at the end of the day, with running sums and the lots that are left.",
    _TRIP_COLUMNS,
    _TRIP_KEY,
    (
        *_TRIP_RULES,
        Rule("an open trip is OPEN", lambda f: f["status"] == "OPEN"),
        Rule("an open trip has not won yet", lambda f: f["was_win"].isna()),
        Rule("an open trip has sold less than it bought", lambda f: f["close_qty_raw"] < f["open_qty_raw"]),
    ),
)


FOLLOW_EDGES = Table(
    "follow_edges",
    "Validated follower edges as of the end of the day.",
    (
        Column("leader", pa.string(), "who buys first", nullable=False),
        Column("follower", pa.string(), "who buys after", nullable=False),
        Column("leader_alias", pa.string(), "its name"),
        Column("follower_alias", pa.string(), "its name"),
        _ms("lag_ms_p50", "median lag of the followed buys"),
        _ms("lag_ms_p90", "90th percentile lag"),
        _float("follow_prob", "follow_prob_5s - baseline_prob"),
        _share("follow_prob_2s", "share followed within 2 s"),
        _share("follow_prob_5s", "share followed within 5 s"),
        _share("follow_prob_10s", "share followed within 10 s"),
        _share("follow_prob_30s", "share followed within 30 s"),
        _share("baseline_prob", "share expected by chance within 5 s"),
        _share("chance_prob_30s", "share expected by chance within 30 s"),
        _float("excess", "follow_prob_30s - chance_prob_30s"),
        _float("excess_lo", "its bootstrap interval, 2.5 %"),
        _float("excess_hi", "its bootstrap interval, 97.5 %"),
        _count("n_leader_buys", "the leader's first buys that could be followed"),
        _count("n_followed", "followed within 30 s"),
        _share("p_value", "chance of so many follows without following"),
        _share("q_value", "false discovery rate over all pairs tested"),
        _float("avg_follower_size_sol", "mean size of the follower's buys", ge=0),
        Column("as_of", _DATE, "the day whose end this is", nullable=False),
    ),
    ("leader", "follower"),
    (
        Rule("nobody follows himself", lambda f: f["leader"] != f["follower"]),
        ordered("lag_ms_p50", "lag_ms_p90"),
        ordered("follow_prob_2s", "follow_prob_5s", "follow_prob_10s", "follow_prob_30s"),
        ordered("n_followed", "n_leader_buys"),
        Rule(
            "follow_prob is follow_prob_5s - baseline_prob",
            lambda f: (f["follow_prob"] - (f["follow_prob_5s"] - f["baseline_prob"])).abs() <= 1e-9,
        ),
    ),
)
LEADER_SCORES = Table(
    "leader_scores",
    "How much each tracked wallet is followed and leads, as of the end of the day.",
    (
        Column("wallet", pa.string(), "the tracked wallet", nullable=False),
        _share("followership_score", "how many copy it"),
        _share("leader_score", "how well it leads"),
    ),
    ("wallet",),
)
_AS_OF = Column("as_of", _DATE, "the day whose end this is", nullable=False)


def _sum(name: str, about: str) -> Column:
    return Column(name, pa.float64(), about, nullable=False, ge=0)


def _address(name: str, about: str) -> Column:
    return Column(name, pa.string(), about, nullable=False)


FIRST_BUYS = Table(
    "first_buys",
    "Each wallet's first buy of each coin on the day, by coin, in the day's own integer codes; edges are read from it.",
    (
        Column("mint_code", pa.int32(), "the coin's code of the day", nullable=False, ge=0),
        Column("wallet_code", pa.int32(), "the wallet's code of the day", nullable=False, ge=0),
        Column("slot", pa.int64(), "slot", nullable=False, ge=0),
        Column("tx_index", pa.int32(), "place in the block; NULL where unknown", ge=0),
        Column("paid_lamports", pa.int64(), "what its transaction paid for the coin; NULL if not in SOL", ge=0),
    ),
    ("mint_code", "wallet_code"),
)
WALLET_LINKS = Table(
    "wallet_links",
    "Who paid whose transactions on the day, and who traded together in one.",
    (
        _address("wallet", "the trader"),
        _address("partner", "who paid, or traded in the same transaction"),
        Column("kind", pa.string(), "what ties them", nullable=False, isin=("fee_payer", "one_transaction")),
        Column("n_transactions", pa.int64(), "transactions that tie them", nullable=False, ge=1),
        Column("n_of_wallet", pa.int64(), "transactions of the wallet, whoever paid", nullable=False, ge=1),
        Column("first_slot", pa.int64(), "first seen", nullable=False),
        Column("last_slot", pa.int64(), "last seen", nullable=False),
    ),
    ("wallet", "partner", "kind"),
    (Rule("a link joins two", lambda f: f["wallet"] != f["partner"]),),
)
ENTITIES = Table(
    "entities",
    "Wallets that one actor trades through, with the evidence; they count as one in the copy network.",
    (
        _address("wallet", "a wallet of the entity, or what pays for it"),
        _address("entity", "its most active wallet, which names it"),
        Column(
            "evidence",
            pa.string(),
            "what ties the wallet to the others",
            nullable=False,
            isin=("fee_payer", "one_transaction", "same_slot"),
        ),
        Column("partner", pa.string(), "whom it is tied to"),
        Column("n_evidence", pa.int64(), "transactions, or coins bought in one slot", nullable=False, ge=1),
        _share("strength", "share of the wallet's transactions or coins"),
        Column("first_slot", pa.int64(), "first seen"),
        Column("last_slot", pa.int64(), "last seen"),
        Column("n_wallets", pa.int64(), "addresses of the entity", nullable=False, ge=2),
        _AS_OF,
    ),
    ("wallet",),
)
EDGE_VALIDATION = Table(
    "edge_validation",
    "Edges found on the first half of the window, and what they did and promised on the second.",
    (
        _address("leader", "who buys first"),
        _address("follower", "who buys after"),
        Column("n_first_half", pa.int64(), "opportunities of the first half", nullable=False, ge=0),
        _share("prob_first_half", "followed within 30 s", nullable=False),
        Column("n_second_half", pa.int64(), "opportunities of the second half", nullable=False, ge=0),
        _share("prob_second_half", "followed within 30 s"),
        _share("chance_prob", "expected by chance, from the first half", nullable=False),
        Column("persisted", pa.bool_(), "stands out in the second half too; NULL below 5 opportunities"),
        _sum("predicted_follows", "share of the first half x opportunities of the second"),
        Column("realised_follows", pa.int64(), "follows of the second half", nullable=False, ge=0),
        _sum("predicted_sol", "predicted follows x mean size of the first half"),
        _sum("realised_sol", "what the followers bought"),
        _AS_OF,
    ),
    ("leader", "follower"),
)
LEADER_INFLOW = Table(
    "leader_inflow",
    "What a leader's followers are expected to buy after one buy of it, ahead of and behind each slot.",
    (
        _address("leader", "the tracked wallet"),
        Column("slots", pa.int64(), "slots after the leader's buy", nullable=False, ge=0),
        _sum("ahead_sol", "mean SOL bought by followers until then"),
        _sum("behind_sol", "mean SOL bought by followers from then to 30 s"),
        _sum("followers_ahead", "mean number of followers until then"),
        _sum("followers_behind", "mean number of followers from then to 30 s"),
        Column("n_followers", pa.int64(), "validated followers", nullable=False, ge=1),
        Column("n_leader_buys", pa.int64(), "first buys of the leader behind it", nullable=False, ge=0),
        _AS_OF,
    ),
    ("leader", "slots"),
)
INFLOW_CALIBRATION = Table(
    "inflow_calibration",
    "Inflow forecast on the first half of the window against the second, by tenth of what was predicted.",
    (
        Column("slots", pa.int64(), "slots after the leader's buy", nullable=False, ge=0),
        Column("decile", pa.int64(), "tenth of the buys by predicted inflow", nullable=False, ge=1, le=10),
        Column("n_buys", pa.int64(), "leader buys", nullable=False, ge=1),
        _sum("predicted_behind_sol", "mean forecast behind the slot"),
        _sum("realised_behind_sol", "mean of what came"),
        _sum("predicted_ahead_sol", "mean forecast ahead of it"),
        _sum("realised_ahead_sol", "mean of what came"),
        _AS_OF,
    ),
    ("slots", "decile"),
)
LEADER_LINKS = Table(
    "leader_links",
    "Buys of the day that followed the leader of a validated edge: what fills raw_events.leader_wallet.",
    (
        _address("sig", "the follower's transaction"),
        Column("outer_ix", pa.int32(), "top-level instruction", nullable=False, ge=0),
        Column("inner_ix", pa.int32(), "inner instruction, -1 = top level", nullable=False, ge=-1),
        Column("event_seq", pa.int32(), "event of that instruction", nullable=False, ge=0),
        _address("follower", "who bought"),
        _address("leader_wallet", "whom the buy followed"),
        _address("leader_sig", "the leader's transaction"),
        _address("mint", "the coin"),
        Column("lag_slots", pa.int64(), "slots since the leader's buy", nullable=False, ge=0),
    ),
    ("sig", "outer_ix", "inner_ix", "event_seq"),
)
TABLES: Final = {
    t.name: t
    for t in (
        *(EVENTS, TRADES, OPEN_POSITIONS, FIRST_BUYS, WALLET_LINKS, FOLLOW_EDGES, LEADER_SCORES, ENTITIES),
        *(EDGE_VALIDATION, LEADER_INFLOW, INFLOW_CALIBRATION, LEADER_LINKS, WALLET_PATTERNS, WALLET_WINDOWS),
        *(TAPE, TAPE_SLOTS, *VALUE_TABLES, LANDINGS, SHADOW_BOOK, PARITY),
    )
}
