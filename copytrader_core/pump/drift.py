"""Protocol drift: what a landed transaction shows that the known programs would not have done.

Three questions to every transaction: did something of the programs run, or speak, that is not known; do amounts and
fees follow from the reserves (`drift_trades`); does each coin go on where its last trade left it (`drift_continuity`)?
Bytes that cannot be decoded at all are `decode`'s problems. What a drift leads to is not decided here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from copytrader_core.errors import DecodeError
from copytrader_core.pump.decode import Decoded, Seen
from copytrader_core.pump.drift_trades import Finding, curve_trade, pool_part, pool_trade
from copytrader_core.pump.emissions import AMM, EVENT_CALL_PREFIX, PUMP, Frame, Program
from copytrader_core.pump.idl import DISCRIMINATOR_BYTES

UNKNOWN_INSTRUCTION: Final = "unknown_instruction"
UNKNOWN_EVENT: Final = "unknown_event"
LAYOUT_GROWN: Final = "layout_grown"

# What the programs can be asked besides the instructions of the interface files. None of them trades; by hand, because
# the interface files hold only what is decoded or built.
_BOTH: Final = (
    "admin_update_token_incentives claim_cashback claim_token_incentives close_user_volume_accumulator extend_account "
    "init_user_volume_accumulator set_reserved_fee_recipients sweep_creator_fee sweep_protocol_fee "
    "sync_user_volume_accumulator toggle_cashback_enabled toggle_mayhem_mode update_buyback_config "
    "update_creator_fee_config"
)
_PUMP_ONLY: Final = (
    "add_quote_control_mint add_quote_mint admin_cto admin_set_idl_authority claim_cashback_v2 collect_creator_fee "
    "collect_creator_fee_v2 distribute_creator_fees distribute_creator_fees_v2 distribute_fee_to_holders "
    "get_minimum_distributable_fee initialize initialize_quote_control migrate_bonding_curve_creator "
    "remove_quote_control_mint remove_quote_mint set_creator set_mayhem_virtual_params set_metaplex_creator set_params "
    "set_quote_control_admin set_virtual_quote_reserves toggle_create_v2 update_global_authority "
    "update_holder_reward_config withdraw"
)
_AMM_ONLY: Final = (
    "admin_cto_pool collect_coin_creator_fee create_config disable migrate_pool_coin_creator set_boost_authority "
    "set_coin_creator toggle_boost transfer_creator_fees_to_pump transfer_creator_fees_to_pump_v2 update_admin "
    "update_fee_config"
)
# Anchor's own: publishing the interface on chain.
_ANCHOR_IDL: Final = bytes.fromhex("40f4bc78a7e9690a")
# The one list in the events that are read: an address and a share in u16.
SHAREHOLDER_BYTES: Final = 34


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that the known programs would not have done, in the transaction `sig` at `path` ("outer.inner").

    `program` is an address, `ix` the instruction, or what it is about: an event, or an unknown discriminator in hex.
    """

    kind: str
    program: str
    ix: str
    sig: str
    path: str
    expected: str
    found: str
    detail: str


def discriminator(instruction: str) -> bytes:
    """The eight bytes that call an instruction of that name (Anchor's rule)."""
    return hashlib.sha256(f"global:{instruction}".encode()).digest()[:DISCRIMINATOR_BYTES]


def _discriminators(names: str) -> frozenset[bytes]:
    # The prefix of event calls alone is a call of a program to itself that its routes make.
    return frozenset([*map(discriminator, names.split()), _ANCHOR_IDL, EVENT_CALL_PREFIX])


_OTHER_INSTRUCTIONS: Final = {
    PUMP: _discriminators(f"{_BOTH} {_PUMP_ONLY}"),
    AMM: _discriminators(f"{_BOTH} {_AMM_ONLY}"),
}


def other_instructions(program: Program) -> frozenset[bytes]:
    """The discriminators of `program` that are known although its interface file leaves them out."""
    return _OTHER_INSTRUCTIONS[program]


def examine(decoded: Decoded, sig: str) -> list[Drift]:
    """Every drift that the transaction shows by itself. Empty for nearly every transaction there is."""
    found: list[Drift] = []
    for frame in decoded.frames:
        if frame.fact is None and frame.ix is not None:
            _check_instruction(frame, sig, found)
    for seen in decoded.seen:
        frame, data = seen.emission.frame, seen.emission.data
        if seen.name is None:
            finding = Finding(UNKNOWN_EVENT, "a known event", f"{len(data)} bytes", "event discriminator")
            found.append(drift(frame, sig, finding, about=data[:DISCRIMINATOR_BYTES].hex()))
            continue
        findings = _trade_findings(seen)
        if findings:
            found.extend([drift(frame, sig, finding) for finding in findings])
        longest = _longest(seen)
        if len(data) > longest:
            finding = Finding(LAYOUT_GROWN, f"{longest} bytes", f"{len(data)} bytes", f"length of {seen.name}")
            found.append(drift(frame, sig, finding, about=seen.name))
    return found


def _trade_findings(seen: Seen) -> list[Finding] | None:
    ix = seen.emission.frame.name
    if seen.name == "TradeEvent":
        return curve_trade(seen.values, ix, seen.quote)
    if seen.name in ("BuyEvent", "SellEvent"):
        return pool_trade(seen.values, ix, seen.quote)
    return pool_part(seen.values, ix) if seen.name == "PostCompleteBuyEvent" else None


def _check_instruction(frame: Frame, sig: str, found: list[Drift]) -> None:
    data = frame.ix.data if frame.ix is not None else b""
    called = data[:DISCRIMINATOR_BYTES]
    if called not in _OTHER_INSTRUCTIONS[frame.program]:
        finding = Finding(UNKNOWN_INSTRUCTION, "a known instruction", f"{len(data)} bytes", "instruction discriminator")
        found.append(drift(frame, sig, finding, about=called.hex()))


def drift(frame: Frame, sig: str, finding: Finding, about: str | None = None) -> Drift:
    """The finding as a drift of that instruction, or of what it is `about`."""
    return Drift(
        kind=finding.kind,
        program=frame.program.text,
        ix=about or frame.name or "unknown",
        sig=sig,
        path=f"{frame.outer_ix}.{frame.inner_ix}",
        expected=str(finding.expected),
        found=str(finding.found),
        detail=finding.detail,
    )


@lru_cache(maxsize=64)
def _shape(program: Program, name: str) -> tuple[int, tuple[str, ...]]:
    """The event's bytes when its texts and lists are empty, and the names of those. Found by reading zeros."""
    codec = program.interface.event(name)
    n_bytes = DISCRIMINATOR_BYTES
    while True:
        try:
            values = codec.decode(bytes(n_bytes))
        except DecodeError:
            values = {}
        if len(values) == len(codec.fields):
            return n_bytes, tuple(field for field, value in values.items() if value in ("", []))
        n_bytes += 1


def _longest(seen: Seen) -> int:
    """How long the event can be in the newest layout that is known."""
    n_bytes, variable = _shape(seen.emission.frame.program, seen.name or "")
    for field in variable:
        value = seen.values.get(field)
        if value:
            n_bytes += len(value.encode()) if isinstance(value, str) else len(value) * SHAREHOLDER_BYTES
    return n_bytes
