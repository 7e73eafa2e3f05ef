"""The newest layouts of the curve's TradeEvent by kernel: what stands between a leader's buy and our order.

It gives what `events.Layouts.read` and `rows.curve_swap` give of the same bytes, and leaves every other event to them:
older layouts, shareholders, longer tails, quotes other than SOL, and whatever no event can hold.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from copytrader_core.compiled import uncounted
from copytrader_core.pump.emissions import PUMP
from copytrader_core.pump.events import MAX_BPS
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_bytes

__all__ = ["IS_NEWEST", "MINT_AT", "TRADE_COLUMNS", "USER_AT", "is_name", "newest_trade", "number"]

TRADE_COLUMNS: Final = (
    "buys", "net", "virtual_quote", "virtual_base", "real_quote", "real_base", "protocol_bps", "creator_bps", "fees",
    "cashback", "mayhem", "creator",
)  # fmt: skip
"""What `newest_trade` fills: raw units, basis points, 0 or 1. `fees` are all that the trader paid, `creator` is where
the creator's key stands.
"""
MINT_AT: Final = 8
USER_AT: Final = 57
_FIELDS: Final = (
    *("mint", "sol_amount", "token_amount", "is_buy", "user", "timestamp", "virtual_sol_reserves"),
    *("virtual_token_reserves", "real_sol_reserves", "real_token_reserves", "fee_recipient", "fee_basis_points", "fee"),
    *("creator", "creator_fee_basis_points", "creator_fee", "track_volume", "total_unclaimed_tokens"),
    *("total_claimed_tokens", "current_sol_volume", "last_update_timestamp", "ix_name", "mayhem_mode"),
    *("cashback_fee_basis_points", "cashback", "buyback_fee_basis_points", "buyback_fee", "shareholders", "quote_mint"),
    *("quote_amount", "virtual_quote_reserves", "real_quote_reserves", "holder_rewards_bps", "holder_rewards"),
    *("creator_fee_unclaimed", "unnamed_tail"),
)
IS_NEWEST: Final = PUMP.interface.event("TradeEvent").fields == _FIELDS
"""Whether the interface still ends where this kernel ends; if not, every event is read the long way."""
_TRADE = np.frombuffer(PUMP.interface.event("TradeEvent").discriminator, np.uint8).copy()
_WSOL = np.frombuffer(address_bytes(WSOL), np.uint8).copy()
# Of the first part, up to the instruction's name, and of what follows the name.
_NET_AT, _BUYS_AT, _TIME_AT, _RESERVES_AT, _PROTOCOL_AT, _FEE_AT, _CREATOR_AT = 40, 56, 89, 97, 161, 169, 177
_CREATOR_BPS_AT, _CREATOR_FEE_AT, _TRACKS_AT, _N_NAME_AT, _NAME_AT = 209, 217, 225, 258, 262
_CASHBACK_BPS, _CASHBACK, _BUYBACK_BPS, _N_HOLDERS, _QUOTE_MINT, _HOLDER_BPS, _N_TAIL = 1, 9, 17, 33, 37, 93, 117
_MOST_NAME: Final = 64
_KEY: Final = 32
# The last field may be followed by one number that nobody has named yet.
_UNNAMED: Final = 8
# The sum of three still fits.
_MOST_FEE: Final = 1 << 60


@uncounted
def number(data: Any, at: Any, n: Any) -> Any:
    """`n` bytes, little endian; below 0 where they do not fit into 63 bits."""
    found = np.int64(0)
    for place in range(n):
        found |= np.int64(data[at + place]) << (8 * place)
    return found


@uncounted
def is_name(data: Any, at: Any, n: Any) -> Any:
    """Whether an instruction can have this name."""
    for place in range(n):
        char = data[at + place]
        is_letter, is_other = 97 <= char <= 122, char == 95 or 48 <= char <= 57
        if not is_letter and (place == 0 or not is_other):
            return False
    return 2 <= n <= _MOST_NAME


@uncounted
def newest_trade(data: Any, at: Any, n: Any, row: Any) -> Any:
    """Reads the `n` bytes of a TradeEvent at `at`, its discriminator included, into `row` (int64, TRADE_COLUMNS).

    False where the long way has to be gone; so it is without coins in the curve, and beyond 63 bits.
    """
    if n < _NAME_AT + _N_TAIL:
        return False
    for place in range(len(_TRADE)):
        if data[at + place] != _TRADE[place]:
            return False
    n_name = number(data, at + _N_NAME_AT, 4)
    left = n - _NAME_AT - n_name - _N_TAIL
    if (left != 0 and left != _UNNAMED) or not is_name(data, at + _NAME_AT, n_name):
        return False
    tail = at + _NAME_AT + n_name
    in_sol = True
    for place in range(_KEY):
        in_sol = in_sol and data[tail + _QUOTE_MINT + place] == 0
    if not in_sol:
        for place in range(_KEY):
            if data[tail + _QUOTE_MINT + place] != _WSOL[place]:
                return False
    buys, tracks, mayhem = data[at + _BUYS_AT], data[at + _TRACKS_AT], data[tail]
    if number(data, tail + _N_HOLDERS, 4) != 0 or buys > 1 or tracks > 1 or mayhem > 1:
        return False
    fee, creator_fee = number(data, at + _FEE_AT, 8), number(data, at + _CREATOR_FEE_AT, 8)
    cashback = number(data, tail + _CASHBACK, 8)
    row[0], row[1] = buys, number(data, at + _NET_AT, 8)
    for place in range(4):
        row[2 + place] = number(data, at + _RESERVES_AT + 8 * place, 8)
    row[6], row[7] = number(data, at + _PROTOCOL_AT, 8), number(data, at + _CREATOR_BPS_AT, 8)
    row[8], row[9], row[10], row[11] = fee + creator_fee + cashback, cashback, mayhem, at + _CREATOR_AT
    if number(data, at + _TIME_AT, 8) < 0 or row[3] == 0:
        return False
    if not (0 <= fee < _MOST_FEE and 0 <= creator_fee < _MOST_FEE and 0 <= cashback < _MOST_FEE):
        return False
    for place in range(1, 6):
        if row[place] < 0:
            return False
    for bps in (
        row[6],
        row[7],
        number(data, tail + _CASHBACK_BPS, 8),
        number(data, tail + _BUYBACK_BPS, 8),
        number(data, tail + _HOLDER_BPS, 8),
    ):
        if bps < 0 or bps > MAX_BPS:
            return False
    return True
