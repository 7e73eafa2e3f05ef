"""What a landed transaction of ours did: the truth of a fill is what the chain says, never what was asked for.

The swap comes from the program's events; whatever else the balance moved by is rent, so that the journal's cash is the
chain's to the lamport.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from copytrader_core.errors import DecodeError
from copytrader_core.pump.decode import decode
from copytrader_core.solana.base58 import address_text
from copytrader_core.solana.transaction import RawTransaction
from executor.broker import Landed, Reverted
from executor.orders import Order

# bincode: TransactionError::InstructionError (u32), the instruction (u8), InstructionError::Custom (u32), code (u32).
_CUSTOM: Final = struct.Struct("<IBII")
_INSTRUCTION_ERROR: Final = 8
_CUSTOM_VARIANT: Final = 25


def outcome_of(order: Order, tx: RawTransaction, error: tuple[str, int | None] | None) -> Landed | Reverted:
    """What became of an order by its transaction; `error` is what `error_of_update` or `error_of_json` said.

    Raises DecodeError where the transaction went through but does not show what it did.
    """
    if tx.failed:
        text, code = error or ("the transaction failed, the source does not say why", None)
        return Reverted(text, tx.fee, code)
    moved = tx.post_balances[0] - tx.pre_balances[0]
    decoded = decode(tx)
    owner = address_text(tx.account_keys[0])
    own = [one for one in decoded.events if (one.wallet, one.mint, one.action) == (owner, order.mint, order.side)]
    if order.side != "MIGRATE" and not own:
        raise DecodeError(f"transaction of intent {order.intent_id} went through without an event of its own")
    base, quote = sum(int(one.base_raw or 0) for one in own), sum(int(one.quote_raw or 0) for one in own)
    swap_fee = sum(int(one.swap_fee_raw or 0) for one in own)
    tip = own[0].tip_lamports if own else 0
    swapped = quote if order.side == "SELL" else -quote
    return Landed(base, quote, swap_fee, tx.fee, tip, rent_lamports=swapped - tx.fee - tip - moved)


def error_of_update(raw: bytes) -> tuple[str, int | None]:
    """A stream's error bytes as text and the program's own code, if it is one."""
    if len(raw) >= _CUSTOM.size:
        kind, index, variant, code = _CUSTOM.unpack_from(raw)
        if (kind, variant) == (_INSTRUCTION_ERROR, _CUSTOM_VARIANT):
            return f"custom program error {code} in instruction {index}", code
    return f"error 0x{raw.hex()}", None


def error_of_json(error: Any) -> tuple[str, int | None]:
    """A node's error as text and the program's own code, if it is one."""
    if isinstance(error, Mapping) and isinstance(found := error.get("InstructionError"), list) and len(found) == 2:
        index, reason = found
        if isinstance(reason, Mapping) and "Custom" in reason:
            return f"custom program error {reason['Custom']} in instruction {index}", int(reason["Custom"])
        return f"{reason} in instruction {index}", None
    return str(error), None
