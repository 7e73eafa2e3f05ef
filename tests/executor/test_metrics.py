"""The numbers for Prometheus: what lines of the journal make of them, and how they are served."""

from __future__ import annotations

import asyncio
import random
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest
from journal_lines import DAY, NOON, decided, fill, line, plan
from planted_market import LEADER, OTHER, World, address, publish, settings
from prometheus_client.parser import text_string_to_metric_families
from running import rows, trade

from copytrader_core.errors import ConfigError
from executor.metrics import ExecutorMetrics
from executor.monitor import Follower, Live, monitored
from executor.wal import Wal, segments_of

P = "copytrader_executor_"


@pytest.fixture
def metrics() -> ExecutorMetrics:
    made = ExecutorMetrics()
    made.set_leaders(["wallet", "second"])
    return made


def value(metrics: ExecutorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(P + name, labels)


def told(metrics: ExecutorMetrics, *lines: dict[str, Any]) -> ExecutorMetrics:
    for one in lines:
        metrics.apply(one)
    return metrics


def realised(metrics: ExecutorMetrics, side: str) -> tuple[float, float]:
    """The bucket of the only fill's slippage: above the first, up to the second."""
    name = P + "slippage_realised_ratio_bucket"
    found = [s for family in metrics.registry.collect() for s in family.samples if s.name == name]
    counts = {float(s.labels["le"]): s.value for s in found if s.labels["side"] == side}
    assert max(counts.values()) == 1
    return max(le for le, n in counts.items() if n == 0), min(le for le, n in counts.items() if n == 1)


def test_decisions_count_by_code_and_leader_with_their_latency(metrics: ExecutorMetrics) -> None:
    told(metrics, decided(), decided("second", "QUOTE_AGE", 400), decided("stranger", "NO_PATTERN"))
    assert value(metrics, "decisions_total", code="QUOTE_AGE") == 1
    assert [value(metrics, "signals_total", leader=name) for name in ("wallet", "second", "other")] == [1, 1, 1]
    assert value(metrics, "decision_latency_seconds_bucket", le="0.0001") == 2
    assert value(metrics, "decision_latency_seconds_sum") == pytest.approx(560e-6)


def test_only_planned_buys_have_an_expected_value(metrics: ExecutorMetrics) -> None:
    told(metrics, decided(intent="a"), decided(value=7_000), decided("second", intent="b", value=-3))
    assert value(metrics, "expected_value_lamports", leader="wallet") == 5_000
    assert value(metrics, "expected_value_today_lamports", leader="second") == -3


def test_a_buy_that_lands_shows_its_slippage_fees_and_delay(metrics: ExecutorMetrics) -> None:
    told(metrics, decided(intent="a"), fill("a", "BUY", 981, 10_000, slots_late=3))
    assert value(metrics, "intents_total", side="BUY", outcome="landed") == 1
    assert value(metrics, "slippage_allowed_ratio_sum", side="BUY") == pytest.approx(0.03)
    assert realised(metrics, "BUY") == (0.01, 0.02)
    assert value(metrics, "landing_slots_sum", side="BUY") == 3
    costs = ("network_fees_lamports_total", "tips_lamports_total", "swap_fees_lamports_total")
    assert [value(metrics, name, side="BUY") for name in costs] == [50, 20, 125]


def test_a_sale_shows_its_result_its_reason_and_its_attempts(metrics: ExecutorMetrics) -> None:
    attempt = {"reason": "timer", "attempt": 2, "quoted_lamports": 12_000, "min_out": 11_400}
    sale = line("EXIT", attempt, changes=[plan("s", "SELL", 1_000, 0, 11_400, attempt=2, reason="timer")])
    told(metrics, sale, fill("s", "SELL", 1_000, 11_650, reason="timer", pnl_lamports=1_500))
    assert value(metrics, "exit_attempts_total", reason="timer") == 1
    assert value(metrics, "exits_total", reason="timer") == 1
    assert value(metrics, "exit_attempts_needed_sum") == 2
    assert value(metrics, "slippage_allowed_ratio_sum", side="SELL") == pytest.approx(0.05)
    assert realised(metrics, "SELL") == (0.02, 0.03)
    assert value(metrics, "realised_pnl_lamports", leader="wallet") == 1_500


def test_the_lines_own_expectation_wins_over_the_plan(metrics: ExecutorMetrics) -> None:
    expected = {"base_raw": 1_000, "quote_lamports": 20_000}
    told(metrics, decided(intent="a"), fill("a", "BUY", 1_000, 20_000, expected=expected))
    assert realised(metrics, "BUY") == (-0.01, 0.0)


def test_failures_count_by_code_and_cost_money(metrics: ExecutorMetrics) -> None:
    bad = {"error": "SLIPPAGE: 3 is below 5", "cost_lamports": 105, "side": "BUY"}
    live = {"error": "custom program error 6042 in instruction 3", "code": 6042, "cost_lamports": 5, "side": "SELL"}
    told(metrics, decided(intent="a"), line("REVERTED", bad, leader="wallet", intent_id="a"))
    told(metrics, line("REVERTED", live, leader="wallet", intent_id="b"))
    assert value(metrics, "failed_transactions_total", side="BUY", code="SLIPPAGE") == 1
    assert value(metrics, "failed_transactions_total", side="SELL", code="6042") == 1
    assert value(metrics, "realised_pnl_today_lamports", leader="wallet") == -110
    assert value(metrics, "network_fees_lamports_total", side="BUY") == 105


def test_an_order_that_expires_is_counted_on_its_side(metrics: ExecutorMetrics) -> None:
    told(metrics, decided(intent="a"), line("EXPIRED", {"reason": "too late"}, intent_id="a"))
    assert value(metrics, "intents_total", side="BUY", outcome="expired") == 1


def test_routes_count_what_they_said_how_long_they_took_and_what_became_of_it(metrics: ExecutorMetrics) -> None:
    routes = {"tpu": {"result": "sent", "ms": 0.4}, "rpc": {"result": "RATE_LIMITED", "ms": 12.0}}
    told(metrics, decided(intent="a"), fill("a", "BUY", 1_000, 10_000, routes=routes))
    assert value(metrics, "route_sends_total", route="rpc", result="RATE_LIMITED") == 1
    assert value(metrics, "route_send_seconds_sum", route="tpu") == pytest.approx(0.0004)
    assert value(metrics, "route_intents_total", route="tpu", outcome="landed") == 1
    assert value(metrics, "route_intents_total", route="rpc", outcome="landed") is None


def test_a_block_that_is_left_behind_takes_its_result_back(metrics: ExecutorMetrics) -> None:
    sale = line("EXIT", {"reason": "kill"}, changes=[plan("s", "SELL", 1_000, 12_000, 1)])
    told(metrics, sale, fill("s", "SELL", 1_000, 12_000, pnl_lamports=900))
    told(metrics, line("ROLLED_BACK", intent_id="s", leader="wallet"))
    assert value(metrics, "rollbacks_total", side="SELL") == 1
    assert value(metrics, "realised_pnl_lamports", leader="wallet") == 0


def test_a_new_day_begins_at_nothing_and_the_total_goes_on(metrics: ExecutorMetrics) -> None:
    told(metrics, fill("s", "SELL", 1, 2, pnl_lamports=900))
    told(metrics, fill("t", "SELL", 1, 2, pnl_lamports=5, at_ns=NOON + DAY), line("RUN", at_ns=0))
    assert value(metrics, "realised_pnl_today_lamports", leader="wallet") == 5
    assert value(metrics, "realised_pnl_lamports", leader="wallet") == 905


def test_states_and_trips_are_there(metrics: ExecutorMetrics) -> None:
    told(metrics, line("RUN", {"state": "ACTIVE"}), line("TRIPPED", {"reason": "the stream has been silent for 31 s"}))
    told(metrics, line("STATE", {"state": "REDUCING"}), line("WAIT", {"waiting": "NO_QUOTE"}))
    assert [value(metrics, "trading_state", state=s) for s in ("ACTIVE", "REDUCING", "HALTED")] == [0, 1, 0]
    assert value(metrics, "trips_total", reason="the_stream_has_been_silent_for_n_s") == 1
    assert value(metrics, "exit_waits_total", waiting="NO_QUOTE") == 1


def test_kinds_that_are_not_known_count_and_change_nothing(metrics: ExecutorMetrics) -> None:
    told(metrics, line("NOVELTY", {"a": 1}), line("CONFIRMED", intent_id="x"), line("END", {"open_positions": 0}))
    assert value(metrics, "journal_lines_total", kind="NOVELTY") == 1


def test_label_values_are_bounded_whatever_the_lines_hold(metrics: ExecutorMetrics) -> None:
    for n in range(300):
        bad = {"error": f"code{chr(97 + n % 26)}{chr(97 + n // 26)}: x", "side": "BUY", "cost_lamports": 1}
        told(metrics, decided(f"leader {n}", f"CODE_{n}"), line("REVERTED", bad, intent_id=str(n)))
    told(metrics, line("REVERTED", {"error": "a secret with spaces and / signs", "side": "BUY", "cost_lamports": 1}))
    assert len(metrics.exposition()) < 40_000
    assert value(metrics, "decisions_total", code="other") == 300 - 64
    assert b"secret" not in metrics.exposition()


def test_series_of_leaders_who_left_the_release_end(metrics: ExecutorMetrics) -> None:
    told(metrics, decided("wallet"), decided("second"))
    metrics.set_leaders(["second", "third"])
    told(metrics, decided("wallet"))
    assert value(metrics, "signals_total", leader="wallet") is None
    assert (value(metrics, "signals_total", leader="second"), value(metrics, "signals_total", leader="other")) == (1, 1)


def test_every_metric_has_a_prefix_a_help_text_and_a_conventional_name(metrics: ExecutorMetrics) -> None:
    told(metrics, decided(intent="a"), fill("a", "BUY", 1_000, 10_000))
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        assert family.name.startswith((P, "process_")) and family.documentation
        assert family.type != "histogram" or family.name.endswith(("_seconds", "_ratio", "_slots", "_needed"))


# Following the files.


def wal(folder: Path, *lines: dict[str, Any]) -> Wal:
    made = Wal(folder)
    for one in lines:
        made.append(one)
    return made


def test_the_follower_takes_each_line_once(tmp_path: Path, metrics: ExecutorMetrics) -> None:
    follower = Follower(metrics, tmp_path)
    assert follower.step() == 0
    journal = wal(tmp_path, *(decided() for _ in range(25)))
    assert [follower.step() for _ in range(3)] == [20, 5, 0]
    journal.append(decided())
    journal.rotate({})
    journal.append(decided())
    while follower.step():
        pass
    assert value(metrics, "decisions_total", code="ACCEPTED") == 27


def test_a_start_knows_the_orders_of_the_newest_segments_snapshot(tmp_path: Path, metrics: ExecutorMetrics) -> None:
    journal = wal(tmp_path, decided(intent="a"))
    intent = plan("a", "BUY", 10_000, 1_000, 970)[1]
    journal.rotate({"intents": {"a": intent}})
    journal.append(fill("a", "BUY", 901, 10_000))
    assert Follower(metrics, tmp_path).step() == 1
    assert realised(metrics, "BUY") == (0.075, 0.1)
    assert value(metrics, "slippage_allowed_ratio_count", side="BUY") is None


def test_lines_that_were_deleted_before_they_were_read_are_left_out(tmp_path: Path, metrics: ExecutorMetrics) -> None:
    journal = wal(tmp_path, *(decided() for _ in range(30)))
    follower = Follower(metrics, tmp_path)
    follower.step()
    journal.rotate({})
    journal.append(decided())
    journal.rotate({})
    journal.append(decided())
    journal.drop_before(31)
    assert len(segments_of(tmp_path)) == 1
    while follower.step():
        pass
    assert value(metrics, "decisions_total", code="ACCEPTED") == 21


async def test_damaged_files_stop_the_numbers_and_nothing_else(
    tmp_path: Path, metrics: ExecutorMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    wal(tmp_path, *(decided() for _ in range(3))).close()
    path = segments_of(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"ACCEPTED", b"REJECTED", 1))
    await asyncio.wait_for(Follower(metrics, tmp_path).run(), 10)
    assert "metrics_stopped" in caplog.text and "damaged" in caplog.text


async def test_the_numbers_of_a_whole_run_are_those_of_its_summary(pg_url: str, executor_home: Path) -> None:
    publish(pg_url)
    dice, world = random.Random(5), World()
    world.next()
    for n in range(12):
        world.buy(LEADER, f"coin {n}", 1.0)
        world.next(dice.randint(1, 3))
        world.buy(OTHER, f"coin {n}", dice.choice([0.02, 0.05, 4.0]))
        world.next(4)
    world.next(80)
    tally = await trade(pg_url, world.updates(), settings())
    metrics = ExecutorMetrics()
    metrics.set_leaders([address(LEADER)])
    follower = Follower(metrics, executor_home / "executor" / "paper")
    while follower.step():
        pass
    assert tally.bought and tally.reverted, "the market shows too little"
    for code, n in tally.decisions.items():
        assert value(metrics, "decisions_total", code=code) == n
    ended = (("BUY", "landed"), ("SELL", "landed"))
    assert [value(metrics, "intents_total", side=s, outcome=o) for s, o in ended] == [tally.bought, tally.sold]
    failed = [value(metrics, "intents_total", side=side, outcome="failed") or 0 for side in ("BUY", "SELL")]
    assert sum(failed) == tally.reverted
    assert value(metrics, "realised_pnl_lamports", leader=address(LEADER)) == tally.pnl_lamports
    assert value(metrics, "slippage_realised_ratio_bucket", side="BUY", le="+Inf") == tally.bought
    fees = rows(pg_url, "SELECT sum(tx_fee_lamports) AS fees, sum(tip_lamports) AS tips FROM exec_fills")[0]
    assert sum(value(metrics, "tips_lamports_total", side=side) or 0 for side in ("BUY", "SELL")) == fees["tips"]


# Serving them.


def get(port: int, page: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


async def test_both_pages_show_the_moment(tmp_path: Path, metrics: ExecutorMetrics) -> None:
    wal(tmp_path, decided()).close()
    now = [Live("ACTIVE", 0.3, 0.001, 4, 1)]
    async with monitored(metrics, tmp_path, lambda: now[0], 0) as port:
        async with asyncio.timeout(10):
            while value(metrics, "decisions_total", code="ACCEPTED") is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        status, text = await asyncio.to_thread(get, port, "metrics")
        assert status == 200 and b'decisions_total{code="ACCEPTED"} 1.0' in text
        assert value(metrics, "open_positions") == 4 and value(metrics, "orders_in_flight") == 1
        status, text = await asyncio.to_thread(get, port, "healthz")
        assert (status, orjson.loads(text)["healthy"]) == (200, True)
        now[0] = Live("HALTED", 60.0, 0.001, 4)
        status, text = await asyncio.to_thread(get, port, "healthz")
        assert status == 503 and "silent for 60 s" in orjson.loads(text)["reason"]


async def test_a_port_that_is_taken_is_an_error_that_says_so(tmp_path: Path, metrics: ExecutorMetrics) -> None:
    async with monitored(metrics, tmp_path, lambda: Live("ACTIVE", 0, 0, 0), 0) as port:
        with pytest.raises(ConfigError, match=f"metrics port {port}"):
            async with monitored(ExecutorMetrics(), tmp_path, lambda: Live("ACTIVE", 0, 0, 0), port):
                pass


def test_the_page_for_operators_names_every_metric(metrics: ExecutorMetrics) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "executor.md").read_text()
    own = [family for family in metrics.registry.collect() if family.name.startswith(P)]
    names = [family.name.removeprefix(P) + ("_total" if family.type == "counter" else "") for family in own]
    assert len(names) > 20 and [name for name in names if f"`{name}`" not in page] == []
