"""The newest layouts of PumpSwap's BuyEvent by kernel: what `newest_trade` is for the curve.

It gives what `events.Layouts.read` and `rows.pool_swap` give of the same bytes, and leaves every other event to them:
older layouts, longer tails, and whatever no event can hold.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from copytrader_core.compiled import uncounted
from copytrader_core.pump.emissions import AMM
from copytrader_core.pump.events import MAX_BPS
from copytrader_core.pump.newest_trade import is_name, number

__all__ = ["IS_NEWEST", "POOL_AT", "POOL_COLUMNS", "USER_AT", "newest_pool_buy"]

POOL_COLUMNS: Final = (
    "gross", "quote", "base", "vault_quote", "lp_bps", "protocol_bps", "creator_bps", "cashback", "creator",
)  # fmt: skip
"""What `newest_pool_buy` fills: raw units and basis points. `gross` is what the trader paid, `quote` and `base` are the
effective reserves after it, `creator` is where the creator's key stands.
"""
POOL_AT: Final = 120
USER_AT: Final = 152
_FIELDS: Final = (
    *("timestamp", "base_amount_out", "max_quote_amount_in", "user_base_token_reserves", "user_quote_token_reserves"),
    *("pool_base_token_reserves", "pool_quote_token_reserves", "quote_amount_in", "lp_fee_basis_points", "lp_fee"),
    *("protocol_fee_basis_points", "protocol_fee", "quote_amount_in_with_lp_fee", "user_quote_amount_in", "pool"),
    *("user", "user_base_token_account", "user_quote_token_account", "protocol_fee_recipient"),
    *("protocol_fee_recipient_token_account", "coin_creator", "coin_creator_fee_basis_points", "coin_creator_fee"),
    *("track_volume", "total_unclaimed_tokens", "total_claimed_tokens", "current_sol_volume", "last_update_timestamp"),
    *("min_base_amount_out", "ix_name", "cashback_fee_basis_points", "cashback", "buyback_fee_basis_points"),
    *("buyback_fee", "virtual_quote_reserves", "can_boost", "base_supply", "holder_rewards_bps", "holder_rewards"),
    *("creator_fee_unclaimed", "unnamed_tail"),
)
IS_NEWEST: Final = AMM.interface.event("BuyEvent").fields == _FIELDS
"""Whether the interface still ends where this kernel ends; if not, every event is read the long way."""
# Of the first part, up to the instruction's name, and of what follows the name.
_TIME_AT, _OUT_AT, _BASE_AT, _QUOTE_AT, _IN_AT, _LP_BPS_AT, _LP_FEE_AT = 8, 16, 48, 56, 64, 72, 80
_PROTOCOL_BPS_AT, _PROTOCOL_FEE_AT, _USER_IN_AT, _RECIPIENT_AT, _CREATOR_AT = 88, 96, 112, 248, 312
_CREATOR_BPS_AT, _CREATOR_FEE_AT, _TRACKS_AT, _N_NAME_AT, _NAME_AT = 344, 352, 360, 401, 405
_CASHBACK_BPS, _CASHBACK, _BUYBACK_BPS, _BUYBACK, _VIRTUAL, _MAY_BOOST, _HOLDER_BPS, _N_TAIL = (
    *(0, 8, 16, 24, 32, 48, 57, 81),
)
_KEY: Final = 32
# The last field may be followed by one number that nobody has named yet.
_UNNAMED: Final = 8
# Sums of four still fit.
_MOST: Final = 1 << 60


@uncounted
def newest_pool_buy(data: Any, at: Any, n: Any, row: Any) -> Any:
    """Reads the `n` bytes of a BuyEvent at `at`, its discriminator included, into `row` (int64, POOL_COLUMNS).

    False where the long way has to be gone; so it is where a side of the pool is empty, and from 60 bits on.
    """
    if n < _NAME_AT + _N_TAIL:
        return False
    n_name = number(data, at + _N_NAME_AT, 4)
    left = n - _NAME_AT - n_name - _N_TAIL
    if (left != 0 and left != _UNNAMED) or not is_name(data, at + _NAME_AT, n_name):
        return False
    tail = at + _NAME_AT + n_name
    if data[at + _TRACKS_AT] > 1 or data[tail + _MAY_BOOST] > 1 or number(data, at + _TIME_AT, 8) < 0:
        return False
    out, base, quote = number(data, at + _OUT_AT, 8), number(data, at + _BASE_AT, 8), number(data, at + _QUOTE_AT, 8)
    given, paid = number(data, at + _IN_AT, 8), number(data, at + _USER_IN_AT, 8)
    lp_fee, protocol_fee = number(data, at + _LP_FEE_AT, 8), number(data, at + _PROTOCOL_FEE_AT, 8)
    creator_fee, cashback = number(data, at + _CREATOR_FEE_AT, 8), number(data, tail + _CASHBACK, 8)
    buyback = number(data, tail + _BUYBACK, 8)
    for amount in (out, base, quote, given, paid, lp_fee, protocol_fee, creator_fee, cashback, buyback):
        if amount < 0 or amount >= _MOST:
            return False
    virtual, above = number(data, tail + _VIRTUAL, 8), number(data, tail + _VIRTUAL + 8, 8)
    if virtual <= -_MOST or virtual >= _MOST or above != virtual >> 63:
        return False
    # What was paid and what was swapped stand the other way round for exact-in instructions.
    gross, net = max(given, paid), min(given, paid)
    effective, base_after = quote + net + lp_fee + virtual, base - out
    if lp_fee > gross - net or effective <= 0 or base_after <= 0:
        return False
    kept = protocol_fee - buyback + creator_fee
    for place in range(_KEY):
        if data[at + _RECIPIENT_AT + place] != 0:
            kept = np.int64(0)
    row[0], row[1], row[2], row[3] = gross, effective, base_after, effective - virtual + kept
    row[4], row[5] = number(data, at + _LP_BPS_AT, 8), number(data, at + _PROTOCOL_BPS_AT, 8)
    row[6], row[7], row[8] = number(data, at + _CREATOR_BPS_AT, 8), cashback, at + _CREATOR_AT
    for bps in (
        row[4],
        row[5],
        row[6],
        number(data, tail + _CASHBACK_BPS, 8),
        number(data, tail + _BUYBACK_BPS, 8),
        number(data, tail + _HOLDER_BPS, 8),
    ):
        if bps < 0 or bps > MAX_BPS:
            return False
    return True
