"""The short way to read the usual leader's buy: one trade of ours in the whole transaction, seen in full, paid in SOL.

It asks all that `copytrader_core.pump.decode` asks of such a transaction, and leaves out what only the record needs.
Whatever is cut, odd or more than one buy gives None, and the decoder has to be asked: it is the rule.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

from copytrader_core.errors import DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump.emissions import AMM, EVENT_CALL_PREFIX, PUMP, Program
from copytrader_core.pump.idl import DISCRIMINATOR_BYTES
from copytrader_core.pump.rows import Swap, Values, curve_swap, pool_swap
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_text, signature_text
from copytrader_core.solana.transaction import KEY_BYTES, LOG_TRUNCATED, MAX_AMOUNT, MAX_DECIMALS, SIGNATURE_BYTES

__all__ = ["Glance", "glance"]

_EVERY_INDEX: Final = bytes(range(256))
_DATA_LINE: Final = "Program data: "
_BODY: Final = len(EVENT_CALL_PREFIX)
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

_Call = tuple[int, int, bytes, bytes]
"""Depth, program index, accounts, data."""


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


class _Unusual(Exception):  # noqa: N818 - no error: the long way is taken
    """Not a transaction for the short way."""


def glance(info: pb.SubscribeUpdateTransactionInfo, slot: int) -> Glance | None:
    """The one buy that `info` is, its trader a signer; None where the decoder has to be asked."""
    try:
        return _glance(info, slot)
    except (_Unusual, DecodeError, ValueError, LookupError):
        return None


def _glance(info: pb.SubscribeUpdateTransactionInfo, slot: int) -> Glance:
    message, meta = info.transaction.message, info.meta
    keys = (*message.account_keys, *meta.loaded_writable_addresses, *meta.loaded_readonly_addresses)
    n_signers = message.header.num_required_signatures
    _check_frame(info, keys, n_signers)
    programs = {keys.index(program.key): program for program in (PUMP, AMM) if program.key in keys}
    program, frame, event = _trade(_calls(message, meta, len(keys)), programs, keys)
    _check_logs(meta, programs, event)
    pools = _check_tokens(meta, len(keys))
    values = program.layouts[event[:DISCRIMINATOR_BYTES]].read(event, slot, None)
    swap = curve_swap(values) if program is PUMP else _pool_swap(values, frame, keys, pools)
    named, user = values["mint" if program is PUMP else "pool"], values["user"]
    if named not in keys or user not in keys[:n_signers]:
        raise _Unusual
    if not swap.buys or swap.quote != WSOL or swap.base == WSOL:
        raise _Unusual
    _, _, accounts, data = frame
    sig = signature_text(info.signature)
    return Glance(sig, slot, info.index, address_text(user), swap, program.key, data, accounts, keys)


def _check_frame(info: pb.SubscribeUpdateTransactionInfo, keys: Sequence[bytes], n_signers: int) -> None:
    """That the transaction landed well and its parts fit together."""
    meta = info.meta
    n_keys = len(keys)
    if meta.HasField("err") or meta.log_messages_none or meta.inner_instructions_none:
        raise _Unusual
    if len(info.signature) != SIGNATURE_BYTES or not 1 <= n_signers <= n_keys or set(map(len, keys)) != {KEY_BYTES}:
        raise _Unusual
    if not len(meta.pre_balances) == len(meta.post_balances) == n_keys:
        raise _Unusual


def _calls(message: pb.Message, meta: pb.TransactionStatusMeta, n_keys: int) -> list[_Call]:
    """All instructions in execution order. Raises where one is missing or names what is not there."""
    groups = {group.index: group.instructions for group in meta.inner_instructions}
    calls: list[_Call] = []
    for index, outer in enumerate(message.instructions):
        calls.append((1, outer.program_id_index, outer.accounts, outer.data))
        depth = 1
        for ix in groups.pop(index, ()):
            height = ix.stack_height
            if not 2 <= height <= depth + 1:
                raise _Unusual
            depth = height
            calls.append((height, ix.program_id_index, ix.accounts, ix.data))
    if groups or len(meta.inner_instructions) != len({group.index for group in meta.inner_instructions}):
        raise _Unusual
    named = b"".join([call[2] for call in calls])
    if max([call[1] for call in calls]) >= n_keys or named.translate(None, _EVERY_INDEX[:n_keys]):
        raise _Unusual
    return calls


def _trade(calls: Sequence[_Call], programs: dict[int, Program], keys: Sequence[bytes]) -> tuple[Program, _Call, bytes]:
    """The one buy of ours and its event, which has to be called by it and by nothing between."""
    ours = [at for at, call in enumerate(calls) if call[1] in programs]
    if len(ours) != 2:
        raise _Unusual
    first, second = ours
    frame, (depth, index, accounts, data) = calls[first], calls[second]
    program = programs[frame[1]]
    between = [call[0] for call in calls[first + 1 : second]]
    if programs[index] is not program or depth != frame[0] + 1 or (between and min(between) < depth):
        raise _Unusual
    if frame[3][:DISCRIMINATOR_BYTES] not in _INSTRUCTIONS[program] or not data.startswith(EVENT_CALL_PREFIX):
        raise _Unusual
    if len(accounts) != 1 or keys[accounts[0]] != program.authority or not data.startswith(_EVENTS[program], _BODY):
        raise _Unusual
    return program, frame, data[_BODY:]


def _check_logs(meta: pb.TransactionStatusMeta, programs: dict[int, Program], event: bytes) -> None:
    """That the logs are whole, call ours as often as they ran, and hold the very same event."""
    logs = list(meta.log_messages)
    prefixes = tuple([program.invoked for program in programs.values()])
    if sum(map(str.startswith, logs, repeat(prefixes))) != 2 or LOG_TRUNCATED in logs:
        raise _Unusual
    if _DATA_LINE + base64.b64encode(event).decode() not in logs:
        raise _Unusual


def _check_tokens(meta: pb.TransactionStatusMeta, n_keys: int) -> list[tuple[str, str]]:
    """Owner and mint of every token balance; raises where one cannot be."""
    held: list[tuple[str, str]] = []
    for balances in (meta.pre_token_balances, meta.post_token_balances):
        for balance in balances:
            owner, amount = balance.owner, balance.ui_token_amount
            if balance.account_index >= n_keys or not owner:
                raise _Unusual
            if not 0 <= int(amount.amount) <= MAX_AMOUNT or not 0 <= amount.decimals <= MAX_DECIMALS:
                raise _Unusual
            held.append((owner, balance.mint))
    return held


def _pool_swap(values: Values, frame: _Call, keys: Sequence[bytes], held: Sequence[tuple[str, str]]) -> Swap:
    """A pool's buy, whose mints its instruction names and its holdings do not deny."""
    _, _, accounts, data = frame
    base_at, quote_at, pool_at = _INSTRUCTIONS[AMM][data[:DISCRIMINATOR_BYTES]]
    pool: Any = values["pool"]
    if keys[accounts[pool_at]] != pool:
        raise _Unusual
    base, quote = address_text(keys[accounts[base_at]]), address_text(keys[accounts[quote_at]])
    text = address_text(pool)
    mints = {mint for owner, mint in held if owner == text}
    if mints and not {base, quote} <= mints:
        raise _Unusual
    return pool_swap(values, True, base, quote)
