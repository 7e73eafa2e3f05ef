"""Builds landed transactions around planted events, so that a test says only what it is about."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from solders.pubkey import Pubkey

from copytrader_core.pump.emissions import AMM, EVENT_CALL_PREFIX, PUMP, Program
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_bytes, address_text
from copytrader_core.solana.transaction import RawInstruction, RawTransaction, TokenBalance

WSOL_KEY = address_bytes(WSOL)
ZERO = bytes(32)
# After every layout change; the newest that is demanded of an event is then the newest that there is.
NOW = 1_793_000_000
LONG_AGO = 1_730_000_000

_CODES = {"u8": "B", "u16": "H", "u64": "Q", "i64": "q", "bool": "?"}
_TEXTS = {"ix_name", "name", "symbol", "uri"}
_KEYS = {
    "mint", "user", "fee_recipient", "creator", "quote_mint", "bonding_curve", "token_program", "pool", "coin_creator",
    "user_base_token_account", "user_quote_token_account", "user_pool_token_account", "protocol_fee_recipient",
    "protocol_fee_recipient_token_account",
}  # fmt: skip
_FLAGS = {
    "is_buy", "track_volume", "mayhem_mode", "can_boost", "is_mayhem_mode", "is_cashback_enabled", "is_holder_reward",
}  # fmt: skip


def key(name: str) -> bytes:
    """An on-curve address of that name."""
    seed = name.encode().ljust(31, b"\0")
    return next(seed + bytes([n]) for n in range(256) if Pubkey(seed + bytes([n])).is_on_curve())


def purse(name: str) -> bytes:
    """A program-owned address of that name: no private key can sign for it."""
    return bytes(Pubkey.find_program_address([name.encode()], Pubkey(key("router")))[0])


def text(key_bytes: bytes) -> str:
    """The address as text."""
    return address_text(key_bytes)


def event(program: Program, name: str, last: str | None = None, /, **values: Any) -> bytes:
    """The bytes of an event up to its field `last`; fields that are not given are zero."""
    codec = program.interface.event(name)
    fields = codec.fields if last is None else codec.fields[: codec.fields.index(last) + 1]
    assert set(values) <= set(fields), set(values) - set(fields)
    return codec.discriminator + b"".join(_encoded(field_name, values.get(field_name)) for field_name in fields)


def _encoded(name: str, value: Any) -> bytes:
    if name in _TEXTS:
        raw = (value or "").encode()
        return struct.pack("<I", len(raw)) + raw
    if name in _KEYS:
        return value or ZERO
    if name in _FLAGS:
        return bytes([value or 0])
    if name == "shareholders":
        return struct.pack("<I", 0)
    if name == "virtual_quote_reserves" and (value is None or value < 0 or isinstance(value, Signed)):
        return int(value or 0).to_bytes(16, "little", signed=True)
    if name == "depth":
        return bytes([value or 0])
    return struct.pack("<q" if name.endswith("timestamp") else "<Q", value or 0)


class Signed(int):
    """An i128 of an AMM event, where the curve has a u64 of the same name."""


def trade_event(last: str | None = "unnamed_tail", **values: Any) -> bytes:
    """A curve trade: 1,000 coins for 5,000 lamports unless said otherwise."""
    defaults = {
        "mint": key("coin"),
        "user": key("trader"),
        "is_buy": True,
        "sol_amount": 5_000,
        "token_amount": 1_000,
        "timestamp": NOW,
        "virtual_sol_reserves": 30_000_005_000,
        "virtual_token_reserves": 1_072_999_999_999_000,
        "ix_name": "buy",
        "virtual_quote_reserves": 30_000_005_000,
    }
    codec = PUMP.interface.event("TradeEvent")
    known = codec.fields if last is None else codec.fields[: codec.fields.index(last) + 1]
    merged = {name: value for name, value in {**defaults, **values}.items() if name in known}
    return event(PUMP, "TradeEvent", last, **merged)


def pool_event(name: str, last: str | None = "unnamed_tail", **values: Any) -> bytes:
    """A pool trade of `pool`, with its virtual reserves as the i128 that they are."""
    defaults = {
        "pool": key("pool"),
        "user": key("trader"),
        "timestamp": NOW,
        "pool_base_token_reserves": 10**12,
        "pool_quote_token_reserves": 10**11,
        "protocol_fee_recipient": key("fees"),
        "virtual_quote_reserves": Signed(0),
    }
    if name == "BuyEvent":
        defaults["ix_name"] = "buy"
    codec = AMM.interface.event(name)
    known = codec.fields if last is None else codec.fields[: codec.fields.index(last) + 1]
    merged = {name: value for name, value in {**defaults, **values}.items() if name in known}
    return event(AMM, name, last, **merged)


@dataclass
class Call:
    """One instruction: its program, its accounts, its data, what it calls, and the events that it writes last."""

    program: bytes
    accounts: Sequence[bytes] = ()
    data: bytes = b""
    calls: Sequence[Call] = ()
    events: Sequence[bytes] = ()


def pump_call(name: str, accounts: Sequence[bytes], events: Sequence[bytes], calls: Sequence[Call] = ()) -> Call:
    """A call of the curve program's instruction of that name."""
    return Call(PUMP.key, accounts, PUMP.interface.instruction(name).discriminator, calls, events)


def amm_call(name: str, accounts: Sequence[bytes], events: Sequence[bytes], calls: Sequence[Call] = ()) -> Call:
    """A call of the pool program's instruction of that name."""
    return Call(AMM.key, accounts, AMM.interface.instruction(name).discriminator, calls, events)


def pool_accounts(base: bytes, quote: bytes) -> list[bytes]:
    """The accounts of a pool trade as far as the decoder reads them: pool, user, config, base and quote mint."""
    return [key("pool"), key("trader"), key("config"), base, quote]


def tokens(account: bytes, mint: bytes, owner: bytes, amount: int, decimals: int = 6) -> tuple[Any, ...]:
    """One token balance, to be given to `landed`."""
    return (account, mint, owner, amount, decimals)


@dataclass
class _Ledger:
    keys: list[bytes] = field(default_factory=list)

    def index(self, wanted: bytes) -> int:
        if wanted not in self.keys:
            self.keys.append(wanted)
        return self.keys.index(wanted)


def landed(
    *calls: Call,
    payer: bytes | None = None,
    signers: Sequence[bytes] = (),
    before: Sequence[tuple[Any, ...]] = (),
    after: Sequence[tuple[Any, ...]] = (),
    failed: bool = False,
    slot: int = 459_000_000,
    block_time: int | None = NOW,
) -> RawTransaction:
    """The transaction with these top-level calls, its inner instructions and its logs as a node reports them."""
    ledger = _Ledger()
    for signer in (payer or key("trader"), *signers):
        ledger.index(signer)
    n_signers = len(ledger.keys)
    outer, inner, logs = [], {}, []
    for at, call in enumerate(calls):
        group: list[RawInstruction] = []
        outer.append(_instruction(ledger, call, 1))
        _run(ledger, call, 1, group, logs)
        if group:
            inner[at] = tuple(group)
    held = [_balances(ledger, side) for side in (before, after)]
    return RawTransaction(
        slot=slot,
        tx_index=3,
        signature=bytes(range(64)),
        account_keys=tuple(ledger.keys),
        n_signers=n_signers,
        outer=tuple(outer),
        inner=inner,
        logs=tuple(logs),
        failed=failed,
        fee=5_000,
        pre_balances=(10**9,) * len(ledger.keys),
        post_balances=(10**9,) * len(ledger.keys),
        pre_tokens=held[0],
        post_tokens=held[1],
        version=0,
        block_time=block_time,
    )


def _instruction(ledger: _Ledger, call: Call, height: int) -> RawInstruction:
    accounts = bytes([ledger.index(account) for account in call.accounts])
    return RawInstruction(ledger.index(call.program), accounts, call.data, height)


def _run(ledger: _Ledger, call: Call, height: int, group: list[RawInstruction], logs: list[str]) -> None:
    address = text(call.program)
    logs.append(f"Program {address} invoke [{height}]")
    program = {PUMP.key: PUMP, AMM.key: AMM}.get(call.program)
    fact = program.interface.instructions.get(call.data[:8]) if program else None
    if fact:
        logs.append(f"Program log: Instruction: {''.join(part.title() for part in fact.name.split('_'))}")
    for inner in call.calls:
        group.append(_instruction(ledger, inner, height + 1))
        _run(ledger, inner, height + 1, group, logs)
    for data in call.events:
        logs.append("Program data: " + base64.b64encode(data).decode())
        authority = program.authority if program else key("authority")
        group.append(_instruction(ledger, Call(call.program, [authority], EVENT_CALL_PREFIX + data), height + 1))
        logs += [f"Program {address} invoke [{height + 1}]", f"Program {address} success"]
    logs += [f"Program {address} consumed 1 of 2 compute units", f"Program {address} success"]


def _balances(ledger: _Ledger, held: Sequence[tuple[Any, ...]]) -> tuple[TokenBalance, ...]:
    return tuple(
        TokenBalance(ledger.index(account), text(mint), text(owner), "", amount, decimals)
        for account, mint, owner, amount, decimals in held
    )
