"""The truth about a recorded market: who was planted how, and what happened to whom, as records and as a file.

An analysis that disagrees with it is wrong. How the events are told from balances is `simnet.settle`'s.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import zstandard
from solders.signature import Signature

from copytrader_core.errors import DataError
from simnet.tape import read_tape

__all__ = [
    "Edge",
    "Planted",
    "Truth",
    "TruthEvent",
    "read_truth",
    "write_truth",
    "write_wallets_db",
]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class TruthEvent:
    """One effect on one wallet. `n_parts` is the number of events that the programs emit for it.

    A buy that passes the curve's end is one row with two parts, its amounts the sums of both. CREATE has no amounts.
    """

    sig: str
    slot: int
    tx_index: int
    outer_ix: int
    wallet: str
    action: str
    mint: str
    quote_mint: str
    base_raw: int | None
    quote_raw: int | None
    n_parts: int
    tx_fee_lamports: int
    tip_lamports: int


@dataclass(frozen=True, slots=True)
class Planted:
    """A wallet of the market as it was planted. Times in ms, sizes in lamports; None: not of the role.

    `rising_share` is the share of its entries into coins that are going to rise, not the share of trips that win.
    """

    name: str
    wallet: str
    role: str
    style: str | None = None
    hold_ms: int | None = None
    target_x: float | None = None
    size_lamports: int | None = None
    rising_share: float | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A planted copier of a leader (or of another copier)."""

    leader: str
    follower: str
    probability: float
    lag_ms_p50: int


@dataclass(slots=True)
class Truth:
    """Everything planted and everything that came of it."""

    seed: int
    sessions: list[tuple[int, int]]
    planted: list[Planted] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    events: list[TruthEvent] = field(default_factory=list)
    n_transactions: int = 0
    n_failed: int = 0
    n_blocks: int = 0


def write_truth(truth: Truth, path: Path) -> None:
    """Writes the truth as JSON in one zstd frame, events as columns with addresses numbered.

    Signatures stay out: they do not compress, and the tape beside it has them under (slot, tx_index).
    """
    names = [f.name for f in fields(TruthEvent) if f.name != "sig"]
    rows = [[getattr(event, name) for name in names] for event in truth.events]
    columns = (
        dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {name: [] for name in names}
    )
    document = {**asdict(truth), "format": FORMAT, "events": {n: _packed(n, columns[n]) for n in names}}
    text = json.dumps(document, separators=(",", ":")).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.partial")
    staged.write_bytes(zstandard.ZstdCompressor(level=19).compress(text))
    staged.replace(path)


def tape_beside(path: Path | str) -> Path:
    """The tape that a truth file belongs to: NAME.truth.json.zst and NAME.tape.zst lie together."""
    return Path(path).with_name(Path(path).name.replace(".truth.json.zst", ".tape.zst"))


def read_truth(path: Path | str, tape: Path | str | None = None) -> Truth:
    """Reads what `write_truth` wrote, with the signatures of the tape beside it. Raises DataError for anything else."""
    try:
        document = json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(Path(path).read_bytes()))
    except (OSError, ValueError, zstandard.ZstdError) as error:
        raise DataError(f"the truth file {path} cannot be read: {error}; record the tape again") from error
    if document.get("format") != FORMAT:
        raise DataError(
            f"the truth file {path} has format {document.get('format')}, expected {FORMAT}: record the tape again"
        )
    columns = {f.name: _unpacked(document["events"][f.name]) for f in fields(TruthEvent) if f.name != "sig"}
    signatures = _signatures(tape or tape_beside(path))
    columns["sig"] = [signatures[place] for place in zip(columns["slot"], columns["tx_index"], strict=True)]
    return Truth(
        seed=document["seed"],
        sessions=[(start, end) for start, end in document["sessions"]],
        planted=[Planted(**row) for row in document["planted"]],
        edges=[Edge(**row) for row in document["edges"]],
        events=[TruthEvent(*row) for row in zip(*(columns[f.name] for f in fields(TruthEvent)), strict=True)],
        n_transactions=document["n_transactions"],
        n_failed=document["n_failed"],
        n_blocks=document["n_blocks"],
    )


def _signatures(tape: Path | str) -> dict[tuple[int, int], str]:
    return {
        (block.slot, info.index): str(Signature.from_bytes(info.signature))
        for block in read_tape(tape).blocks
        for info in block.transactions
    }


_NUMBERED = frozenset({"wallet", "mint", "quote_mint", "action"})


def _packed(name: str, values: list[Any]) -> Any:
    """Texts that repeat become numbers into a table; slots become steps, which compress to almost nothing."""
    if name in _NUMBERED:
        table = list(dict.fromkeys(values))
        numbers = {value: number for number, value in enumerate(table)}
        return {"table": table, "values": [numbers[value] for value in values]}
    if name == "slot":
        return {"steps": [value - before for value, before in zip(values, [0, *values], strict=False)]}
    return values


def _unpacked(column: Any) -> list[Any]:
    if not isinstance(column, Mapping):
        return list(column)
    if "table" in column:
        return [column["table"][number] for number in column["values"]]
    total, values = 0, []
    for step in column["steps"]:
        total += step
        values.append(total)
    return values


_WALLETS_SQL = """
CREATE TABLE groups (id INTEGER PRIMARY KEY, label TEXT NOT NULL);
CREATE TABLE wallets (
  id INTEGER PRIMARY KEY, wallet TEXT NOT NULL UNIQUE, name TEXT, group_id INTEGER REFERENCES groups(id), added_at TEXT
);
CREATE TABLE notes (wallet TEXT NOT NULL, note TEXT NOT NULL);
INSERT INTO groups VALUES (1, 'traders'), (2, 'others');
"""


def write_wallets_db(truth: Truth, path: Path | str, *, n_wallets: int = 24) -> int:
    """Writes the user's wallet list as an SQLite file: every leader by name, then others up to `n_wallets` in all.

    It has a `wallets` table (wallet, name, ...) among others; an existing file is replaced. Returns their number.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.partial")
    staged.unlink(missing_ok=True)
    order = {"leader": 0, "copier": 1, "sniper": 2, "creator": 3}
    chosen = sorted(truth.planted, key=lambda p: order.get(p.role, 9))[:n_wallets]
    rows = [(p.wallet, p.name, 1 if p.role == "leader" else 2, "2026-10-11") for p in chosen]
    database = sqlite3.connect(staged)
    try:
        database.executescript(_WALLETS_SQL)
        database.executemany("INSERT INTO wallets (wallet, name, group_id, added_at) VALUES (?, ?, ?, ?)", rows)
        database.execute("INSERT INTO notes VALUES (?, 'watch closely')", (chosen[0].wallet,))
        database.commit()
    finally:
        database.close()
    staged.replace(path)
    return len(rows)
