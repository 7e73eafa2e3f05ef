"""One contender of the copy network's race, in a process of its own: its memory is its own, imports included.

`python -m benchmarks.network_race NAME FOLDER` takes the coded first buys from FOLDER, does its work once for every
line that it reads, and answers each with a line of JSON. Not here: the planted day, and who is faster (network.py).
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

COLUMNS = ("mint", "wallet", "slot", "tx")
SLOT_MS = 400.0
HORIZON = 75
MIN_FOLLOWED = 5
Ints: TypeAlias = npt.NDArray[np.int64]
Columns: TypeAlias = Mapping[str, Ints]
Pairs: TypeAlias = tuple[Ints, Ints, Ints]
"""Leaders, followers, and how often each followed."""
Contender: TypeAlias = Callable[[], Pairs]


def save(folder: Path, columns: Columns, leaders: Ints) -> None:
    """Puts the coded first buys where contenders find them."""
    for name, values in {**columns, "leaders": leaders}.items():
        np.save(folder / f"{name}.npy", values)


def ours(columns: Columns, leaders: Ints) -> Contender:
    """Put in place, swept, tested and corrected."""
    from copytrader_assets.analysis.chance import benjamini_hochberg, poisson_tail
    from copytrader_assets.analysis.first_buys import FirstBuys
    from copytrader_assets.analysis.follow_sweep import sweep
    from copytrader_assets.analysis.found_edges import testable_pairs
    from copytrader_assets.analysis.habits import Habits

    day = _Day(columns)

    def work() -> Pairs:
        buys = FirstBuys.of_days([day])
        swept = sweep(buys, Habits.of(buys, SLOT_MS), leaders, HORIZON, MIN_FOLLOWED)
        p = poisson_tail(swept.followed, swept.expected)
        assert (benjamini_hochberg(p, testable_pairs(buys, leaders, MIN_FOLLOWED)) <= 0.05).any()
        return swept.leader, swept.follower, swept.followed

    return work


@dataclass(frozen=True, slots=True)
class _Day:
    """The coded day without names: the others have none either."""

    columns: Columns

    def names(self) -> tuple[pa.Array, pa.Array]:
        """The codes as texts."""
        coins, wallets = (int(self.columns[name].max()) + 1 for name in ("mint", "wallet"))
        return pa.array(np.arange(coins)).cast(pa.string()), pa.array(np.arange(wallets)).cast(pa.string())

    def coins(self) -> tuple[Ints, int]:
        """The coin of each row, and the first slot."""
        return self.columns["mint"], int(self.columns["slot"].min())

    def buys(self) -> object:
        """The rows."""
        from copytrader_assets.analysis.day_buys import DayBuys

        none, c = pa.array([], pa.string()), self.columns
        return DayBuys(none, none, c["mint"], c["wallet"], c["slot"], c["tx"], np.zeros(len(c["mint"])))


def with_pandas(columns: Columns, leaders: Ints) -> Contender:
    """A merge on the coin."""
    import pandas as pd

    frame = pd.DataFrame(dict(columns))

    def work() -> Pairs:
        met = frame[frame.wallet.isin(leaders)].merge(frame, on="mint", suffixes=("_l", "_f"))
        lag = met.slot_f - met.slot_l
        later = (lag > 0) | ((lag == 0) & (met.tx_f > met.tx_l))
        counts = met[later & (lag <= HORIZON)].groupby(["wallet_l", "wallet_f"]).size()
        often = counts[counts >= MIN_FOLLOWED].rename("n").reset_index()
        return often.wallet_l.to_numpy(), often.wallet_f.to_numpy(), often.n.to_numpy()

    return work


def with_duckdb(columns: Columns, leaders: Ints) -> Contender:
    """A join on the coin."""
    import duckdb

    buys, led = pa.table(dict(columns)), pa.table({"wallet": leaders})

    def work() -> Pairs:
        with duckdb.connect(":memory:") as connection:
            connection.register("buys", buys)
            connection.register("leaders", led)
            rows = connection.execute(
                "SELECT l.wallet AS leader, f.wallet AS follower, count(*) AS n"
                " FROM buys l JOIN leaders USING (wallet) JOIN buys f ON f.mint = l.mint"
                f" WHERE f.slot <= l.slot + {HORIZON} AND (f.slot > l.slot OR (f.slot = l.slot AND f.tx > l.tx))"
                f" GROUP BY 1, 2 HAVING count(*) >= {MIN_FOLLOWED}"
            ).fetchnumpy()
        return rows["leader"], rows["follower"], rows["n"]

    return work


def with_polars(columns: Columns, leaders: Ints) -> Contender:
    """A lazy join on the coin."""
    from importlib import import_module

    pl = import_module("polars")
    buys = pl.DataFrame(dict(columns)).lazy()

    def work() -> Pairs:
        met = buys.filter(pl.col("wallet").is_in(leaders.tolist())).join(buys, on="mint", suffix="_f")
        lag = pl.col("slot_f") - pl.col("slot")
        later = (lag > 0) | ((lag == 0) & (pl.col("tx_f") > pl.col("tx")))
        counts = met.filter(later & (lag <= HORIZON)).group_by("wallet", "wallet_f").len()
        rows = counts.filter(pl.col("len") >= MIN_FOLLOWED).collect()
        return rows["wallet"].to_numpy(), rows["wallet_f"].to_numpy(), rows["len"].to_numpy()

    return work


CONTENDERS: Mapping[str, Callable[[Columns, Ints], Contender]] = {
    "sweep + null + BH": ours,
    "pandas merge": with_pandas,
    "DuckDB join on the coin": with_duckdb,
    "Polars join": with_polars,
}


def main() -> None:
    """Answers every line with CPU seconds, peak memory before and after in MB, and a digest of the counts."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    columns = {column: np.load(folder / f"{column}.npy") for column in COLUMNS}
    contender = CONTENDERS[name](columns, np.load(folder / "leaders.npy"))
    before = _peak_mb()
    for _ in sys.stdin:
        began = time.process_time()
        pairs = contender()
        seconds = time.process_time() - began
        answer = {"seconds": seconds, "before": before, "peak": _peak_mb(), "counted": _digest(pairs)}
        print(json.dumps(answer), flush=True)


def _peak_mb() -> float:
    """Linux' own count where there is one: the other one keeps what the parent held when this process began."""
    status = Path("/proc/self/status")
    if status.exists():
        (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _digest(pairs: Pairs) -> str:
    """The same for the same counts, in whatever order they come."""
    leader, follower, n = (np.asarray(column, np.int64) for column in pairs)
    order = np.lexsort((follower, leader))
    return hashlib.sha256(np.stack([leader, follower, n])[:, order].tobytes()).hexdigest()


if __name__ == "__main__":
    main()
