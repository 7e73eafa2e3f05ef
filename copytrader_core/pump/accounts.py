"""Reads the accounts of pump.fun, PumpSwap and the fee program from their bytes. Quotes belong in `curve` and `amm`.

Layouts only ever grow at the tail: what an older, shorter account lacks reads as zero, what a newer one has beyond
these fields is ignored. Field names are the programs' own; reserves and fees are raw units.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.pump.addresses import ZERO_KEY, is_canonical_pool_creator
from copytrader_core.pump.amm import PoolState
from copytrader_core.pump.curve import CurveState
from copytrader_core.pump.fees import FeeConfig, Fees, FeeTier


class _Layout:
    """One account type as a list of field kinds, in the order of its bytes."""

    _KINDS: ClassVar = {"u8": "B", "u16": "H", "u64": "Q", "bool": "?", "key": "32s", "i128": "16s"}

    def __init__(self, name: str, discriminator: str, min_bytes: int, kinds: str) -> None:
        self.name, self.discriminator, self.min_bytes = name, bytes.fromhex(discriminator), min_bytes
        names = kinds.split()
        codes = [f"{32 * int(kind[4:])}s" if kind.startswith("keys") else self._KINDS[kind] for kind in names]
        self.struct = struct.Struct("<8x" + "".join(codes))
        self.ends = [8 + struct.calcsize("<" + "".join(codes[: i + 1])) for i in range(len(codes))]
        self.keys = [i for i, kind in enumerate(names) if kind == "key"]
        self.key_lists = [i for i, kind in enumerate(names) if kind.startswith("keys")]
        self.signed = [i for i, kind in enumerate(names) if kind == "i128"]

    def read(self, data: bytes) -> list[Any]:
        """The fields' values; a field that `data` does not hold to its last byte counts as zero."""
        if data[:8] != self.discriminator or len(data) < self.min_bytes:
            raise _not_a(self.name, data, self.min_bytes)
        whole = self.ends[bisect_right(self.ends, len(data)) - 1]
        fields = list(self.struct.unpack(data[:whole].ljust(self.struct.size, b"\0")))
        for i in self.keys:
            fields[i] = Pubkey(fields[i])
        for i in self.key_lists:
            fields[i] = tuple(Pubkey(fields[i][at : at + 32]) for at in range(0, len(fields[i]), 32))
        for i in self.signed:
            fields[i] = int.from_bytes(fields[i], "little", signed=True)
        return fields


def _not_a(name: str, data: bytes, at_least: int) -> DecodeError:
    return DecodeError(
        f"not a {name} account: expected its discriminator and at least {at_least} bytes,"
        f" found {data[:8].hex() or 'nothing'} and {len(data)} bytes"
    )


_BONDING_CURVE: Final = _Layout(
    "BondingCurve",
    "17b7f83760d8ac60",
    49,
    "u64 u64 u64 u64 u64 bool key bool bool key u64 bool bool u64 u64 u8 u64 u64 u64",
)
_POOL: Final = _Layout(
    "Pool",
    "f19a6d0411b16dbc",
    211,
    "u8 u16 key key key key key key u64 key bool bool i128 u64 bool bool u64 u64",
)
_GLOBAL: Final = _Layout(
    "Global",
    "a7e8e8b1c86c727f",
    113,
    "bool key key u64 u64 u64 u64 u64 key bool u64 u64 keys7 key key bool key key bool keys7 bool keys8 u64 u64 keys1"
    " bool u64 key bool u8",
)
_GLOBAL_CONFIG: Final = _Layout(
    "GlobalConfig",
    "95089ccaa0fcb0d9",
    313,
    "key u64 u64 u8 keys8 u64 key key key bool keys7 bool keys8 u64 key bool bool u64",
)


@dataclass(frozen=True, slots=True)
class BondingCurve:
    """A coin's curve account. `quote_mint` is the zero key for SOL, `creator_fee_bps` 0 without a fee of its own."""

    virtual_token_reserves: int
    virtual_quote_reserves: int
    real_token_reserves: int
    real_quote_reserves: int
    token_total_supply: int
    complete: bool
    creator: Pubkey
    is_mayhem_mode: bool
    is_cashback_coin: bool
    quote_mint: Pubkey
    creator_fee_bps: int
    can_edit_creator_fee: bool
    is_holder_reward: bool
    creator_fee: int
    protocol_fees: int
    depth: int
    initial_virtual_quote_reserves: int
    post_complete_base_out: int
    post_complete_quote_in: int

    @property
    def state(self) -> CurveState:
        """The reserves that quotes start from."""
        return CurveState(
            self.virtual_token_reserves,
            self.virtual_quote_reserves,
            self.real_token_reserves,
            self.real_quote_reserves,
        )

    @property
    def has_creator(self) -> bool:
        """Whether trades pay a creator fee."""
        return self.creator != ZERO_KEY


@dataclass(frozen=True, slots=True)
class Pool:
    """A PumpSwap pool account. The vault balances are not in it: see `state`."""

    pool_bump: int
    index: int
    creator: Pubkey
    base_mint: Pubkey
    quote_mint: Pubkey
    lp_mint: Pubkey
    pool_base_token_account: Pubkey
    pool_quote_token_account: Pubkey
    lp_supply: int
    coin_creator: Pubkey
    is_mayhem_mode: bool
    is_cashback_coin: bool
    virtual_quote_reserves: int
    creator_fee_bps: int
    can_edit_creator_fee: bool
    is_holder_reward: bool
    protocol_fees: int
    creator_fees: int

    def state(self, base_balance: int, quote_balance: int) -> PoolState:
        """The reserves that quotes start from, given the balances of the two vaults."""
        return PoolState(base_balance, quote_balance, self.virtual_quote_reserves)

    @property
    def has_creator(self) -> bool:
        """Whether trades pay a creator fee."""
        return self.coin_creator != ZERO_KEY

    @property
    def is_canonical(self) -> bool:
        """Whether the curve's migration created this pool."""
        return self.index == 0 and is_canonical_pool_creator(self.creator, self.base_mint)


@dataclass(frozen=True, slots=True)
class Global:
    """The curve program's settings."""

    initialized: bool
    authority: Pubkey
    fee_recipient: Pubkey
    initial_virtual_token_reserves: int
    initial_virtual_sol_reserves: int
    initial_real_token_reserves: int
    token_total_supply: int
    fee_basis_points: int
    withdraw_authority: Pubkey
    enable_migrate: bool
    pool_migration_fee: int
    creator_fee_basis_points: int
    fee_recipients: tuple[Pubkey, ...]
    set_creator_authority: Pubkey
    admin_set_creator_authority: Pubkey
    create_v2_enabled: bool
    whitelist_pda: Pubkey
    reserved_fee_recipient: Pubkey
    mayhem_mode_enabled: bool
    reserved_fee_recipients: tuple[Pubkey, ...]
    is_cashback_enabled: bool
    buyback_fee_recipients: tuple[Pubkey, ...]
    buyback_basis_points: int
    initial_virtual_quote_reserves: int
    whitelisted_quote_mints: tuple[Pubkey, ...]
    creator_fee_configurable: bool
    max_configurable_creator_fee_bps: int
    holder_reward_claim_authority: Pubkey
    is_holder_reward_enabled: bool
    max_curve_depth: int

    def protocol_recipients(self, *, is_mayhem: bool = False) -> tuple[Pubkey, ...]:
        """The wallets of which a trade names one as fee recipient; a mayhem coin has a list of its own."""
        if is_mayhem:
            return _set_keys(self.reserved_fee_recipient, *self.reserved_fee_recipients)
        return _set_keys(self.fee_recipient, *self.fee_recipients)

    @property
    def buyback_recipients(self) -> tuple[Pubkey, ...]:
        """The wallets of which a trade names one as buyback recipient."""
        return _set_keys(*self.buyback_fee_recipients)


@dataclass(frozen=True, slots=True)
class GlobalConfig:
    """PumpSwap's settings."""

    admin: Pubkey
    lp_fee_basis_points: int
    protocol_fee_basis_points: int
    disable_flags: int
    protocol_fee_recipients: tuple[Pubkey, ...]
    coin_creator_fee_basis_points: int
    admin_set_coin_creator_authority: Pubkey
    whitelist_pda: Pubkey
    reserved_fee_recipient: Pubkey
    mayhem_mode_enabled: bool
    reserved_fee_recipients: tuple[Pubkey, ...]
    is_cashback_enabled: bool
    buyback_fee_recipients: tuple[Pubkey, ...]
    buyback_basis_points: int
    boost_authority: Pubkey
    boost_enabled: bool
    creator_fee_configurable: bool
    max_configurable_creator_fee_bps: int

    def protocol_recipients(self, *, is_mayhem: bool = False) -> tuple[Pubkey, ...]:
        """The wallets of which a v1 trade names one as fee recipient; a mayhem coin has a list of its own."""
        if is_mayhem:
            return _set_keys(self.reserved_fee_recipient, *self.reserved_fee_recipients)
        return _set_keys(*self.protocol_fee_recipients)

    @property
    def buyback_recipients(self) -> tuple[Pubkey, ...]:
        """The wallets of which a trade names one as buyback recipient."""
        return _set_keys(*self.buyback_fee_recipients)


def _set_keys(*keys: Pubkey) -> tuple[Pubkey, ...]:
    return tuple(key for key in keys if key != ZERO_KEY)


def decode_bonding_curve(data: bytes) -> BondingCurve:
    """Read a curve account of any age (49 bytes and more). Raises DecodeError for anything else."""
    return BondingCurve(*_BONDING_CURVE.read(data))


def decode_pool(data: bytes) -> Pool:
    """Read a pool account of any age (211 bytes and more). Raises DecodeError for anything else."""
    return Pool(*_POOL.read(data))


def decode_global(data: bytes) -> Global:
    """Read the curve program's Global account. Raises DecodeError for anything else."""
    return Global(*_GLOBAL.read(data))


def decode_global_config(data: bytes) -> GlobalConfig:
    """Read PumpSwap's GlobalConfig account. Raises DecodeError for anything else."""
    return GlobalConfig(*_GLOBAL_CONFIG.read(data))


_FEE_CONFIG = bytes.fromhex("8f3492bbdb7b4c9b")
_FEES: Final = struct.Struct("<3Q")
_TIER: Final = struct.Struct("<16s3Q")
_MAX_TIERS = 256


def decode_fee_config(data: bytes) -> FeeConfig:
    """Read a FeeConfig account (the curve's or PumpSwap's). Raises DecodeError for anything else or a cut tier list."""
    start = 8 + 1 + 32
    if data[:8] != _FEE_CONFIG or len(data) < start + _FEES.size + 4:
        raise _not_a("FeeConfig", data, start + _FEES.size + 4)
    flat = Fees(*_FEES.unpack_from(data, start))
    tiers, at = _tiers(data, start + _FEES.size)
    stable_tiers, at = _tiers(data, at)
    exotic = Fees(*_FEES.unpack(data[at : at + _FEES.size].ljust(_FEES.size, b"\0")))
    if not tiers:
        raise DecodeError("a FeeConfig without any fee tier cannot price a trade: check the account's address")
    return FeeConfig(flat, tiers, stable_tiers, exotic)


def _tiers(data: bytes, at: int) -> tuple[tuple[FeeTier, ...], int]:
    count = int.from_bytes(data[at : at + 4], "little")
    end = at + 4 + count * _TIER.size
    if count > _MAX_TIERS or (count and end > len(data)):
        raise DecodeError(
            f"FeeConfig claims {count} tiers at byte {at}, the account has {len(data)} bytes: fetch it whole"
        )
    tiers = (_TIER.unpack_from(data, at + 4 + i * _TIER.size) for i in range(count))
    return tuple(FeeTier(int.from_bytes(cap, "little"), Fees(*bps)) for cap, *bps in tiers), end
