"""Which columns each published column is made of, for Dagster's column lineage. Not here: how (analysis/)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import dagster as dg

from copytrader_assets.proof_schemas import LANDINGS, PARITY, SHADOW_BOOK
from copytrader_assets.schemas import (
    EDGE_VALIDATION,
    ENTITIES,
    EVENTS,
    FIRST_BUYS,
    FOLLOW_EDGES,
    INFLOW_CALIBRATION,
    LEADER_INFLOW,
    LEADER_LINKS,
    LEADER_SCORES,
    OPEN_POSITIONS,
    TABLES,
    TRADES,
    WALLET_LINKS,
    WALLET_PATTERNS,
    WALLET_WINDOWS,
)
from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_assets.value_schemas import (
    CALIBRATION,
    CALIBRATION_BINS,
    COPIES,
    COPY_EXITS,
    COPY_VALUE,
    EXIT_CURVES,
    LEADER_EXITS,
)

_EVENT_ORDER = "events: slot tx_index outer_ix inner_ix event_seq"
_COSTS = "events: quote_raw tx_fee_lamports tip_lamports fee_payer wallet action"
_TRIP: Final = {
    "wallet mint quote_mint alias": "events: {}",
    "open_sig": "events: sig",
    "open_path": "events: outer_ix inner_ix event_seq",
    "open_ts_ns close_ts_ns hold_ms": "events: ts_ns",
    "open_slot close_slot": "events: slot",
    "open_qty open_qty_raw close_qty close_qty_raw": "events: base_raw action",
    "open_cost_sol open_cost_lamports open_cost_raw": _COSTS,
    "close_proceeds_sol close_proceeds_lamports close_proceeds_raw": _COSTS,
    "pnl_sol pnl_lamports pnl_raw pnl_x was_win": f"{_COSTS} base_raw",
    "close_sig": "events: sig base_raw",
    "n_buys n_sells": "events: action",
    "status": "events: base_raw ts_ns reserve_base_raw reserve_quote_raw",
    "basis": "events: base_raw action quote_mint",
    "meta_json": f"{_EVENT_ORDER} sig base_raw quote_raw reserve_base_raw reserve_quote_raw",
}
_ENDED = "trades: wallet status basis"
_HELD = "open_positions: wallet basis meta_json open_ts_ns"
_RESERVES = "events: wallet reserve_base_raw reserve_quote_raw base_raw quote_raw swap_fee_raw slot"
_WINS = f"{_ENDED} pnl_raw"
_MEASURES: Final = {
    "wallet": "trades: wallet",
    "since_ns sample_days": f"{_ENDED} close_ts_ns",
    "sample_trades closed_trades dead_trades": _ENDED,
    "open_trades marked_trades": _HELD,
    "win_rate win_rate_shrunk win_rate_lo win_rate_hi win_rate_closed": _WINS,
    "win_rate_all win_rate_all_shrunk win_rate_all_lo win_rate_all_hi": f"{_WINS}; {_HELD}",
    "avg_daily_trades": f"{_ENDED} close_ts_ns",
    "burstiness burstiness_gaps": f"{_ENDED} open_slot",
    "opens_by_hour preferred_time_window": f"{_ENDED} open_ts_ns",
    "avg_entry_sol p50_entry_sol p90_entry_sol": f"{_ENDED} open_cost_lamports",
    "p50_hold_ms p90_hold_ms": f"{_ENDED} hold_ms",
    "km_p50_hold_ms km_p90_hold_ms censored_holds": f"{_ENDED} hold_ms open_ts_ns; {_HELD}",
    "hold_over hold_over_trials hold_over_shrunk hold_over_lo hold_over_hi": f"{_ENDED} hold_ms open_ts_ns; {_HELD}",
    "p50_target_x p90_target_x": f"{_ENDED} close_proceeds_raw open_cost_raw",
    "p50_best_x p90_best_x best_x_trades": f"{_ENDED} open_sig close_sig open_cost_raw; {_RESERVES}",
    "typical_exit_style exit_style_confidence": f"{_ENDED} open_slot close_slot meta_json pnl_x; {_RESERVES}",
    "slippage_buys slippage_p50 slippage_pctl_95 slippage_fee_p50 slippage_fee_p95": _RESERVES,
    "slippage_impact_p50 slippage_impact_p95": _RESERVES,
    "slippage_delay_buys slippage_delay_p50 slippage_delay_p95": _RESERVES,
    "avg_pnl_sol pnl_sol pnl_volatility_sol": f"{_ENDED} pnl_lamports",
    "roi_mean roi_shrunk roi_lo roi_hi": f"{_ENDED} close_proceeds_raw open_cost_raw",
    "open_pnl_sol": _HELD,
    "avg_daily_pnl_sol daily_pnl_volatility_sol max_drawdown_sol": f"{_ENDED} pnl_lamports close_ts_ns; {_HELD}",
    "stability stability_win stability_multiple stability_hold stability_size stability_weeks":
        f"{_WINS} close_ts_ns close_proceeds_raw open_cost_raw open_slot close_slot",
    "followership_score leader_score": "leader_scores: {}",
}  # fmt: skip
_FIRST_BUYS = "events: wallet mint action slot tx_index"
_EDGE: Final = {
    "leader follower": "events: wallet",
    "lag_ms_p50 lag_ms_p90 n_leader_buys n_followed baseline_prob q_value": _FIRST_BUYS,
    "follow_prob follow_prob_2s follow_prob_5s follow_prob_10s follow_prob_30s": _FIRST_BUYS,
    "chance_prob_30s excess excess_lo excess_hi p_value": _FIRST_BUYS,
    "avg_follower_size_sol": f"{_FIRST_BUYS} quote_raw quote_mint",
}
_REDUCED = "first_buys: mint_code wallet_code slot tx_index"
_INFLOW: Final = f"{_REDUCED} paid_lamports; follow_edges: leader follower"
_DAY_BUYS: Final = {
    "mint_code": "events: mint",
    "wallet_code": "events: wallet",
    "slot tx_index": "events: {}",
    "paid_lamports": "events: quote_raw quote_mint sig",
}
_LINK: Final = {
    "wallet": "events: {}",
    "partner kind": "events: fee_payer wallet sig",
    "n_transactions n_of_wallet": "events: sig wallet fee_payer",
    "first_slot last_slot": "events: slot",
}
_ENTITY: Final = {
    "wallet entity partner n_wallets": "wallet_links: wallet partner; first_buys: wallet_code",
    "evidence": "wallet_links: kind; first_buys: slot",
    "n_evidence strength": "wallet_links: n_transactions n_of_wallet; first_buys: mint_code slot",
    "first_slot last_slot": "wallet_links: {}; first_buys: slot",
}
_VALIDATION: Final = {
    "leader follower n_first_half prob_first_half n_second_half prob_second_half": _REDUCED,
    "chance_prob persisted predicted_follows realised_follows": _REDUCED,
    "predicted_sol realised_sol": f"{_REDUCED} paid_lamports",
}
_FORECAST: Final = {
    "leader n_followers": "follow_edges: leader follower",
    "ahead_sol behind_sol followers_ahead followers_behind n_leader_buys": _INFLOW,
}
_CALIBRATION: Final = {
    "n_buys predicted_behind_sol realised_behind_sol predicted_ahead_sol realised_ahead_sol": _INFLOW
}
_FOLLOWING: Final = {
    "sig outer_ix inner_ix event_seq mint": "events: {}",
    "follower": "events: wallet",
    "leader_wallet": "events: wallet; follow_edges: leader follower",
    "leader_sig": "events: sig",
    "lag_slots": "events: slot",
}
_SCORE: Final = {"wallet": "events: wallet", "followership_score leader_score": _FIRST_BUYS}
_MARKET = "tape: kind base_raw quote_raw net_raw reserve_base_raw reserve_quote_raw real_base_raw real_quote_raw"
_COPIED = f"{_MARKET}; wallet_patterns: slippage_pctl_95 p50_hold_ms; tape_slots: seconds"
_TAPE: Final = {
    "slot tx_index outer_ix inner_ix event_seq ts_ns sig wallet mint quote_mint base_raw quote_raw": "events: {}",
    "tx": "events: sig",
    "is_buy": "events: action",
    "venue": "events: program quote_mint meta_json",
    "kind": "events: action base_raw quote_raw swap_fee_raw reserve_base_raw reserve_quote_raw",
    "net_raw": "events: quote_raw swap_fee_raw",
    "reserve_base_raw reserve_quote_raw": "events: {}",
    "real_base_raw real_quote_raw": "events: meta_json",
    "lp_bps protocol_bps creator_bps next_lp_bps next_protocol_bps next_creator_bps": "events: meta_json swap_fee_raw",
}
_COPY: Final = {
    "leader": "tape: wallet",
    "mint sig slot tx_index ts_ns venue": "tape: {}",
    "real_quote_lamports": "tape: real_quote_raw",
    "leader_size_lamports": "tape: quote_raw",
    "latency_slots size_lamports": "tape: slot net_raw",
    "rule": "copy_exits: rule pnl_lamports",
    "outcome spend_lamports pnl_lamports hold_ms exit_reason censored entry_premium_bps": _COPIED,
}
_REPLAYED = "copies: leader mint outcome pnl_lamports size_lamports latency_slots"
_CHOSEN = "copy_exits: leader mint sig rule pnl_lamports"
_VALUE: Final = {
    "leader latency_slots size_lamports": "copies: {}",
    "n_signals n_landed n_days n_coin_days landed_share landing raw_mean_x median_x": _REPLAYED,
    "mean_x lo_x hi_x p_positive value_x value_lo_x value_hi_x": f"{_REPLAYED}; leader_inflow: behind_sol",
    "verdict reason q_value capacity_sol capacity_lo_sol capacity_hi_sol break_even_slots": _REPLAYED,
    "rule": _CHOSEN,
    "tier alpha beta": "calibration: tier scale beta",
    "state_x state_half_x": "copies: venue real_quote_lamports pnl_lamports",
}
_EXITS: Final = {
    "leader rule": "copy_exits: {}",
    "n_copies n_coin_days raw_mean_x mean_x lo_x hi_x behind_x behind_se_x": _CHOSEN,
    "over_seed_x over_seed_lo_x over_seed_hi_x is_chosen": _CHOSEN,
    "conditions": "copy_exits: rule",
}
_CURVES: Final = {
    "leader": "trades: wallet",
    "curve at survival n_trips n_censored": f"{_ENDED} hold_ms pnl_x; {_HELD}",
}
_STANDING: Final = {
    "leader": "copies: leader",
    "mode n_decided n_landed slots_late entry_premium_bps entry_premium_se_bps exit_premium_bps n_finished":
        "copies: leader",
    "expected_landing landing_p_value expected_slots expected_x realised_x": _REPLAYED,
    "score kill_line cusum drifted killed tier scale alpha beta since benched": _REPLAYED,
}  # fmt: skip
_BINS: Final = {"kind bin n_copies expected realised realised_lo realised_hi": _REPLAYED}
_OF: Final[Mapping[str, Mapping[str, str]]] = {
    EVENTS.name: {" ".join(name for name in EVENTS.names if name != "leader_wallet"): "raw_events: {}"},
    FIRST_BUYS.name: _DAY_BUYS,
    WALLET_LINKS.name: _LINK,
    ENTITIES.name: _ENTITY,
    EDGE_VALIDATION.name: _VALIDATION,
    LEADER_INFLOW.name: _FORECAST,
    INFLOW_CALIBRATION.name: _CALIBRATION,
    LEADER_LINKS.name: _FOLLOWING,
    TRADES.name: _TRIP,
    OPEN_POSITIONS.name: _TRIP,
    FOLLOW_EDGES.name: _EDGE,
    LEADER_SCORES.name: _SCORE,
    WALLET_PATTERNS.name: _MEASURES,
    WALLET_WINDOWS.name: _MEASURES,
    TAPE.name: _TAPE,
    TAPE_SLOTS.name: {"slot": "events: slot", "seconds": "events: ts_ns"},
    COPIES.name: _COPY,
    COPY_EXITS.name: {name: text for name, text in _COPY.items() if name != "rule"} | {"rule": "tape: slot"},
    COPY_VALUE.name: _VALUE,
    LEADER_EXITS.name: _EXITS,
    EXIT_CURVES.name: _CURVES,
    CALIBRATION.name: _STANDING,
    CALIBRATION_BINS.name: _BINS,
    LANDINGS.name: {},
    SHADOW_BOOK.name: {
        "mode code also leader": "tape: wallet",
        "mint sig": "tape: {}",
        "outcome pnl_lamports spend_lamports exit_reason": f"{_MARKET}; tape_slots: seconds",
    },
    PARITY.name: {
        "mode code code_again slots_late quoted_tokens_raw tokens_raw pnl_lamports leader": "tape: wallet",
        "mint sig slot": "tape: {}",
        "cause replayed_tokens_raw replayed_pnl_lamports": f"{_MARKET}; tape_slots: seconds",
    },
}


def column_lineage(asset: str) -> dict[str, dg.TableColumnLineage]:
    """The metadata entry of an asset's column lineage; nothing for an asset without one."""
    if asset not in _OF:
        return {}
    deps = {
        column: _sources(text, column, asset)
        for columns, text in _OF[asset].items()
        for column in columns.split()
        if column in TABLES[asset].names
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}


def _sources(text: str, column: str, asset: str) -> list[dg.TableColumnDep]:
    """`asset: column column; asset: ...`, where {} is the column's own name. Positions continue yesterday's."""
    found = []
    for part in text.split(";"):
        source, names = part.split(":")
        found += [dg.TableColumnDep(source.strip(), column if name == "{}" else name) for name in names.split()]
    if asset in (TRADES.name, OPEN_POSITIONS.name):
        found.append(dg.TableColumnDep(OPEN_POSITIONS.name, column))
    return found
