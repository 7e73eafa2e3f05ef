"""Which landed events become rows: all, those of coins that tracked wallets touch, or those of tracked wallets alone.

No I/O. Whatever is not kept is still decoded, counted and looked at for drift; dead letters are kept in every scope.
"""

from __future__ import annotations

import hashlib
import marshal
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from copytrader_core.records import Event
from copytrader_core.store import raw_events
from copytrader_core.store.raw_events import Row

_NS = 10**9
# What a remembered row costs beside its bytes: their header, two tuples, their places in two queues.
_OVERHEAD_BYTES = 250
SAMPLE_KEY = "sample"
"""The key in meta_json of rows of sampled coins."""


class Scope(StrEnum):
    """Which events are kept."""

    ALL = "all"
    TOUCHED = "touched"
    TRACKED = "tracked"


@dataclass(frozen=True, slots=True)
class ScopeRules:
    """`sample_fraction`: share of all coins that `touched` keeps whole, for baselines. The look-back is its memory of
    what else happened: at most so many seconds of chain time and so many bytes."""

    scope: Scope = Scope.ALL
    sample_fraction: float = 0.02
    lookback_seconds: float = 600.0
    lookback_bytes: int = 96 * 2**20


KEEP_ALL: Final = ScopeRules()


class Keeper:
    """Decides event by event. Feed it in chain order."""

    def __init__(self, rules: ScopeRules = KEEP_ALL, touched: Iterable[str] = (), *, whole_feed: bool = True) -> None:
        """`touched`: coins that tracked wallets have traded before. A feed of less than both programs is that of
        tracked wallets, whatever is kept of it."""
        self._rules = rules
        self._whole_feed = whole_feed
        self._touched = set(touched)
        self._recent = _Recent(round(self._rules.lookback_seconds * _NS), self._rules.lookback_bytes)
        self._earlier: list[Row] = []
        self._sample_below = round(self._rules.sample_fraction * 2**64)

    @property
    def scope(self) -> Scope:
        """What the slots that are landed now may be said to hold."""
        return self._rules.scope if self._whole_feed else Scope.TRACKED

    @property
    def n_touched(self) -> int:
        """Coins of which everything is kept because a tracked wallet traded them."""
        return len(self._touched)

    @property
    def lookback_bytes(self) -> int:
        """What the look-back holds now."""
        return self._recent.n_bytes

    def touch(self, mints: Iterable[str]) -> None:
        """From now on everything of these coins is kept."""
        self._touched.update(mints)

    def keep(self, event: Event, is_tracked: bool, *, ts_ns: int, recv_ts_ns: int, alias: str | None) -> Row | None:
        """The row of `event` if it is kept now. `is_tracked`: its wallet is tracked."""
        scope = self._rules.scope
        if scope is Scope.TOUCHED:
            return self._keep_touched(event, is_tracked, ts_ns, recv_ts_ns, alias)
        if scope is Scope.TRACKED and not is_tracked:
            return None
        return raw_events.row(event, ts_ns=ts_ns, recv_ts_ns=recv_ts_ns, alias=alias)

    def take_earlier(self) -> list[Row]:
        """Rows of the look-back that are kept after all, each once; they belong to slots that may be landed already."""
        earlier, self._earlier = self._earlier, []
        return earlier

    def _keep_touched(
        self, event: Event, is_tracked: bool, ts_ns: int, recv_ts_ns: int, alias: str | None
    ) -> Row | None:
        mints = _mints(event)
        if is_tracked:
            for mint in mints:
                if mint not in self._touched:
                    self._touched.add(mint)
                    self._earlier.extend(self._recent.take(mint, ts_ns))
        # A sample is whole coins chosen by their address alone, so that what tracked wallets like does not bend it.
        is_sampled = self._is_sampled(event.mint)
        if is_sampled:
            event = replace(event, meta={**event.meta, SAMPLE_KEY: True})
        row = raw_events.row(event, ts_ns=ts_ns, recv_ts_ns=recv_ts_ns, alias=alias)
        if is_sampled or any(mint in self._touched for mint in mints):
            return row
        self._recent.add(mints, row, ts_ns)
        return None

    def _is_sampled(self, mint: str) -> bool:
        number = int.from_bytes(hashlib.blake2b(mint.encode(), digest_size=8).digest(), "little")
        return number < self._sample_below


class _Recent:
    """Rows by coin, oldest forgotten first, serialized because a row of objects takes several times its bytes."""

    def __init__(self, max_age_ns: int, max_bytes: int) -> None:
        self._max_age_ns = max_age_ns
        self._max_bytes = max_bytes
        self._by_mint: dict[str, deque[bytes]] = {}
        self._order: deque[tuple[int, str]] = deque()
        self.n_bytes = 0

    def add(self, mints: Sequence[str], row: Row, ts_ns: int) -> None:
        """Remembers `row` under each of `mints`."""
        packed = marshal.dumps(row)
        for mint in mints:
            self._by_mint.setdefault(mint, deque()).append(packed)
            self._order.append((ts_ns, mint))
            self.n_bytes += len(packed) + _OVERHEAD_BYTES
        self._forget(ts_ns)

    def take(self, mint: str, ts_ns: int) -> list[Row]:
        """What is remembered of `mint`; it is not remembered any longer. A taken coin must not be added again."""
        self._forget(ts_ns)
        packed = self._by_mint.pop(mint, ())
        self.n_bytes -= sum([len(row) + _OVERHEAD_BYTES for row in packed])
        return [marshal.loads(row) for row in packed]  # noqa: S302 these bytes never left this process

    def _forget(self, ts_ns: int) -> None:
        oldest_ns = ts_ns - self._max_age_ns
        while self._order and (self.n_bytes > self._max_bytes or self._order[0][0] < oldest_ns):
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, mint = self._order.popleft()
        rows = self._by_mint.get(mint)
        if rows is None:
            return
        self.n_bytes -= len(rows.popleft()) + _OVERHEAD_BYTES
        if not rows:
            del self._by_mint[mint]


def _mints(event: Event) -> tuple[str, ...]:
    """The coins that an event is about: both ends of a route between coins."""
    if event.action == "SWAP" and event.quote_mint is not None:
        return (event.mint, event.quote_mint)
    return (event.mint,)
