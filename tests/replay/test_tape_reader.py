"""A day's tape comes back from the lake as it was put there, and reading it loads nothing that it does without."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from copytrader_assets.lake import Lake
from copytrader_assets.tape_reader import TapeColumns, read_tape
from copytrader_assets.tape_schemas import TAPE, TAPE_SLOTS
from copytrader_core.errors import DataError
from copytrader_core.replay.tape import FEES, NEXT_FEES, Tape

DAY = dt.date(2026, 10, 13)
HEAVY = ("pandas", "psycopg", "duckdb", "upath", "scipy.linalg", "dagster")


def rows(n: int = 2_000, seed: int = 1) -> pa.Table:
    """Trades of a few wallets and coins; transactions hold up to three."""
    rng = np.random.default_rng(seed)
    tx = np.sort(rng.integers(0, n // 2, n))
    columns: dict[str, Any] = {
        field.name: rng.integers(0, 100, n) for field in TAPE.arrow if pa.types.is_integer(field.type)
    }
    columns |= {"tx": tx, "slot": 1_000 + tx // 9, "venue": rng.integers(0, 3, n), "is_buy": rng.random(n) < 0.5}
    columns["sig"] = [f"sig{one}" for one in tx]
    columns["wallet"] = [f"wallet{one}" for one in rng.integers(0, 40, n)]
    columns["mint"] = [f"mint{one}" for one in rng.integers(0, 25, n)]
    columns["quote_mint"] = [None if one else "sol" for one in rng.random(n) < 0.2]
    return TAPE.conform(pa.table(columns))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake with one day's tape."""
    found = Lake.at(tmp_path / "lake")
    slots = TAPE_SLOTS.conform(pa.table({"slot": [1_000, 1_001, 1_007], "seconds": [50, 51, 53]}))
    found.publish([found.stage(TAPE.name, DAY, rows(), {}), found.stage(TAPE_SLOTS.name, DAY, slots, {})])
    return found


def texts_of(tape: Tape) -> list[tuple[str, str]]:
    """(wallet, mint) by row, as the tape's codes give them."""
    return [(tape.wallets[wallet], tape.mints[coin]) for wallet, coin in zip(tape.wallet, tape.coin, strict=True)]


def test_a_tape_is_what_was_published(lake: Lake) -> None:
    table, day = rows(), read_tape(lake, DAY, [])
    tape = day.tape
    assert texts_of(tape) == list(zip(table["wallet"].to_pylist(), table["mint"].to_pylist(), strict=True))
    for name, values in {"slot": tape.slot, "tx": tape.tx, "is_buy": tape.is_buy, "net_raw": tape.net}.items():
        assert values.tolist() == table[name].to_pylist()
    for names, values in ((FEES, tape.fees), (NEXT_FEES, tape.next_fees)):
        assert [column.tolist() for column in values.T] == [table[name].to_pylist() for name in names]
    assert day.ts_ns.tolist() == table["ts_ns"].to_pylist()
    assert (day.slots.tolist(), day.seconds.tolist()) == ([1_000, 1_001, 1_007], [50, 51, 53])


def test_texts_are_kept_of_whole_transactions_in_which_a_wallet_trades(lake: Lake) -> None:
    table = rows()
    sigs, quotes, tx, wallets = (table[name].to_pylist() for name in ("sig", "quote_mint", "tx", "wallet"))
    mine = {tx[row] for row, wallet in enumerate(wallets) if wallet == "wallet7"}
    expected = {row: (sigs[row], quotes[row] or "") for row in range(len(tx)) if tx[row] in mine}
    assert dict(read_tape(lake, DAY, ["wallet7", "nobody"]).texts) == expected


def test_a_tape_in_parts_is_the_tape_in_one() -> None:
    """Each part with a dictionary of its own, or with none."""
    table = rows()
    whole, parted = TapeColumns(len(table)), TapeColumns(len(table))
    whole.take((name, 0, table[name]) for name in whole.arrays)
    for name in parted.arrays:
        for first in range(0, len(table), 300):
            part = table[name].slice(first, 300)
            parted.take([(name, first, part.dictionary_encode() if first % 600 and name == "mint" else part)])
    one, other = whole.tape()[0], parted.tape()[0]
    for name in Tape.__slots__:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_pairs_are_numbered_by_coin_and_then_by_wallet() -> None:
    columns = TapeColumns(2_000)
    columns.take((name, 0, rows()[name]) for name in columns.arrays)
    tape = columns.tape()[0]
    key = tape.coin.astype(np.int64) * len(tape.wallets) + tape.wallet
    distinct, place = np.unique(key, return_inverse=True)
    assert tape.pair.tolist() == place.tolist()
    begins = np.searchsorted(distinct, np.arange(len(tape.mints) + 1) * len(tape.wallets))
    assert tape.first_pair.tolist() == begins.tolist()


@pytest.mark.parametrize("column", ["slot", "tx"])
def test_a_tape_that_goes_back_is_refused(column: str) -> None:
    table = rows()
    values = table[column].to_numpy().copy()
    values[5] = values[6] + 1
    columns = TapeColumns(len(table))
    columns.take((name, 0, table[name]) for name in columns.arrays)
    columns.arrays[column][:] = values
    with pytest.raises(DataError, match="chain order"):
        columns.tape()


def test_a_day_without_trades_is_an_empty_tape(tmp_path: Path) -> None:
    lake = Lake.at(tmp_path)
    empty = [lake.stage(table.name, DAY, table.conform(table.arrow.empty_table()), {}) for table in (TAPE, TAPE_SLOTS)]
    lake.publish(empty)
    day = read_tape(lake, DAY, ["wallet7"])
    assert (len(day.tape), day.tape.n_pairs, len(day.slots), dict(day.texts)) == (0, 0, 0, {})


def test_a_backtest_loads_no_data_frames_and_no_database(lake: Lake) -> None:
    """Together they take a hundred MB beside a tape of a million trades, which takes 120."""
    script = (
        "import sys, datetime as dt; import copytrader_cli.commands.backtest; from copytrader_assets.lake import Lake;"
        "from copytrader_assets.tape_reader import read_tape;"
        f"read_tape(Lake.at({str(lake.root)!r}), dt.date.fromisoformat('{DAY}'), ['wallet7']);"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
