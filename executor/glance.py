"""The short way to read the usual leader's buy: one trade of ours in the whole transaction, seen in full, paid in SOL.

It asks all that `copytrader_core.pump.decode` asks of such a transaction, and leaves out what only the record needs.
Whatever is cut, odd or more than one buy gives None, and the decoder has to be asked: it is the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from copytrader_core.errors import DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump.emissions import AMM, EVENT_CALL_PREFIX, PUMP
from copytrader_core.pump.idl import DISCRIMINATOR_BYTES
from copytrader_core.pump.rows import Swap, Values, curve_swap, pool_swap
from copytrader_core.pump.scan import COLUMNS, MAX_CALLS, MAX_KEYS, scan
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_text, signature_text
from copytrader_core.solana.transaction import KEY_BYTES, LOG_TRUNCATED, SIGNATURE_BYTES

__all__ = ["Glance", "glance", "warm"]

_BUYS: Final = {
    PUMP: ("buy", "buy_exact_sol_in", "buy_v2", "buy_exact_quote_in_v2", "buy_v3", "buy_exact_quote_in_v3"),
    AMM: ("buy", "buy_exact_quote_in", "buy_v2", "buy_exact_quote_in_v2"),
}
_INSTRUCTIONS: Final = {
    program: {
        disc: (fact.accounts.get("base_mint", 0), fact.accounts.get("quote_mint", 0), fact.accounts.get("pool", 0))
        for disc, fact in program.interface.instructions.items()
        if fact.name in names
    }
    for program, names in _BUYS.items()
}
"""By program and discriminator: where the accounts name base mint, quote mint and pool."""
_EVENTS: Final = {
    program: program.interface.event(name).discriminator for program, name in ((PUMP, "TradeEvent"), (AMM, "BuyEvent"))
}


class Glance(NamedTuple):
    """A leader's buy: who, what the trade moved, and the instruction that names the coin's accounts."""

    sig: str
    slot: int
    tx_index: int
    wallet: str
    swap: Swap
    program: bytes
    data: bytes
    accounts: bytes
    keys: Sequence[bytes]


class _Scanner:
    """The kernel with its scratch space."""

    def __init__(self) -> None:
        self._keys = np.zeros(MAX_KEYS, np.int64)
        self._calls = np.zeros((MAX_CALLS, 6), np.int64)
        self._groups = np.zeros((MAX_KEYS, 2), np.int64)
        self._work = _kinds()
        self._found = np.zeros(len(COLUMNS), np.int64)

    def places(self, raw: bytes) -> tuple[list[int], list[int]] | None:
        """The offsets of the keys, and the values of `COLUMNS`."""
        data = np.frombuffer(raw, np.uint8)
        if not scan(data, self._keys, self._calls, self._groups, self._work, _MARKS, _TEXTS, self._found):
            return None
        found: list[int] = self._found.tolist()
        return self._keys[: found[3]].tolist(), found


def _kinds() -> np.ndarray:
    """Scratch space, and the wire type of every field that may stand once in a message, by number; -1: any other."""
    work = np.full((15, 17), -1, np.int64)
    varint, length = 0, 2
    for row, kinds in {
        2: {1: varint, 2: length, 3: length, 4: varint},  # an instruction
        5: {1: varint},  # a group of inner instructions
        6: {1: varint, 2: length, 3: length, 4: length, 5: length},  # a token balance
        7: {2: varint, 3: length},  # its amount
        8: {3: length, 4: length, 5: length, 6: length, 7: length, 9: length, 10: length},  # an update
        9: {1: length, 2: varint},  # of a transaction
        10: {1: length, 2: varint, 3: length, 4: length, 5: varint},  # what it says of it
        11: {2: length},  # the transaction
        12: {1: length},  # its message
        13: {1: varint},  # its header
        14: {1: length, 3: length, 4: length, 10: varint, 11: varint},  # its meta
    }.items():
        for number, kind in kinds.items():
            work[row, number] = kind
    return work


def _array(data: bytes, size: int | None = None) -> np.ndarray:
    return np.frombuffer(data.ljust(size or len(data), bytes(1)), np.uint8).copy()


_MARKS: Final = np.stack(
    [
        _array(mark, KEY_BYTES)
        for mark in (
            *(PUMP.key, AMM.key, PUMP.authority, AMM.authority),
            *(EVENT_CALL_PREFIX, _EVENTS[PUMP], _EVENTS[AMM]),
        )
    ]
)
_TEXTS: Final = tuple(
    _array(text.encode())
    for text in (
        *(PUMP.invoked, AMM.invoked, "Program data: ", LOG_TRUNCATED),
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    )
)
_scanner: Final = _Scanner()


def warm() -> None:
    """Compiles the kernel, or loads what was compiled before."""
    _scanner.places(b"")


def glance(raw: bytes) -> Glance | None:
    """The one buy that the SubscribeUpdate `raw` shows, its trader a signer; None where the decoder has to be asked."""
    places = _scanner.places(raw)
    if places is None:
        return None
    try:
        return _glance(raw, *places)
    except (DecodeError, LookupError):
        return None


def _glance(raw: bytes, keys_at: Sequence[int], found: Sequence[int]) -> Glance | None:
    slot, index, signature, _, n_signers, which, accounts, n_accounts, data, n_data, event, n_event = found
    keys = [raw[at : at + KEY_BYTES] for at in keys_at]
    program, body = (PUMP, AMM)[which], raw[event : event + n_event]
    named, instruction = raw[accounts : accounts + n_accounts], raw[data : data + n_data]
    if instruction[:DISCRIMINATOR_BYTES] not in _INSTRUCTIONS[program]:
        return None
    values = program.layouts[body[:DISCRIMINATOR_BYTES]].read(body, slot, None)
    user = values["user"]
    if values["mint" if program is PUMP else "pool"] not in keys or user not in keys[:n_signers]:
        return None
    swap = curve_swap(values) if program is PUMP else _pool_swap(values, instruction, named, keys, raw)
    if swap is None or not swap.buys or swap.quote != WSOL or swap.base == WSOL:
        return None
    sig = signature_text(raw[signature : signature + SIGNATURE_BYTES])
    return Glance(sig, slot, index, address_text(user), swap, program.key, instruction, named, keys)


def _pool_swap(values: Values, data: bytes, accounts: bytes, keys: Sequence[bytes], raw: bytes) -> Swap | None:
    """A pool's buy, whose mints its instruction names and its holdings do not deny."""
    base_at, quote_at, pool_at = _INSTRUCTIONS[AMM][data[:DISCRIMINATOR_BYTES]]
    pool: Any = values["pool"]
    if keys[accounts[pool_at]] != pool:
        return None
    base, quote = address_text(keys[accounts[base_at]]), address_text(keys[accounts[quote_at]])
    text, meta = address_text(pool), pb.SubscribeUpdate.FromString(raw).transaction.transaction.meta
    held = {
        one.mint
        for all_of in (meta.pre_token_balances, meta.post_token_balances)
        for one in all_of
        if one.owner == text
    }
    if held and not {base, quote} <= held:
        return None
    return pool_swap(values, True, base, quote)
