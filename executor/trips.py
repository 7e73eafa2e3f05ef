"""What makes the executor press its own red button: programs that answer as never before, sends that never land.

A trip means REDUCING, kept in the file beside the journal until somebody resumes. No I/O here, no clock.
"""

from __future__ import annotations

from typing import Final

from executor.broker import Reverted
from executor.orders import Order

# By program. Prices that moved, a curve that is complete, coins that an earlier attempt has sold, an account that holds
# more than we sold, no money: no surprise.
_EXPECTED: Final = {
    "curve": frozenset({6002, 6003, 6005, 6021, 6023, 6042, 3012, 1}),
    "amm": frozenset({6004, 6040, 3012, 1}),
    "token": frozenset({1, 11}),
    "system": frozenset({1}),
}
_COINS_MISSING: Final = frozenset({("curve", 3012), ("curve", 6023), ("curve", 1), ("amm", 3012), ("amm", 1)})
_NOT_EMPTY: Final = ("token", 11)
_ERRORS_IN_A_ROW: Final = 3
_LOST_IN_A_ROW: Final = 5


def is_expected(program: str, code: int) -> bool:
    """Whether a program (`Reverted.program`) may answer a trade of ours with this code on any day."""
    return code in _EXPECTED.get(program, ())


def coins_are_missing(reverted: Reverted) -> bool:
    """Whether a sale failed because our account is not there, or holds too little: somebody has sold already."""
    return (reverted.program, reverted.code) in _COINS_MISSING


def account_holds_more(reverted: Reverted) -> bool:
    """Whether a sale failed because our account cannot be closed: it holds more than was sold."""
    return (reverted.program, reverted.code) == _NOT_EMPTY


class Trips:
    """Counts what is wrong in a row; each method returns why to stop buying, or None."""

    def __init__(self) -> None:
        self._errors = 0
        self._lost = 0

    def landed(self) -> None:
        """An order went through: all is well."""
        self._errors = self._lost = 0

    def failed(self, reverted: Reverted) -> str | None:
        """An order landed with an error."""
        self._lost = 0
        # Without a code it is of the whole transaction, or of an instruction, which then has a program: out of units.
        if not reverted.program if reverted.code is None else is_expected(reverted.program, reverted.code):
            return None
        self._errors += 1
        if self._errors < _ERRORS_IN_A_ROW:
            return None
        return f"{self._errors} unexpected program errors in a row, the last: {reverted.error} ({reverted.program})"

    def expired(self, order: Order) -> str | None:
        """An order never landed."""
        if order.restored:
            return None
        self._lost += 1
        return f"{self._lost} transactions in a row never landed" if self._lost >= _LOST_IN_A_ROW else None
