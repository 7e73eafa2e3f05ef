"""The kernels as the worker calls them: transactions of a slot in, rows in COPY format out, and who is left over."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from copytrader_core.compiled import is_kept
from copytrader_core.pump.attribution import is_off_curve
from copytrader_core.pump.drift_continuity import Step
from copytrader_core.solana.base58 import address_bytes
from copytrader_core.store.encoded import EncodedRows
from copytrader_core.store.wallets import Wallet
from ingest_worker.kernel import slots, tables
from ingest_worker.kernel.rows import Moment, Names
from ingest_worker.kernel.slots import DONE, LEFT, SKIPPED
from ingest_worker.kernel.transaction import new_work

__all__ = ["DONE", "LEFT", "SKIPPED", "Landed", "Lane", "compiled_lane"]

_log = logging.getLogger("copytrader.ingest")

_ROOM: Final = 1 << 20
# A program-owned trader is met again and again; of wallets that sign nothing is remembered.
_MAX_PURSES: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of each transaction (`status`), the rows of those that are DONE, and what moved reserves."""

    status: np.ndarray
    rows: EncodedRows
    raw: bytes
    steps: np.ndarray
    others: np.ndarray

    def steps_of(self) -> dict[int, list[Step]]:
        """The trades that moved reserves, by transaction, in their order."""
        found: dict[int, list[Step]] = {}
        for tx, at, is_pool, b0, b1, b2, a0, a1, a2 in self.steps.tolist():
            step = Step(self.raw[at : at + 32], bool(is_pool), (b0, b1, b2), (a0, a1, a2))
            found.setdefault(tx, []).append(step)
        return found

    def moved(self) -> dict[int, set[bytes]]:
        """The accounts that instructions which are no trades may have moved, by transaction."""
        found: dict[int, set[bytes]] = {}
        for tx, at in self.others.tolist():
            found.setdefault(tx, set()).add(self.raw[at : at + 32])
        return found


async def compiled_lane() -> Lane:
    """A lane that is ready to run. Kernels that were never compiled here are compiled by a process of their own.

    Compiling takes a minute and some memory, neither of which a running worker has. The process ends with the caller.
    """
    if not is_kept("slots.land"):
        _log.warning("compiling the kernels: once for each version, about a minute")
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "ingest_worker.kernel")
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
    lane = Lane()
    await asyncio.to_thread(lane.warm)
    return lane


class Lane:
    """One thread's kernels and their scratch space."""

    def __init__(self) -> None:
        self._tables = tables.build()
        self._work = new_work()
        self._names = _names({})
        self._purses: dict[bytes, None] = {}
        self._purse_table = _sorted_keys([])
        self._out = np.zeros(_ROOM, np.uint8)
        self._starts = np.zeros(1024, np.int64)
        self._steps = np.zeros((1024, slots.STEP_COLUMNS), np.int64)
        self._others = np.zeros((1024, 2), np.int64)

    def warm(self) -> None:
        """Compiles the kernels, or loads them from disk."""
        self.land(b"", np.zeros((0, 5), np.int64), 0, 0)

    def name(self, wallets: Mapping[str, Wallet]) -> None:
        """Rows carry these names from now on."""
        self._names = _names({address: wallet.alias for address, wallet in wallets.items() if wallet.alias})

    def met(self, users: Sequence[bytes]) -> None:
        """Traders of transactions that were left over: those whom a program owns are known from now on."""
        new = [user for user in users if user not in self._purses and is_off_curve(user)]
        if not new:
            return
        self._purses.update(dict.fromkeys(new))
        while len(self._purses) > _MAX_PURSES:
            del self._purses[next(iter(self._purses))]
        self._purse_table = _sorted_keys(self._purses)

    def land(self, raw: bytes, transactions: np.ndarray, slot: int, ts_ns: int) -> Landed:
        """The rows of `transactions`, an (n, 5) int64 array: begin, end, signature (in `raw`), index, recv_ts_ns."""
        data = np.frombuffer(raw, np.uint8)
        n = len(transactions)
        status = np.zeros(n, np.int8)
        counts = np.zeros(5, np.int64)
        moment = Moment(slot, ts_ns)
        while True:
            slots.land(
                data, transactions, counts[slots.N_DEALT], moment, self._work, self._tables, self._names,
                *self._purse_table, self._out, status, self._starts, self._steps, self._others, counts,
            )  # fmt: skip
            if counts[slots.N_DEALT] == n:
                break
            self._grow()
        n_bytes, n_rows = int(counts[slots.N_BYTES]), int(counts[slots.N_ROWS])
        return Landed(
            status,
            EncodedRows(slot, ts_ns, self._out[:n_bytes].tobytes(), self._starts[:n_rows].copy()),
            raw,
            self._steps[: counts[slots.N_STEPS]].copy(),
            self._others[: counts[slots.N_OTHERS]].copy(),
        )

    def _grow(self) -> None:
        """Twice the room of everything; what was written stays."""
        self._out = np.concatenate([self._out, np.zeros_like(self._out)])
        self._starts = np.concatenate([self._starts, np.zeros_like(self._starts)])
        self._steps = np.concatenate([self._steps, np.zeros_like(self._steps)])
        self._others = np.concatenate([self._others, np.zeros_like(self._others)])


def _sorted_keys(keys: Collection[bytes]) -> tuple[np.ndarray, np.ndarray]:
    ordered = sorted(keys, key=lambda key: int.from_bytes(key[:8], "little", signed=True))
    table = np.frombuffer(b"".join(ordered), np.uint8).reshape(-1, 32).copy()
    return np.array([int.from_bytes(key[:8], "little", signed=True) for key in ordered], np.int64), table


def _names(aliases: Mapping[str, str]) -> Names:
    by_key = {address_bytes(address): alias.encode(errors="replace") for address, alias in aliases.items()}
    firsts, keys = _sorted_keys(by_key)
    texts = [by_key[bytes(key)] for key in keys]
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return Names(firsts, keys, ends, np.frombuffer(b"".join(texts), np.uint8).copy())
