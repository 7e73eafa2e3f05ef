"""The newest layouts of the curve's TradeEvent, read in two steps: what stands between a leader's buy and our order.

It gives what `events.Layouts.read` and `rows.curve_swap` give of the same bytes, and leaves every other event to them:
older layouts, shareholders, longer tails, and whatever no event can hold.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from copytrader_core.pump.emissions import PUMP
from copytrader_core.pump.events import MAX_BPS, is_ix_name
from copytrader_core.pump.rows import ZERO_KEY, Swap
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_bytes, address_text

__all__ = ["NewestTrade", "newest_trade"]

_HEAD: Final = struct.Struct("<8x32sQQB32sqQQQQ32sQQ32sQQBQQQqI")
_TAIL: Final = struct.Struct("<BQQQQI32sQQQQQQ")
_LAST_BYTES: Final = (0, 8)
"""The fields that the structs end with are followed by nothing, or by one number that nobody has named yet."""
_CODEC: Final = PUMP.interface.event("TradeEvent")
_FIELDS: Final = (
    *("mint", "sol_amount", "token_amount", "is_buy", "user", "timestamp", "virtual_sol_reserves"),
    *("virtual_token_reserves", "real_sol_reserves", "real_token_reserves", "fee_recipient", "fee_basis_points", "fee"),
    *("creator", "creator_fee_basis_points", "creator_fee", "track_volume", "total_unclaimed_tokens"),
    *("total_claimed_tokens", "current_sol_volume", "last_update_timestamp", "ix_name", "mayhem_mode"),
    *("cashback_fee_basis_points", "cashback", "buyback_fee_basis_points", "buyback_fee", "shareholders", "quote_mint"),
    *("quote_amount", "virtual_quote_reserves", "real_quote_reserves", "holder_rewards_bps", "holder_rewards"),
    *("creator_fee_unclaimed", "unnamed_tail"),
)
IS_NEWEST: Final = _CODEC.fields == _FIELDS
"""Whether the interface still ends where these structs end; if not, every event is read the long way."""
_WSOL_KEY: Final = address_bytes(WSOL)
_SOL: Final = (ZERO_KEY, _WSOL_KEY)


class NewestTrade(NamedTuple):
    """Of a trade of the curve paid in SOL: its coin, its trader, what it moved."""

    mint: bytes
    user: bytes
    swap: Swap


def newest_trade(body: bytes) -> NewestTrade | None:
    """The TradeEvent `body`, its discriminator included; None where the long way has to be gone."""
    if not IS_NEWEST or len(body) < _HEAD.size + _TAIL.size or not body.startswith(_CODEC.discriminator):
        return None
    (
        mint, net, base_amount, is_buy, user, timestamp, virtual_quote, virtual_base, real_quote, real_base,
        _, protocol_bps, fee, creator, creator_bps, creator_fee, tracks, _, _, _, _, n_name,
    ) = _HEAD.unpack_from(body)  # fmt: skip
    tail_at = _HEAD.size + n_name
    if len(body) - tail_at - _TAIL.size not in _LAST_BYTES:
        return None
    (
        mayhem, cashback_bps, cashback, buyback_bps, _, n_holders, quote_mint, _, _, _, holder_bps, _, _,
    ) = _TAIL.unpack_from(body, tail_at)  # fmt: skip
    if n_holders or quote_mint not in _SOL or (is_buy | tracks | mayhem) > 1 or timestamp < 0:
        return None
    if max(protocol_bps, creator_bps, cashback_bps, buyback_bps, holder_bps) > MAX_BPS:
        return None
    name = body[_HEAD.size : tail_at]
    if not name.isascii() or not is_ix_name(name.decode()):
        return None
    fees = fee + creator_fee + cashback
    meta = {
        "venue": "curve",
        "real_base_raw": real_base,
        "real_quote_raw": real_quote,
        "protocol_fee_bps": protocol_bps,
        "creator_fee_bps": creator_bps,
        "cashback_raw": cashback,
        "creator": None if creator == ZERO_KEY else address_text(creator),
        "mayhem": mayhem == 1,
        "timestamp": timestamp,
    }
    quote_amount = net + fees if is_buy else net - fees
    swap = Swap(
        is_buy == 1, address_text(mint), WSOL, base_amount, quote_amount, fees, user, virtual_base, virtual_quote, meta
    )
    return NewestTrade(mint, user, swap)
