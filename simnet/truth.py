"""What really happened on the local chain, told from balances: never from program events, instruction arguments or our decoder.

An analysis that disagrees with this file is wrong. Reading a tape is `simnet.tape`'s.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import zstandard
from solders.pubkey import Pubkey

from copytrader_core.errors import DataError
from copytrader_core.pump import addresses as a
from copytrader_core.solana.programs import WSOL_MINT
from simnet.bank import Balances, Bank, Executed
from simnet.desk import Desk, Leg, Order

__all__ = ["Edge", "Planted", "Truth", "TruthEvent", "boundaries", "read_truth", "settle", "write_truth", "write_wallets_db"]

FORMAT = 1
# A system account that comes into being must keep this much; the trader who creates a creator's vault pays it.
_EMPTY_ACCOUNT_RENT = 890_880


@dataclass(frozen=True, slots=True)
class TruthEvent:
    """One effect on one wallet. `n_parts` is the number of events that the programs emit for it.

    A buy that finishes the curve is one row here with two parts, and its amounts are the sums of both. CREATE has no amounts.
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
    """A wallet of the market as it was planted. Times in ms, sizes in lamports; None where it means nothing for the role."""

    name: str
    wallet: str
    role: str
    style: str | None = None
    hold_ms: int | None = None
    target_x: float | None = None
    size_lamports: int | None = None
    win_rate: float | None = None


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


def boundaries(bank: Bank, desk: Desk, order: Order) -> list[Balances]:
    """Balances after each trade of an order but the last, if it ran now: simulations of its first instructions alone.

    Take them before the order is executed; they are what tells two trades of one transaction apart.
    """
    simulated = (bank.simulate(desk.prefix(order, leg.outer_ix + 1)) for leg in order.legs[:-1])
    return [balances for balances in simulated if balances is not None]


def settle(order: Order, executed: Executed, between: Sequence[Balances] = ()) -> Iterator[TruthEvent]:
    """The effects of an executed order on its wallet, `between` being its `boundaries`. A failed transaction has none."""
    if not executed.ok:
        return
    if order.legs and len(between) != len(order.legs) - 1:
        raise DataError(f"{executed.signature}: {len(order.legs)} trades, but balances at {len(between)} moments between them")
    before = executed.before
    for number, leg in enumerate(order.legs):
        is_last = number == len(order.legs) - 1
        after = executed.after if is_last else _over(executed.before, between[number])
        costs = (0 if number else executed.fee) + (order.tip_lamports if is_last else 0)
        yield _event(order, executed, leg, before, after, costs)
        before = after


def _over(base: Balances, newer: Balances) -> Balances:
    """`newer` speaks for its own accounts only; the rest stands as in `base`."""
    tokens = {key: held for key, held in base.tokens.items() if key not in newer.lamports}
    return Balances({**base.lamports, **newer.lamports}, {**tokens, **newer.tokens})


def _event(order: Order, executed: Executed, leg: Leg, before: Balances, after: Balances, costs: int) -> TruthEvent:
    wallet, mint = order.wallet.pubkey, leg.coin.mint
    base = _coins(after, wallet, mint) - _coins(before, wallet, mint)
    spent = _wealth(before, wallet) - _wealth(after, wallet) - costs - _rent_for_others(before, after, wallet)
    is_create = leg.action == "CREATE"
    return TruthEvent(
        sig=executed.signature,
        slot=executed.slot,
        tx_index=executed.info.index,
        outer_ix=leg.outer_ix,
        wallet=str(wallet),
        action=leg.action,
        mint=str(mint),
        quote_mint=str(WSOL_MINT),
        base_raw=None if is_create else abs(base),
        quote_raw=None if is_create else abs(spent),
        n_parts=2 if leg.action == "BUY" and _passed_the_end(before, after, leg) else 1,
        tx_fee_lamports=executed.fee,
        tip_lamports=order.tip_lamports,
    )


def _coins(balances: Balances, wallet: Pubkey, mint: Pubkey) -> int:
    return sum(held.amount for held in balances.tokens.values() if held.owner == wallet and held.mint == mint)


def _wealth(balances: Balances, wallet: Pubkey) -> int:
    """The wallet's lamports, with those that lie in accounts of its own: rent comes back, wrapped SOL is SOL."""
    own = {wallet, a.user_volume_accumulator(wallet), a.amm_user_volume_accumulator(wallet)}
    own.update(key for key, held in balances.tokens.items() if held.owner == wallet)
    return sum(lamports for key, lamports in balances.lamports.items() if key in own)


def _rent_for_others(before: Balances, after: Balances, wallet: Pubkey) -> int:
    """Rent that the wallet paid for accounts which are not its own and did not exist: a creator's vaults."""
    rent = 0
    for key, lamports in after.lamports.items():
        held = after.tokens.get(key)
        if before.lamports.get(key) or not lamports or key == wallet or (held and held.owner == wallet):
            continue
        if held and held.mint == WSOL_MINT:
            rent += lamports - held.amount
        elif key not in (a.user_volume_accumulator(wallet), a.amm_user_volume_accumulator(wallet)):
            rent += _EMPTY_ACCOUNT_RENT
    return rent


def _passed_the_end(before: Balances, after: Balances, leg: Leg) -> bool:
    """Whether a curve buy took more than the curve had for sale: it keeps 206.9e12 for the pool."""
    curve = a.bonding_curve(leg.coin.mint)
    kept = 206_900_000_000_000
    holding = [sum(held.amount for held in b.tokens.values() if held.owner == curve and held.mint == leg.coin.mint) for b in (before, after)]
    return holding[0] > kept > holding[1]


# --- files --------------------------------------------------------------------------------------------------------------


def write_truth(truth: Truth, path: Path) -> None:
    """Writes the truth as JSON in one zstd frame, events as columns with addresses numbered."""
    names = [f.name for f in fields(TruthEvent)]
    rows = [[getattr(event, name) for name in names] for event in truth.events]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)) if rows else {name: [] for name in names}
    document = {**asdict(truth), "format": FORMAT, "events": {n: _packed(n, columns[n]) for n in names}}
    text = json.dumps(document, separators=(",", ":")).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.partial")
    staged.write_bytes(zstandard.ZstdCompressor(level=19).compress(text))
    staged.replace(path)


def read_truth(path: Path | str) -> Truth:
    """Reads what `write_truth` wrote. Raises DataError for anything else."""
    try:
        document = json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(Path(path).read_bytes()))
    except (OSError, ValueError, zstandard.ZstdError) as error:
        raise DataError(f"the truth file {path} cannot be read: {error}; record the tape again") from error
    if document.get("format") != FORMAT:
        raise DataError(f"the truth file {path} has format {document.get('format')}, this code reads {FORMAT}: record the tape again")
    columns = [_unpacked(document["events"][f.name]) for f in fields(TruthEvent)]
    return Truth(
        seed=document["seed"],
        sessions=[(start, end) for start, end in document["sessions"]],
        planted=[Planted(**row) for row in document["planted"]],
        edges=[Edge(**row) for row in document["edges"]],
        events=[TruthEvent(*row) for row in zip(*columns, strict=True)],
        n_transactions=document["n_transactions"],
        n_failed=document["n_failed"],
        n_blocks=document["n_blocks"],
    )


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
CREATE TABLE wallets (id INTEGER PRIMARY KEY, wallet TEXT NOT NULL UNIQUE, name TEXT, group_id INTEGER REFERENCES groups(id), added_at TEXT);
CREATE TABLE notes (wallet TEXT NOT NULL, note TEXT NOT NULL);
INSERT INTO groups VALUES (1, 'traders'), (2, 'others');
"""


def write_wallets_db(truth: Truth, path: Path | str, *, n_wallets: int = 24) -> int:
    """Writes the user's wallet list as an SQLite file: every leader by name, then other wallets up to `n_wallets`.

    The file has a `wallets` table (wallet, name, ...) among others. An existing file is replaced. Returns the number of wallets.
    """
    path = Path(path)
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
