"""What the kernels know of the programs, as arrays: built from the interfaces and the rules, never written by hand.

Kernels get these as arguments and not as constants, so that machine code on disk never outlives an interface file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from anchorpy_idl import Idl, IdlTypeSimple, IdlTypeVec
from solders.pubkey import Pubkey

from copytrader_core.files import data_dir
from copytrader_core.pump.addresses import JITO_TIP_ACCOUNTS, MAYHEM_SOL_VAULT, USDC_MINT
from copytrader_core.pump.drift import SHAREHOLDER_BYTES, other_instructions
from copytrader_core.pump.drift_trades import EXACT_IN, EXACT_OUT, MAX_CREATOR_BPS, SCHEDULE_SINCE
from copytrader_core.pump.emissions import AMM, EVENT_CALL_PREFIX, PUMP, ROUTE, Program
from copytrader_core.pump.fees import CURVE_FEES, POOL_FEES, pool_fees
from copytrader_core.pump.rows import MONEY, STABLES
from copytrader_core.records import WSOL
from copytrader_core.solana.programs import SYSTEM_PROGRAM
from ingest_worker.kernel.transaction import MAX_FIELDS

# The events that become rows here; every other one makes a transaction unusual, or gives no row.
TRADE, BUY, SELL, CREATE = range(4)
_EVENTS: Final = ((PUMP, "TradeEvent"), (AMM, "BuyEvent"), (AMM, "SellEvent"), (PUMP, "CreateEvent"))
SILENT: Final = -1
"""An event that gives no row and tells nothing that is needed."""
_OTHER_ROWS: Final = frozenset({"PostCompleteBuyEvent", "DepositEvent", "WithdrawEvent", "CompleteEvent"})

# Kinds of fields. The others of the interface files do not stand in these events.
KEY, BOOL, U8, U64, I64, TEXT, I128, SHAREHOLDERS = range(1, 9)
_KINDS: Final = {
    IdlTypeSimple.Pubkey: KEY,
    IdlTypeSimple.Bool: BOOL,
    IdlTypeSimple.U8: U8,
    IdlTypeSimple.U64: U64,
    IdlTypeSimple.I64: I64,
    IdlTypeSimple.String: TEXT,
    IdlTypeSimple.I128: I128,
}

# What the kernels ask of an event, under one name for all of them; -1 where an event has no such field.
_FIELDS: Final[dict[str, tuple[str, str, str, str]]] = {
    "MINT": ("mint", "", "", "mint"),
    "POOL": ("", "pool", "pool", ""),
    "USER": ("user", "user", "user", "user"),
    "TIMESTAMP": ("timestamp", "timestamp", "timestamp", "timestamp"),
    "IS_BUY": ("is_buy", "", "", ""),
    "SOL_AMOUNT": ("sol_amount", "", "", ""),
    "QUOTE_AMOUNT": ("quote_amount", "", "", ""),
    "BASE_AMOUNT": ("token_amount", "base_amount_out", "base_amount_in", ""),
    "SOL_RESERVES": ("virtual_sol_reserves", "", "", "virtual_sol_reserves"),
    "BASE_RESERVES": (
        "virtual_token_reserves", "pool_base_token_reserves", "pool_base_token_reserves", "virtual_token_reserves",
    ),
    "QUOTE_RESERVES": (
        "virtual_quote_reserves", "pool_quote_token_reserves", "pool_quote_token_reserves", "virtual_quote_reserves",
    ),
    "REAL_SOL": ("real_sol_reserves", "", "", ""),
    "REAL_BASE": ("real_token_reserves", "", "", "real_token_reserves"),
    "REAL_QUOTE": ("real_quote_reserves", "", "", ""),
    "PROTOCOL_BPS": ("fee_basis_points", "protocol_fee_basis_points", "protocol_fee_basis_points", ""),
    "PROTOCOL_FEE": ("fee", "protocol_fee", "protocol_fee", ""),
    "CREATOR": ("creator", "coin_creator", "coin_creator", "creator"),
    "CREATOR_BPS": ("creator_fee_basis_points", "coin_creator_fee_basis_points", "coin_creator_fee_basis_points", ""),
    "CREATOR_FEE": ("creator_fee", "coin_creator_fee", "coin_creator_fee", ""),
    "CASHBACK_BPS": ("cashback_fee_basis_points",) * 3 + ("",),
    "CASHBACK": ("cashback", "cashback", "cashback", ""),
    "BUYBACK_BPS": ("buyback_fee_basis_points",) * 3 + ("",),
    "BUYBACK_FEE": ("buyback_fee", "buyback_fee", "buyback_fee", ""),
    "MAYHEM": ("mayhem_mode", "", "", "is_mayhem_mode"),
    "QUOTE_MINT": ("quote_mint", "", "", "quote_mint"),
    "LP_BPS": ("", "lp_fee_basis_points", "lp_fee_basis_points", ""),
    "LP_FEE": ("", "lp_fee", "lp_fee", ""),
    "POOL_MOVED": ("", "quote_amount_in", "quote_amount_out", ""),
    "USER_MOVED": ("", "user_quote_amount_in", "user_quote_amount_out", ""),
    "WITH_LP": ("", "quote_amount_in_with_lp_fee", "quote_amount_out_without_lp_fee", ""),
    "RECIPIENT": ("", "protocol_fee_recipient", "protocol_fee_recipient", ""),
    "VIRTUAL_QUOTE": ("", "virtual_quote_reserves", "virtual_quote_reserves", ""),
    "IX_NAME": ("ix_name", "ix_name", "", ""),
    "NAME": ("", "", "", "name"),
    "SYMBOL": ("", "", "", "symbol"),
    "URI": ("", "", "", "uri"),
}  # fmt: skip
(
    MINT, POOL, USER, TIMESTAMP, IS_BUY, SOL_AMOUNT, QUOTE_AMOUNT, BASE_AMOUNT, SOL_RESERVES, BASE_RESERVES,
    QUOTE_RESERVES, REAL_SOL, REAL_BASE, REAL_QUOTE, PROTOCOL_BPS, PROTOCOL_FEE, CREATOR, CREATOR_BPS, CREATOR_FEE,
    CASHBACK_BPS, CASHBACK, BUYBACK_BPS, BUYBACK_FEE, MAYHEM, QUOTE_MINT, LP_BPS, LP_FEE, POOL_MOVED, USER_MOVED,
    WITH_LP, RECIPIENT, VIRTUAL_QUOTE, IX_NAME, NAME, SYMBOL, URI,
) = range(len(_FIELDS))  # fmt: skip

# What is known of an instruction: columns of `tables.instructions`.
IX_PROGRAM, IX_MODE, IX_SPEAKS, IX_TRADES, IX_BASE, IX_QUOTE, IX_POOL, IX_NAME_AT, IX_NAME_LENGTH = range(9)
# How a purchase is to be recomputed; UNTOLD is none of the two.
UNTOLD, OUT, IN = range(3)
# An instruction outside the interface files that is known all the same, and one that this lane leaves to the decoder.
UNNAMED, UNUSUAL_IX = -1, -2

_SOL, _STABLE, _EXOTIC = range(3)


# Rows of `tables.keys`.
K_PUMP, K_AMM, K_PUMP_AUTHORITY, K_AMM_AUTHORITY, K_SYSTEM, K_MAYHEM, K_WSOL, K_ZERO, K_USDC, K_TIPS = range(10)
N_TIPS: Final = len(JITO_TIP_ACCOUNTS)
# Entries of `tables.texts`: the programs, what a coin is paid in, then whatever is looked for or written.
_LITERALS: Final = (
    "Program ", " invoke [", "Program data: ", "Log truncated", "BUY", "SELL", "CREATE", '{"venue":"curve"',
    '{"venue":"amm"', ',"real_base_raw":', ',"real_quote_raw":', ',"protocol_fee_bps":', ',"creator_fee_bps":',
    ',"lp_fee_bps":', ',"cashback_raw":', ',"creator":"', ',"mayhem":true', ',"mayhem":false', ',"timestamp":',
    ',"pool":"', ',"vault_quote_raw":', ',"virtual_quote_raw":', ',"fee_base_raw":', ',"name":', ',"symbol":',
    ',"uri":', ',"ix":"', ',"base_decimals":', ',"quote_decimals":', ',"source":"cpi"}', "create",
)  # fmt: skip
(
    T_PUMP, T_AMM, T_WSOL, T_USDC, T_USDT, T_USD1, T_PROGRAM, T_INVOKE, T_DATA, T_TRUNCATED, T_BUY, T_SELL, T_CREATE,
    T_CURVE, T_POOL_VENUE, T_REAL_BASE, T_REAL_QUOTE, T_PROTOCOL_BPS, T_CREATOR_BPS, T_LP_BPS, T_CASHBACK, T_CREATOR,
    T_MAYHEM, T_NO_MAYHEM, T_TIMESTAMP, T_POOL, T_VAULT, T_VIRTUAL, T_FEE_BASE, T_NAME, T_SYMBOL, T_URI, T_IX,
    T_BASE_DECIMALS, T_QUOTE_DECIMALS, T_SOURCE, T_CREATE_IX,
) = range(37)  # fmt: skip
N_MONEY: Final = len(MONEY)
# Entries of `tables.rates`.
R_CURVE_PROTOCOL, R_CURVE_CREATOR, R_FLAT_LP, R_FLAT_PROTOCOL, R_FLAT_CREATOR, R_MAX_CREATOR, R_SINCE = range(7)
R_EXOTIC_LP, R_EXOTIC_PROTOCOL, R_EXOTIC_CREATOR = range(7, 10)


def _int64(raw: bytes) -> int:
    return int.from_bytes(raw[:8], "little", signed=True)


def build() -> Any:
    """The programs as they are known now, in one record: discriminators as little-endian int64, keys as 32 bytes."""
    from ingest_worker.kernel.base58 import ADDRESS_POWERS, ALPHABET, SIGNATURE_POWERS

    instructions, discriminators, instruction_of, names = _instructions()
    event_discriminators, event_of = _event_discriminators()
    texts, text_at = _texts()
    parts = {
        "keys": _keys(),
        "texts": texts,
        "text_at": text_at,
        "discriminators": discriminators,
        "instruction_of": instruction_of,
        "instructions": instructions,
        "names": names,
        "event_discriminators": event_discriminators,
        "event_of": event_of,
        **_layouts(),
        "tiers": _tiers(),
        "rates": _rates(),
        "tens": np.array([10**power for power in range(19)], np.int64),
        "scales": np.array([10.0**power for power in range(-255, 256)], np.float64),
        "address_powers": ADDRESS_POWERS,
        "signature_powers": SIGNATURE_POWERS,
        "alphabet": ALPHABET,
    }
    record = np.zeros(1, np.dtype([(name, part.dtype, part.shape) for name, part in parts.items()]))
    for name, part in parts.items():
        record[name][0] = part
    return record[0]


def _keys() -> np.ndarray:
    rows = [
        PUMP.key, AMM.key, PUMP.authority, AMM.authority, bytes(SYSTEM_PROGRAM), bytes(MAYHEM_SOL_VAULT),
        bytes(Pubkey.from_string(WSOL)), bytes(32), bytes(USDC_MINT), *map(bytes, JITO_TIP_ACCOUNTS),
    ]  # fmt: skip
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32).copy()


def _texts() -> tuple[np.ndarray, np.ndarray]:
    usdc = str(USDC_MINT)
    others = sorted(STABLES - {usdc})
    texts = [PUMP.text, AMM.text, WSOL, usdc, *others, *_LITERALS]
    ends = np.cumsum([0, *map(len, texts)])
    return np.frombuffer("".join(texts).encode(), np.uint8).copy(), ends.astype(np.int64)


def _instructions() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Each program's discriminators (rows: program, discriminator) and what instruction each one calls."""
    rows: list[list[int]] = []
    pairs: list[tuple[int, int, int]] = []
    names = b""
    for number, program in enumerate((PUMP, AMM)):
        for disc in other_instructions(program):
            pairs.append((number, _int64(disc), UNNAMED))
        for fact in program.interface.instructions.values():
            pairs.append((number, _int64(fact.discriminator), len(rows)))
            rows.append(_instruction(number, fact.name, fact.accounts, len(names)))
            names += fact.name.encode()
    table = np.array(rows, np.int64)
    by_pair = {(program, disc): at for program, disc, at in pairs}
    routes = {(1, _int64(AMM.interface.instruction(ROUTE).discriminator))}
    routes.add((0, _int64(PUMP.interface.instruction("multi_hop_curve_swap").discriminator)))
    for pair in routes:
        by_pair[pair] = UNUSUAL_IX
    known = sorted(by_pair)
    return (
        table,
        np.array(known, np.int64).reshape(-1, 2),
        np.array([by_pair[pair] for pair in known], np.int64),
        np.frombuffer(names, np.uint8).copy(),
    )


def _instruction(program: int, name: str, accounts: Mapping[str, int], name_at: int) -> list[int]:
    from copytrader_core.pump.decode import SPEAKING
    from copytrader_core.pump.drift_continuity import TRADES

    mode = OUT if name in EXACT_OUT else IN if name in EXACT_IN else UNTOLD
    places = [accounts.get(account, -1) for account in ("base_mint", "quote_mint", "pool")]
    return [program, mode, int(name in SPEAKING), int(name in TRADES), *places, name_at, len(name)]


def _event_discriminators() -> tuple[np.ndarray, np.ndarray]:
    found: dict[tuple[int, int], int] = {}
    for number, program in enumerate((PUMP, AMM)):
        for disc, codec in program.interface.events.items():
            ours = [at for at, event in enumerate(_EVENTS) if event == (program, codec.name)]
            found[number, _int64(disc)] = ours[0] if ours else UNUSUAL_IX if codec.name in _OTHER_ROWS else SILENT
    known = sorted(found)
    return np.array(known, np.int64), np.array([found[pair] for pair in known], np.int64)


def _layouts() -> dict[str, np.ndarray]:
    kinds = np.zeros((len(_EVENTS), MAX_FIELDS), np.int64)
    allowed = np.zeros((len(_EVENTS), MAX_FIELDS + 1), np.uint8)
    since = np.full((len(_EVENTS), 16), np.iinfo(np.int64).max, np.int64)
    count = np.zeros((len(_EVENTS), 16), np.int64)
    is_share = np.zeros((len(_EVENTS), MAX_FIELDS), np.uint8)
    where = np.full((len(_EVENTS), len(_FIELDS)), -1, np.int64)
    for event, (program, name) in enumerate(_EVENTS):
        codec = program.interface.event(name)
        layouts = program.layouts[codec.discriminator]
        kinds[event, : len(codec.fields)] = _kinds(program, name)
        allowed[event, list(layouts.counts)] = True
        for at, (moment, fields) in enumerate(layouts.dated):
            since[event, at], count[event, at] = moment, fields
        is_share[event, : len(codec.fields)] = [field in layouts.shares for field in codec.fields]
        for asked, names in enumerate(_FIELDS.values()):
            if names[event]:
                where[event, asked] = codec.fields.index(names[event])
    return {
        "kinds": kinds,
        "allowed": allowed,
        "dated_since": since,
        "dated_count": count,
        "is_share": is_share,
        "where": where,
    }


def _kinds(program: Program, name: str) -> Sequence[int]:
    idl = Idl.from_json((data_dir("idl") / f"{'pump' if program is PUMP else 'pump_amm'}.json").read_text())
    definition: Any = next(it for it in idl.types if it.name == name)
    fields = definition.ty.fields.fields
    return [SHAREHOLDERS if isinstance(it.ty, IdlTypeVec) else _KINDS[it.ty] for it in fields]


def _tiers() -> np.ndarray:
    """Rows (quote kind, market cap from, lp, protocol, creator), the highest tier of each kind first."""
    rows = []
    for kind, tiers in ((_SOL, POOL_FEES.tiers), (_STABLE, POOL_FEES.stable_tiers)):
        for tier in reversed(tiers):
            rows.append([kind, tier.market_cap_from, tier.fees.lp_bps, tier.fees.protocol_bps, tier.fees.creator_bps])
    return np.array(rows, np.int64)


def _rates() -> np.ndarray:
    flat, exotic, curve = POOL_FEES.flat, pool_fees(POOL_FEES, "exotic", 0), CURVE_FEES.flat
    return np.array(
        [
            curve.protocol_bps, curve.creator_bps, flat.lp_bps, flat.protocol_bps, flat.creator_bps, MAX_CREATOR_BPS,
            SCHEDULE_SINCE, exotic.lp_bps, exotic.protocol_bps, exotic.creator_bps,
        ],
        np.int64,
    )  # fmt: skip


EVENT_PREFIX: Final = _int64(EVENT_CALL_PREFIX)
SHAREHOLDER: Final = SHAREHOLDER_BYTES
