"""The planted market: deterministic, true to its balances, and showing what was planted."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pytest
from typer.testing import CliRunner

from copytrader_core.errors import ConfigError, DataError
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, associated_token_address
from simnet.bank import SLOT_MS, seconds_at
from simnet.bytecode import Snapshot
from simnet.demo_tape import TAPE, TRUTH
from simnet.market import Market
from simnet.outcome import Outcome, outcomes
from simnet.plan import Session
from simnet.record import record, schedule
from simnet.tape import read_tape
from simnet.truth import Truth, read_truth, write_wallets_db

SHORT = [Session(1_791_810_000, 14.0)]
FIRST_DAY = datetime(2026, 10, 12, tzinfo=UTC)


def run(seed: int, snapshot: Snapshot) -> tuple[Market, str]:
    market, digest = Market(seed, SHORT, [2], snapshot), hashlib.sha256()
    for block in market.blocks():
        digest.update(block.SerializeToString(deterministic=True))
    return market, digest.hexdigest()


@pytest.fixture(scope="module")
def market(snapshot: Snapshot) -> Market:
    return run(3, snapshot)[0]


@pytest.fixture(scope="module")
def learning(small_truth: Truth) -> dict[str, Outcome]:
    """What the planted wallets did on all days but the last."""
    return outcomes(small_truth, before_second=small_truth.sessions[-1][0])


def named(truth: Truth, role: str):
    return [planted for planted in truth.planted if planted.role == role]


# --- the market as it runs ---


def test_the_same_seed_gives_the_same_chain_and_another_seed_another(snapshot: Snapshot):
    first, again, other = run(3, snapshot), run(3, snapshot), run(4, snapshot)
    assert first[1] == again[1] != other[1]
    assert first[0].truth == again[0].truth


def test_truth_adds_up_to_what_every_wallet_holds_of_every_coin(market: Market):
    held: Counter[tuple[str, str]] = Counter()
    signs = {"BUY": 1, "SELL": -1, "ADD": -1, "REMOVE": 1}
    for event in market.truth.events:
        if event.action != "CREATE":
            held[event.wallet, event.mint] += signs[event.action] * event.base_raw
    assert len(held) > 50
    for wallet in market.cast.wallets.values():
        for live in market._live.values():
            account = associated_token_address(wallet.pubkey, live.coin.mint, TOKEN_2022_PROGRAM)
            assert market.bank.token_amount(account) == held[str(wallet.pubkey), str(live.coin.mint)]


def test_a_coin_changes_hands_only_in_what_truth_tells(market: Market):
    tellers = {event.sig for event in market.truth.events}
    assert len(tellers) <= market.truth.n_transactions - market.truth.n_failed
    assert market.truth.n_transactions - market.truth.n_failed - len(tellers) <= 3  # migrations


# --- the committed tape ---


def test_the_decoder_agrees_with_the_truth_to_the_lamport(small_truth: Truth):
    decoded = defaultdict(list)
    for block in read_tape(TAPE).blocks:
        for info in block.transactions:
            found = decode(transaction_from_update(info, block.slot, block.block_time.timestamp))
            assert not found.problems
            for event in found.events:
                decoded[event.sig, event.outer_ix].append(event)
    for truth in small_truth.events:
        rows = decoded.pop((truth.sig, truth.outer_ix))
        assert len(rows) == truth.n_parts
        assert {(r.wallet, r.action, r.mint, r.slot, r.tx_index) for r in rows} == {
            (truth.wallet, truth.action, truth.mint, truth.slot, truth.tx_index)
        }
        assert {(r.tx_fee_lamports, r.tip_lamports) for r in rows} == {(truth.tx_fee_lamports, truth.tip_lamports)}
        if truth.action != "CREATE":
            assert sum(r.base_raw for r in rows) == truth.base_raw
            assert sum(r.quote_raw for r in rows) == truth.quote_raw
    assert not decoded


def test_four_days_lie_where_the_programs_wrote_these_layouts(small_truth: Truth):
    days = [datetime.fromtimestamp(seconds_at(event.slot), UTC).date() for event in small_truth.events]
    assert [str(day) for day in sorted(set(days))] == ["2026-10-12", "2026-10-13", "2026-10-14", "2026-10-15"]
    per_day = Counter(days)
    assert min(per_day.values()) == per_day[max(per_day)] < 600


def test_blocks_follow_each_other_without_a_hole(small_truth: Truth):
    before = None
    for block in read_tape(TAPE).blocks:
        assert before is None or (block.parent_slot, block.parent_blockhash) == (before.slot, before.blockhash)
        assert block.block_time.timestamp == seconds_at(block.slot)
        assert [info.index for info in block.transactions] == list(range(len(block.transactions)))
        before = block


def test_the_tape_holds_what_a_chain_holds(small_truth: Truth):
    actions = Counter(event.action for event in small_truth.events)
    assert min(actions["ADD"], actions["REMOVE"]) >= 1 and actions["CREATE"] > 100
    assert sum(event.n_parts == 2 for event in small_truth.events) >= 5
    assert small_truth.n_failed >= 20
    assert sum(event.tip_lamports > 0 for event in small_truth.events) > 500
    several = Counter(event.sig for event in small_truth.events)
    assert sum(n > 1 for n in several.values()) > 20
    shapes = Counter()
    for block in read_tape(TAPE).blocks:
        shapes["busy"] += len(block.transactions) > 1
        for info in block.transactions:
            message = info.transaction.message
            shapes["v1" if message.HasField("config") else "v0" if message.versioned else "legacy"] += 1
            shapes["table"] += bool(message.address_table_lookups)
    assert min(shapes[kind] for kind in ("busy", "v1", "v0", "legacy", "table")) > 100


def test_the_tape_fits_into_the_checkout():
    assert TAPE.stat().st_size + TRUTH.stat().st_size < 2_700_000


def test_every_leader_leaves_enough_round_trips_to_be_known(small_truth: Truth, learning: dict[str, Outcome]):
    assert 8 <= len(named(small_truth, "leader")) <= 10
    assert all(learning[leader.name].n_closed >= 55 for leader in named(small_truth, "leader"))


def test_half_of_the_leaders_are_worth_following_and_others_lose(small_truth, learning):
    good = {n.name for n in named(small_truth, "leader") if learning[n.name].win_rate >= 0.55}
    assert len(good) * 2 >= len(named(small_truth, "leader"))
    assert all(learning[name].pnl_lamports > 0 for name in good)
    losing = {n.name for n in named(small_truth, "leader") if learning[n.name].pnl_lamports < 0}
    assert len(losing) >= 2 and not losing & good


def test_who_is_planted_better_wins_more_often(small_truth: Truth, learning: dict[str, Outcome]):
    leaders = named(small_truth, "leader")
    lucky = [learning[n.name].win_rate for n in leaders if n.rising_share > 0.5]
    others = [learning[n.name].win_rate for n in leaders if n.rising_share < 0.5]
    assert min(lucky) > max(others) + 0.2


def test_exits_follow_the_planted_style(small_truth: Truth, learning: dict[str, Outcome]):
    for leader in named(small_truth, "leader"):
        outcome = learning[leader.name]
        if leader.style == "time_stop":
            assert outcome.p50_hold_ms == pytest.approx(leader.hold_ms, rel=0.06)
        if leader.style == "scale_out":
            assert outcome.n_sells / outcome.n_closed > 2.8
        elif leader.style != "mixed":
            assert outcome.n_sells == outcome.n_closed


def test_target_leaders_leave_winners_at_their_target(small_truth: Truth):
    (leader,) = [x for x in named(small_truth, "leader") if x.name == "Okoye"]
    ratios = _ratios(small_truth, leader.wallet)
    at_target = [ratio for ratio in ratios if ratio >= 0.97 * leader.target_x]
    assert len(at_target) > 0.6 * len(ratios)
    assert median(at_target) == pytest.approx(leader.target_x, rel=0.08)


def _ratios(truth: Truth, wallet: str) -> list[float]:
    """Proceeds over cost of every coin that a wallet bought and sold, fees in."""
    spent, got = Counter(), Counter()
    for event in truth.events:
        if event.wallet == wallet and event.action in ("BUY", "SELL"):
            (spent if event.action == "BUY" else got)[event.mint] += event.quote_raw
    return [got[mint] / spent[mint] for mint in got]


def test_copiers_come_after_their_leader_as_often_and_as_late_as_planted(small_truth: Truth):
    first_buy: dict[tuple[str, str], int] = {}
    for event in small_truth.events:
        if event.action == "BUY":
            first_buy.setdefault((event.wallet, event.mint), event.slot)
    assert len({edge.leader for edge in small_truth.edges}) >= 4
    for edge in small_truth.edges:
        entries = {mint: slot for (wallet, mint), slot in first_buy.items() if wallet == edge.leader}
        lags = [
            (first_buy[edge.follower, mint] - slot) * SLOT_MS
            for mint, slot in entries.items()
            if (edge.follower, mint) in first_buy
        ]
        assert min(lags) > 0
        assert median(lags) == pytest.approx(edge.lag_ms_p50, rel=0.2)
        assert len(lags) / len(entries) == pytest.approx(edge.probability, abs=0.17)


def test_there_are_siblings_and_a_chain(small_truth: Truth):
    followers = {edge.follower for edge in small_truth.edges}
    assert max(Counter(edge.leader for edge in small_truth.edges).values()) >= 2
    assert any(edge.leader in followers for edge in small_truth.edges)


# --- files ---


def test_the_wallet_list_names_every_leader(small_truth: Truth, tmp_path: Path):
    assert write_wallets_db(small_truth, tmp_path / "wallets.db") == 24
    with sqlite3.connect(tmp_path / "wallets.db") as database:
        rows = dict(database.execute("SELECT wallet, name FROM wallets").fetchall())
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    database.close()
    assert {leader.wallet: leader.name for leader in named(small_truth, "leader")}.items() <= rows.items()
    assert len(rows) == 24 and "wallets" in tables and len(tables) > 1


def test_a_recording_is_the_same_every_time_and_reads_back(snapshot: Snapshot, tmp_path: Path):
    first = record(tmp_path / "one.tape.zst", seed=5, days=2, size=0.15)
    again = record(tmp_path / "two.tape.zst", seed=5, days=2, size=0.15)
    assert first.tape.read_bytes() == again.tape.read_bytes()
    assert first.truth_path.read_bytes() == again.truth_path.read_bytes()
    assert read_truth(first.truth_path) == first.truth
    assert read_tape(first.tape).n_blocks == first.truth.n_blocks


def test_the_command_records_a_tape(snapshot: Snapshot, tmp_path: Path):
    from copytrader_cli.commands.simnet import app

    out = tmp_path / "mine.tape.zst"
    done = CliRunner().invoke(app, ["record", "--seed", "9", "--days", "1", "--size", "0.1", str(out)])
    assert done.exit_code == 0 and "transactions" in done.output
    assert out.is_file() and (tmp_path / "mine.truth.json.zst").is_file()


@pytest.mark.parametrize(("days", "size"), [(0, 1.0), (8, 1.0), (4, 0.0), (4, 99.0)])
def test_an_impossible_schedule_is_refused(days: int, size: float):
    with pytest.raises(ConfigError, match="days and a size"):
        schedule(days, size)


def test_a_file_that_is_no_truth_is_refused(tmp_path: Path):
    (tmp_path / "x.truth.json.zst").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be read"):
        read_truth(tmp_path / "x.truth.json.zst")
