"""Leaders by copy value, fingerprints, backtest, guards and calibration: right numbers, and – where none is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from copytrader_cli.main import cli
from copytrader_core.errors import DataError
from copytrader_core.settings import settings
from tests.report.pages import facts, section, tiles, words, written
from tests.report.planted import (
    NOON_NS,
    backtest_document,
    large_lake,
    publish,
    small_database,
    small_lake,
    small_values,
    values_of,
    wallet,
)


@pytest.fixture
def lake(home: Path, pg_url: str) -> Iterator[Path]:
    """The small lake with copy values of its second leader."""
    small_lake(settings().lake_path)
    small_values(settings().lake_path)
    with psycopg.connect(pg_url) as connection:
        small_database(connection)
    yield settings().lake_path


def keep_backtest(home: Path) -> None:
    (home / "backtest.json").write_text(json.dumps(backtest_document()))


def test_a_known_value_ranks_before_an_unknown_one_which_has_none_and_not_zero(lake: Path) -> None:
    valued, unknown = facts(written())["people"]
    assert (valued["a"], unknown["a"]) == (wallet(2), wallet(1))
    assert "v" not in unknown
    assert "y" not in unknown
    v = valued["v"]
    assert (v["x"], v["v"], v["t"], v["c"]) == ([200, 100, 300], "COPY", "PROBATION", [1.5, 0.5, 2.0])
    assert v["d"] == [[210, 200, 140], [110, 100, 40], [310, 300, 240]], "value, low, high by slots late"
    assert len(v["g"]) == 9


def test_both_lines_stand_at_the_same_stake(lake: Path) -> None:
    """The wallet made half of 2 SOL in one trip; a copy has 0.5 SOL. Copies made 0.1 - 0.05 + 0.2 SOL."""
    valued = facts(written())["people"][0]
    assert valued["w"][1::2] == [250_000]
    assert valued["y"][1::2] == [100_000, 50_000, 250_000]
    assert valued["y"][0] == NOON_NS // 10**9 + 20
    assert valued["y"][2::2] == [60, 60]


def test_the_chosen_exit_stands_first_and_the_seeds_beside_it_with_the_paired_difference(lake: Path) -> None:
    rules = facts(written())["people"][0]["e"]
    assert [rule[0] for rule in rules] == ["timer=20s", "seed", "mirror"]
    assert rules[0] == ["timer=20s", 3, 200, 100, 300, 150, 50, 250, 1]
    assert rules[1][5:8] == [None, None, None]


def test_the_survival_of_the_lake_is_drawn_where_there_is_one(lake: Path) -> None:
    valued = facts(written())["people"][0]
    assert valued["hs"] == [5_000, 500, 30_000, 0]
    assert valued["ms"] == [1_200, 500, 2_000, 0]


def test_the_headline_says_how_many_are_worth_copying(lake: Path) -> None:
    assert tiles(written())["worth copying"] == ("1", "0 unproven, 0 uncopyable")


def test_without_a_replay_nothing_is_said_to_be_worth_zero(home: Path, pg_url: str) -> None:
    small_lake(settings().lake_path)
    page = written()
    assert tiles(page)["worth copying"] == ("–", "no copy has been replayed")
    assert tiles(page)["paper PnL, SOL"] == ("–", "no closed trade")
    assert "is not known: no day has been replayed yet" in section(page, "leaders")


def test_the_kept_backtest_is_shown_beside_its_baselines_and_the_wallets(lake: Path, home: Path) -> None:
    keep_backtest(home)
    page = written()
    backtest = section(page, "backtest")
    assert "From HOME/backtest.json, 2026-03-03 to 2026-03-04" in words(backtest)
    found = tiles(backtest)
    assert found["policy"] == ("+0.25 SOL", "2 bought, deepest fall 0.12")
    assert found["seed policy"] == ("−1.00 SOL", "3 bought, deepest fall 1.00")
    lines = {line[0]: line[2] for line in facts(page)["lines"]["equity"]["l"]}
    assert lines["if I had followed (policy)"] == [0.5, 0.25]
    assert lines["wallets, same buys and stakes"] == [None, 0.0], "the wallet's own trip of that coin broke even"
    falls = {line[0]: line[2] for line in facts(page)["lines"]["drawdown"]["l"]}
    assert falls["if I had followed (policy)"] == [0.0, -0.25]
    assert falls["seed policy"] == [-1.0, -1.0]


def test_a_guard_of_which_nothing_could_be_followed_has_no_result(lake: Path, home: Path) -> None:
    keep_backtest(home)
    guards = words(section(written(), "guards"))
    assert "−1.00 of 8" in guards
    assert "0 of 9 followed" in guards
    assert "no market 0.00" not in guards
    assert "9 · 1" in guards, "refused by the win rate in the backtest and in own trading"


def test_the_shadow_book_of_own_trading_stands_beside_that_of_the_backtest(lake: Path) -> None:
    signal = {"mode": "paper", "leader": wallet(1), "spend_lamports": 10**9}
    results = [("A", "LANDED", -(10**9)), ("B", "LANDED", 4 * 10**8), ("C", "NO_MARKET", None)]
    shadows = [
        signal | {"mint": mint, "sig": mint, "code": "PER_MINT", "outcome": outcome, "pnl_lamports": pnl}
        for mint, outcome, pnl in results
    ]
    publish(lake, "shadow_book", shadows)
    publish(lake, "parity", [signal | {"mint": m, "sig": m, "code": "ACCEPTED", "cause": "none"} for m in "AB"])
    page = written()
    guards = words(section(page, "guards"))
    assert "in own trading (paper), SOL" in guards
    assert "−0.60 of 2" in guards
    assert "of 2 decisions 2 as replayed" in words(section(page, "own"))


def test_without_a_tape_or_a_backtest_the_page_says_what_to_run(lake: Path) -> None:
    page = written()
    for name in ("backtest", "guards"):
        assert "copytrader backtest --from DAY --to DAY" in section(page, name)
    assert set(facts(page)["lines"]) == {"own"}


def test_a_file_that_is_no_backtest_is_named(lake: Path, home: Path) -> None:
    (home / "backtest.json").write_text("{")
    with pytest.raises(DataError, match=r"backtest\.json is no backtest: run"):
        CliRunner().invoke(cli, ["report"], catch_exceptions=False)


def test_calibration_shows_reliability_landing_and_tiers(lake: Path) -> None:
    calibration = section(written(), "calibration")
    assert calibration.count("copies</title>") == 5
    assert tiles(calibration)["probation"][0] == "1"
    assert "expected 90 %" in calibration
    assert "realised 80 %" in calibration
    assert "Entry premium" not in calibration, "none is known"


def test_what_the_wallet_made_of_our_buy_and_what_was_expected_stand_beside_our_result(lake: Path, pg_url: str) -> None:
    who = wallet(1)
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE exec_positions SET mint = 'Coin5', leader_sig = %s WHERE position_id = 'p1'", (f"sig{who}5",)
        )
        connection.execute(
            "UPDATE exec_journal SET leader_sig = %s, mint = 'Coin5', payload = payload || "
            """'{"decision": {"code": "ACCEPTED", "numbers": {"copy_mean_x": 0.5}}}' """
            "WHERE seq = (SELECT min(seq) FROM exec_journal)",
            (f"sig{who}5",),
        )
    page = written()
    row = next(row for row in re.findall(r"<tr>.*?</tr>", page) if 'title="Coin5"' in row)
    assert words(row).split()[-4:] == ["1.25×", "1.20×", "+0.500", "+0.250"]
    lines = {line[0]: line[2] for line in facts(page)["lines"]["own"]["l"]}
    assert lines == {
        "if I had followed (realised)": [0.25],
        "expected by the decisions": [0.5],
        "wallets, same buys and stakes": [0.2],
    }


def test_every_section_says_where_its_numbers_come_from(lake: Path, home: Path) -> None:
    keep_backtest(home)
    page = written()
    for name in ("leaders", "network", "backtest", "guards", "calibration", "own", "ingest"):
        assert '<span class="from">' in section(page, name), name


def test_a_name_cannot_end_the_script_turn_the_text_or_fill_the_page(lake: Path, pg_url: str) -> None:
    evil = "</script><img src=x>\u202egnp\u0000." + "\n" + "long " * 50
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("UPDATE wallets SET alias = %s WHERE wallet = %s", (evil.replace("\u0000", ""), wallet(2)))
    page = written()
    assert page.count("</script>") == 2
    assert "<img" not in page
    assert "\u202e" not in page
    name = facts(page)["people"][0]["n"]
    assert name.startswith("</script><img src=x>gnp. long")
    assert len(name) == 40


def test_three_hundred_leaders_with_values_fit_and_keep_their_intervals(home: Path, pg_url: str) -> None:
    large_lake(settings().lake_path, n_wallets=318, trips_each=40)
    publish(
        settings().lake_path,
        "copy_value",
        [row for n in range(318) for row in values_of(wallet(n), 0.3 - n / 500, reason="why it is so " * 9)],
    )
    page = written()
    assert len(page.encode()) < 500_000
    people = facts(page)["people"]
    assert [one["a"] for one in people] == [wallet(n) for n in range(318)]
    assert all(one["v"]["x"][1] < one["v"]["x"][0] < one["v"]["x"][2] for one in people)
    assert people[0]["v"]["x"][0] == 300


def quiet_tape(root: Path) -> None:
    """A recorded day on which nobody traded."""
    publish(root, "tape", [])
    publish(root, "tape_slots", [{"slot": n, "seconds": NOON_NS // 10**9 + n} for n in range(1, 4)])


def test_where_a_day_is_recorded_and_no_backtest_kept_the_report_walks_it_and_says_so(lake: Path) -> None:
    quiet_tape(lake)
    assert "this report walked 2026-03-04 to 2026-03-04 itself" in words(section(written(), "backtest"))
    assert "no recorded day (tape) was walked" in section(written("--no-walk"), "backtest")


def test_a_backtest_is_kept_where_the_report_finds_it(lake: Path, home: Path) -> None:
    quiet_tape(lake)
    result = CliRunner().invoke(cli, ["backtest", "--from", "2026-03-04", "--to", "2026-03-04"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert json.loads((home / "backtest.json").read_text())["from"] == "2026-03-04"
    backtest = words(section(written(), "backtest"))
    assert "From HOME/backtest.json" in backtest
    assert "Nothing was bought from 2026-03-04 to 2026-03-04: 0 signals" in backtest


def late(slots: list[int], shares: list[float], lost: float, n: int) -> dict[str, object]:
    mean = sum(at * share for at, share in zip(slots, shares, strict=True))
    return {"slots": slots, "shares": shares, "lost_share": lost, "mean_slots": mean, "n_orders": n}


def test_expected_and_measured_slots_late_stand_beside_each_other(lake: Path, home: Path) -> None:
    usual = late([2], [1.0], 0.0, 0)
    model = {"name": "measured-x", "as_of": "2026-03-03", "days": ["2026-03-04"]}
    model |= {"measured": {"BUY": late([1, 3, 40], [0.5, 0.3, 0.2], 0.25, 120), "SELL": late([4], [1.0], 0.0, 90)}}
    document = backtest_document() | {"landing": [model | {"expected": {"BUY": usual, "SELL": usual}}]}
    (home / "backtest.json").write_text(json.dumps(document))
    shown = section(written(), "backtest")
    titles = [re.sub(r"\s", "", title) for title in re.findall("<title>([^<]*: [^<]*%)</title>", shown)]

    assert {"2:100%", "1:38%", "lost:25%", "16+:15%"} <= {*titles}
    assert "120 live buys of ours up to 2026-03-03" in words(shown)


def test_a_backtest_that_drew_by_the_settings_says_so(lake: Path, home: Path) -> None:
    usual = {"BUY": late([2], [1.0], 0.0, 0)}
    models = [{"name": "settings", "as_of": None, "days": ["2026-03-04"], "measured": usual, "expected": usual}]
    (home / "backtest.json").write_text(json.dumps(backtest_document() | {"landing": models}))

    assert "drawn as the settings say: 2.0 slots late" in words(section(written(), "backtest"))


def test_each_guard_is_shown_by_itself(lake: Path, home: Path) -> None:
    document = backtest_document()
    document["guards"][0] |= {
        "alone": 4, "alone_followed": 4, "alone_lamports": 2 * 10**9, "alone_low_lamports": -(10**9),
        "alone_high_lamports": 3 * 10**9,
    }  # fmt: skip
    pairs = [("GATE_WIN_RATE", "GATE_WIN_RATE", 9), ("GATE_WIN_RATE", "LOCKED", 5), ("LOCKED", "LOCKED", 6)]
    document["guard_overlaps"] = [{"code": code, "other": other, "n": n} for code, other, n in pairs]
    (home / "backtest.json").write_text(json.dumps(document))
    first, second = re.findall("<tbody>(.*?)</tbody>", section(written(), "guards"))[0].split("</tr>")[:2]

    assert words(first).split() == ["gate", "win", "rate", "9", "4", "+2.00", "−1.00", "to", "+3.00", "locked", "5"]
    assert words(second).split() == ["locked", "6", "0", "–", "gate", "win", "rate", "5"]
