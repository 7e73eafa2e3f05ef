"""The page: right numbers, one self-contained file, and words where there is nothing yet."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import psycopg
import pytest
import zstandard
from click.testing import CliRunner

from copytrader_cli.main import cli
from copytrader_cli.report.leaders import MAX_ROWS
from copytrader_core.errors import DataError
from copytrader_core.settings import settings
from tests.report.planted import SOL, large_lake, many_positions, small_database, small_lake, wallet


@pytest.fixture
def lake(home: Path, pg_url: str) -> Iterator[Path]:
    """A small lake and database."""
    small_lake(settings().lake_path)
    with psycopg.connect(pg_url) as connection:
        small_database(connection)
    yield settings().lake_path


def written(*options: str) -> str:
    result = CliRunner().invoke(cli, ["report", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Path(result.output.strip()).read_text(encoding="utf-8")


def tiles(page: str) -> dict[str, tuple[str, str]]:
    found = re.findall(r'<div class="tile"><span>(.*?)</span><b>(.*?)</b><small>(.*?)</small>', page)
    return {name: (re.sub("<.*?>", "", value), note) for name, value, note in found}


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
    page = written()
    assert set(re.findall(r'href="#(.*?)"', page)) <= set(re.findall(r'id="(.*?)"', page))


def test_leaders_are_ordered_by_their_score_and_few_trades_are_faint_but_there(lake: Path) -> None:
    rows = re.findall(r'<tr style="opacity:([\d.]+)">(.*?)</tr>', written())
    assert [opacity for opacity, _ in rows[:2]] == ["1.00", "0.38"]
    assert "Ada" in rows[0][1]
    assert wallet(2) in rows[1][1]


def test_paper_trades_show_multiple_result_and_reason(lake: Path) -> None:
    page = written()
    row = next(row for row in re.findall(r"<tr>.*?</tr>", page) if 'title="CoinA"' in row)
    assert [re.sub("<.*?>", "", part) for part in re.findall(r"<td.*?</td>", row)] == [
        "Ada", "CoinA", "04 Mar 12:00:00", "1.000", "12 s", "timer", "1.25×", "+0.250",
    ]  # fmt: skip
    assert "still open" in page
    assert ">ACCEPTED</text>" in page
    assert ">GATE_WIN_RATE</text>" in page


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


def test_a_short_list_has_a_section_for_each_of_its_leaders_and_is_still_small(home: Path, pg_url: str) -> None:
    large_lake(settings().lake_path, n_wallets=30, trips_each=400)
    with psycopg.connect(pg_url) as connection:
        many_positions(connection, 200)
    page = written()
    assert len(re.findall(r'class="card person"', page)) == 24
    assert "6 more wallets stand in the table above" in page
    assert len(page.encode()) < 500_000


def test_hundreds_of_wallets_stay_below_half_a_megabyte_and_are_all_listed(
    home: Path, pg_url: str, tmp_path: Path
) -> None:
    large_lake(settings().lake_path, n_wallets=318, trips_each=60)
    with psycopg.connect(pg_url) as connection:
        many_positions(connection, 200)
    started = time.monotonic()
    page = written("--out", str(tmp_path / "large.html"))
    assert time.monotonic() - started < 15
    assert len(page.encode()) < 500_000
    assert all(f"Trader number {n}<" in page for n in range(318))


def test_of_thousands_of_wallets_the_first_are_shown_and_the_rest_is_named(home: Path, pg_url: str) -> None:
    large_lake(settings().lake_path, n_wallets=1_000, trips_each=2)
    page = written()
    assert len(page.encode()) < 500_000
    assert f"{1_000 - MAX_ROWS} more: <code>copytrader sql" in page
