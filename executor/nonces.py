"""Which durable nonce a sale is signed under, so that of all its attempts exactly one lands. No sockets, no clock.

A position borrows one account: as long as an attempt under its value may land, every further attempt is a variant under
the same value. Once the value has moved on one of them has landed: what it did has to be known before the next one. Who
has borrowed what is nowhere kept: it follows from what is under way, after a crash too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from copytrader_core.errors import TransactionError
from executor.orders import DurableNonce

__all__ = ["Nonces", "Use"]

_NONE: Final = ""
"""The value of an account that is no nonce account, or not ours."""
_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Use:
    """A sale that has not come to its end: whose, and the nonce that it is signed under (None: a blockhash)."""

    position_id: str
    nonce: DurableNonce | None
    has_landed: bool
    """Seen in a block that a fork may still leave behind."""


class Nonces:
    """The wallet's nonce accounts. `learn` and `spend` say what became of them; `lend` says what to sign under."""

    def __init__(self, accounts: Iterable[str] = ()) -> None:
        self._ours = tuple(dict.fromkeys(accounts))
        self._stands: dict[str, DurableNonce | None] = dict.fromkeys(self._ours)
        self._read_at: dict[str, int] = {}
        self._ended: deque[tuple[str, str]] = deque(maxlen=_KEPT)
        self._recalled: set[tuple[str, str]] = set()

    @property
    def accounts(self) -> tuple[str, ...]:
        """The addresses whose values have to be known."""
        return tuple(self._stands)

    def watch(self, account: str) -> None:
        """An earlier run has signed under this account: its value has to be known, whatever the settings name now."""
        self._stands.setdefault(account, None)

    def recall(self, spent: Iterable[Sequence[str]]) -> None:
        """[account, value] of what landed for good in earlier runs: what it did is known."""
        self._recalled = {(account, value) for account, value in spent}
        self._ended.extend(self._recalled)

    def learn(self, account: str, value: str | None, slot: int) -> None:
        """A node's account as confirmed in `slot`, None: it does not serve us. An older answer says nothing."""
        if account not in self._stands or slot < self._read_at.get(account, 0):
            return
        self._read_at[account] = slot
        stands = self._stands[account]
        if stands is None or stands.value != (value or _NONE):
            self._stands[account] = DurableNonce(account, value or _NONE, slot)

    def spend(self, nonce: DurableNonce, slot: int) -> None:
        """Something under `nonce` has landed in `slot` for good: its account has to be read before it is lent again."""
        self._ended.append(nonce.key)
        stands = self._stands.get(nonce.account)
        if stands is not None and stands.key == nonce.key:
            self._stands[nonce.account] = None
            self._read_at[nonce.account] = max(slot, self._read_at.get(nonce.account, 0))

    def has_moved(self, nonce: DurableNonce) -> bool:
        """Whether the confirmed chain has another value by now: nothing under `nonce` can land any more."""
        stands = self._stands.get(nonce.account)
        return stands is not None and stands.slot >= nonce.slot and stands.value != nonce.value

    def lend(self, position_id: str, uses: Sequence[Use]) -> DurableNonce | None:
        """What the position's next attempt is signed under; None: a blockhash.

        A blockhash too while an attempt of the position that has none may land: no nonce could exclude that one. Raises
        TransactionError while one of the attempts has landed and nobody knows which, for it may have sold everything.
        """
        if self._is_undecided(position_id, uses):
            raise TransactionError("one of the attempts has landed, which one is not known yet: the nodes are asked")
        open_ones = self._open(position_id, uses)
        if any(one is None for one in open_ones):
            return None
        done = _landed(uses) | self._recalled
        for one in reversed(open_ones):
            if one is not None and one.key not in done:
                return one
        # A node that is behind still shows what has landed under in an earlier run.
        taken = {use.nonce.key for use in uses if use.nonce is not None} | self._recalled
        free = (self._stands[account] for account in self._ours)
        return next((one for one in free if one is not None and one.value != _NONE and one.key not in taken), None)

    def is_exclusive(self, position_id: str, uses: Sequence[Use]) -> bool:
        """Whether a further attempt now would exclude all earlier ones: then it cannot sell anything twice."""
        if self._is_undecided(position_id, uses):
            return False
        next_one = self.lend(position_id, uses)
        return next_one is not None and all(
            one is not None and one.key == next_one.key for one in self._open(position_id, uses)
        )

    def is_unread(self, uses: Sequence[Use]) -> bool:
        """Whether a node should be asked soon: a value is not known, or its first use has been seen."""
        done = _landed(uses) | self._recalled
        return any(one is None or one.key in done for one in self._stands.values())

    def _open(self, position_id: str, uses: Sequence[Use]) -> list[DurableNonce | None]:
        """What the position's attempts that may land are signed under, oldest first."""
        return [
            use.nonce
            for use in uses
            if use.position_id == position_id
            and not use.has_landed
            and (use.nonce is None or not self.has_moved(use.nonce))
        ]

    def _is_undecided(self, position_id: str, uses: Sequence[Use]) -> bool:
        """Whether the value that attempts of the position are signed under has moved by a landing nobody has seen."""
        decided = _landed(uses).union(self._ended)
        return any(
            use.position_id == position_id
            and use.nonce is not None
            and use.nonce.key not in decided
            and self.has_moved(use.nonce)
            for use in uses
        )


def _landed(uses: Sequence[Use]) -> set[tuple[str, str]]:
    return {use.nonce.key for use in uses if use.nonce is not None and use.has_landed}
