"""What a landed transaction of ours did: the truth of a fill is what the chain says, never what was asked for.

The swap comes from the program's events; whatever else the balance moved by is rent, so that the journal's cash is the
chain's to the lamport.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from copytrader_core.errors import DecodeError
from copytrader_core.pump.addresses import AMM_PROGRAM, PUMP_PROGRAM
from copytrader_core.pump.attribution import TransactionFacts
from copytrader_core.pump.decode import decode
from copytrader_core.solana.base58 import address_text
from copytrader_core.solana.programs import SYSTEM_PROGRAM, TOKEN_2022_PROGRAM, TOKEN_PROGRAM
from copytrader_core.solana.transaction import RawTransaction
from executor.broker import Landed, Reverted
from executor.orders import Order

# bincode: TransactionError::InstructionError (u32), the instruction (u8), InstructionError::Custom (u32), code (u32).
_CUSTOM: Final = struct.Struct("<IBII")
_PLAIN: Final = struct.Struct("<IBI")
_MOST_CHARS: Final = 200
_INSTRUCTION_ERROR: Final = 8
_CUSTOM_VARIANT: Final = 25
_PROGRAMS: Final = {
    bytes(PUMP_PROGRAM): "curve",
    bytes(AMM_PROGRAM): "amm",
    bytes(TOKEN_PROGRAM): "token",
    bytes(TOKEN_2022_PROGRAM): "token",
    bytes(SYSTEM_PROGRAM): "system",
}
_SIGN: Final = {"BUY": 1, "SELL": -1, "MIGRATE": 1}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a transaction failed: in words, the failing instruction's number, and its program's own code, if known."""

    text: str
    instruction: int | None = None
    code: int | None = None


def outcome_of(order: Order, tx: RawTransaction, failure: Failure | None) -> tuple[Landed | Reverted, str | None]:
    """What became of an order by its transaction; `failure` is what `failure_of_update` or `failure_of_json` said.

    The second value is a problem: the transaction went through without an event that can be read. Then the fill is what
    balances of coins and SOL say, and the programs are no longer what this version knows.
    """
    if tx.failed:
        known = failure or Failure("the transaction failed, the source does not say why")
        return Reverted(known.text, tx.fee, known.code, _program(tx, known.instruction)), None
    try:
        return _landed(order, tx), None
    except DecodeError as error:
        return _by_balances(order, tx), str(error)


def _landed(order: Order, tx: RawTransaction) -> Landed:
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


def _by_balances(order: Order, tx: RawTransaction) -> Landed | Reverted:
    """A fill without its event: coins by the token balances, everything else in SOL."""
    owner = address_text(tx.account_keys[0])
    gained = TransactionFacts(tx).token_deltas.get((owner, order.mint), 0)
    moved = tx.post_balances[0] - tx.pre_balances[0]
    if order.side == "BUY" and gained <= 0:
        return Reverted("the transaction went through and brought no coins", -moved)
    quote = -(moved + tx.fee) if order.side == "BUY" else moved + tx.fee
    return Landed(abs(gained), max(0, quote), 0, tx.fee, 0, rent_lamports=min(0, quote) * _SIGN[order.side])


def _program(tx: RawTransaction, instruction: int | None) -> str:
    """Whose code an instruction's error is."""
    if instruction is None or not 0 <= instruction < len(tx.outer):
        return ""
    return _PROGRAMS.get(tx.account_keys[tx.outer[instruction].program_index], "other")


def failure_of_update(raw: bytes) -> Failure:
    """A stream's error bytes."""
    if len(raw) >= _CUSTOM.size:
        kind, index, variant, code = _CUSTOM.unpack_from(raw)
        if (kind, variant) == (_INSTRUCTION_ERROR, _CUSTOM_VARIANT):
            return Failure(f"custom program error {code} in instruction {index}", index, code)
    if len(raw) >= _PLAIN.size:
        kind, index, variant = _PLAIN.unpack_from(raw)
        if kind == _INSTRUCTION_ERROR:
            return Failure(f"instruction error {variant} in instruction {index}", index)
    return Failure(f"error 0x{raw.hex()}")


def failure_of_json(error: Any) -> Failure:
    """A node's error. What has another form is repeated as it is."""
    found = error.get("InstructionError") if isinstance(error, Mapping) else None
    if not isinstance(found, list) or len(found) != 2 or type(found[0]) is not int:
        return Failure(str(error)[:_MOST_CHARS])
    index, reason = found
    code = reason.get("Custom") if isinstance(reason, Mapping) else None
    if type(code) is int and 0 <= code < 1 << 32:
        return Failure(f"custom program error {code} in instruction {index}", index, code)
    return Failure(f"{str(reason)[:_MOST_CHARS]} in instruction {index}", index)
