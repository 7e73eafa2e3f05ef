"""The page: right numbers, one self-contained file, and words where there is nothing yet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import psycopg
import pytest
import zstandard
from click.testing import CliRunner

from copytrader_cli.main import cli
from copytrader_cli.report.collect import short
from copytrader_core.errors import DataError
from copytrader_core.settings import settings
from tests.report.pages import facts, tiles, written
from tests.report.planted import SOL, large_lake, many_positions, small_database, small_lake, wallet


@pytest.fixture
def lake(home: Path, pg_url: str) -> Iterator[Path]:
    """A small lake and database."""
    small_lake(settings().lake_path)
    with psycopg.connect(pg_url) as connection:
        small_database(connection)
    yield settings().lake_path


class _Balance(HTMLParser):
    """Counts tags that are opened and not closed, and keeps every reference to the outside."""

    void = frozenset({"meta", "line", "rect", "circle", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag


def test_the_headline_counts_what_is_there(lake: Path) -> None:
    found = tiles(written())
    assert found["events"] == ("12", "3 wallets, 12 coins")
    assert found["wallets tracked"] == ("3", "2 with a fingerprint")
    assert found["days"] == ("1", "04 Mar to 04 Mar 2026")
    assert found["paper PnL, SOL"] == ("+0.20", "1 closed, 1 won"), "0.25 won, 0.05 lost with a reverted transaction"
    assert found["open positions"] == ("1", "trading is ACTIVE")
    assert found["ingest gaps"] == ("1", "0 filled, 0 not decoded")


def test_the_file_stands_alone_and_is_well_formed(lake: Path) -> None:
    page = written()
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []
    assert all(reference.startswith("#") for reference in parser.references)
    assert not re.search(r"https?://|@import|url\(", page)


def test_every_link_within_the_page_arrives(lake: Path) -> None:
    html = re.sub(r"<script.*?</script>", "", written(), flags=re.DOTALL)
    assert set(re.findall(r'href="#(.*?)"', html)) <= set(re.findall(r'id="(.*?)"', html))


def test_leaders_without_a_value_are_ordered_by_their_score_and_few_trades_are_faint_but_there(lake: Path) -> None:
    people = facts(written())["people"]
    assert [(one["n"], one["k"]) for one in people] == [("Ada", 1.0), (short(wallet(2)), 0.38)]
    assert people[1]["a"] == wallet(2)


def test_paper_trades_show_multiple_result_and_reason(lake: Path) -> None:
    page = written()
    row = next(row for row in re.findall(r"<tr>.*?</tr>", page) if 'title="CoinA"' in row)
    assert [re.sub("<.*?>", "", part) for part in re.findall(r"<td.*?</td>", row)] == [
        "Ada", "CoinA", "04 Mar 12:00:00", "1.000", "12 s", "timer", "1.25×", "–", "–", "+0.250",
    ]  # fmt: skip
    assert "still open" in page
    assert "3 leader buys were judged, 2 accepted" in page


def test_open_gaps_are_listed_and_text_from_outside_is_escaped(lake: Path) -> None:
    page = written()
    assert "10 – 19" in page
    assert "broadcast &lt;lost&gt;" in page
    assert "<lost>" not in page


def test_names_cannot_inject_markup(lake: Path, pg_url: str) -> None:
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("UPDATE wallets SET alias = %s WHERE wallet = %s", ('<img src=x onerror="x">', wallet(2)))
        connection.execute("UPDATE exec_positions SET exit_reason = '<b>x</b>', leader = %s", (wallet(2),))
    page = written()
    assert "<img" not in page
    assert "<b>x</b>" not in page


def test_an_empty_home_gives_a_page_that_says_what_to_run(home: Path, pg_url: str) -> None:
    page = written()
    for command in (
        "copytrader ingest",
        "copytrader materialize",
        "copytrader executor run --mode paper",
        "copytrader wallets import",
    ):
        assert command in page
    assert tiles(page)["events"][0] == "0"


@pytest.mark.parametrize("packed", [True, False])
def test_with_the_truth_it_tells_what_was_found_missed_and_invented(lake: Path, tmp_path: Path, packed: bool) -> None:
    truth = tmp_path / "market.truth.json"
    people = [("Ada", 1, "time_stop", 30_000), ("Bob", 2, "target_x", 60_000), ("Echo", 3, None, None)]
    document = {
        "planted": [
            {"name": name, "wallet": wallet(n), "style": style, "hold_ms": hold, "target_x": 1.2, "size_lamports": SOL}
            for name, n, style, hold in people
        ],
        "edges": [
            {"leader": wallet(1), "follower": wallet(3), "probability": 0.8, "lag_ms_p50": 1_000},
            {"leader": wallet(2), "follower": wallet(3), "probability": 0.5, "lag_ms_p50": 2_000},
        ],
    }  # fmt: skip
    content = json.dumps(document).encode()
    truth.write_bytes(zstandard.compress(content) if packed else content)
    page = written("--truth", str(truth))
    found = tiles(page)
    assert found["edge precision"] == ("100 %", "1 of 1 found")
    assert found["edge recall"] == ("50 %", "1 of 2 planted")
    assert found["exit styles right"] == ("50 %", "1 of 2 leaders")
    words = re.sub("<.*?>", " ", page)
    assert re.search(r"30 s → 30 s\s+±0 %", words)
    assert re.search(r"80 % → 70 %\s+−10 points", words)
    assert re.search(r"1 s → 1.2 s\s+\+20 %", words)
    assert "missed" in words


def test_a_file_that_is_no_truth_says_which_one_to_name(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"events": []}')
    with pytest.raises(DataError, match="name the one beside the tape"):
        CliRunner().invoke(cli, ["report", "--truth", str(tmp_path / "x.json")], catch_exceptions=False)


def test_hundreds_of_wallets_stay_below_half_a_megabyte_and_each_has_its_page(
    home: Path, pg_url: str, tmp_path: Path
) -> None:
    large_lake(settings().lake_path, n_wallets=318, trips_each=60)
    with psycopg.connect(pg_url) as connection:
        many_positions(connection, 200)
    page = written("--out", str(tmp_path / "large.html"))
    assert len(page.encode()) < 500_000
    people = facts(page)["people"]
    assert {one["n"] for one in people} == {f"Trader number {n}" for n in range(318)}
    assert all(one["hs"] and one["w"] and sum(one["hr"]) == 60 for one in people)


def test_of_thousands_of_wallets_the_first_are_shown_and_the_rest_is_named(home: Path, pg_url: str) -> None:
    large_lake(settings().lake_path, n_wallets=2_000, trips_each=2)
    page = written()
    assert len(page.encode()) < 500_000
    shown = len(facts(page)["people"])
    assert 300 < shown < 2_000
    assert f"{2_000 - shown:,} more: <code>copytrader sql" in page
