"""Accounts of every age, read from their bytes."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.pump import accounts
from copytrader_core.pump import addresses as a
from copytrader_core.pump.amm import PoolState
from copytrader_core.pump.curve import INITIAL_SOL_CURVE
from copytrader_core.pump.fees import CURVE_FEES, NO_FEES, POOL_FEES, FeeConfig, Fees, FeeTier

READERS: dict[str, Callable[[bytes], Any]] = {
    "BondingCurve": accounts.decode_bonding_curve,
    "Pool": accounts.decode_pool,
    "Global": accounts.decode_global,
}


def plain(value: Any) -> Any:
    """A field as text, here and in the vectors."""
    return [str(one) for one in value] if isinstance(value, (tuple, list)) else str(value)


def test_every_official_account_is_read_field_by_field(shared: Path) -> None:
    vectors = json.loads((shared / "vectors/accounts.json").read_text())["vectors"]
    assert {vector["kind"] for vector in vectors} == READERS.keys()
    for vector in vectors:
        account = READERS[vector["kind"]](bytes.fromhex(vector["data"]))
        for name, expected in vector["decoded"].items():
            field = re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)
            assert plain(getattr(account, field)) == plain(expected), field


CREATOR = Pubkey([9] * 32)
CURVE_49 = bytes.fromhex("17b7f83760d8ac60") + struct.pack(
    "<5Q?", 1_073_000_000_000_000, 30_000_000_000, 793_100_000_000_000, 0, 10**15, False
)
CURVE_FULL = CURVE_49 + struct.pack(
    "<32s??32sQ??QQBQQQ", bytes(CREATOR), True, False, bytes(32), 125, True, False, 7, 8, 2, 30, 11, 12
)


def test_the_oldest_curve_reads_as_one_without_creator() -> None:
    account = accounts.decode_bonding_curve(CURVE_49)
    assert account.state == INITIAL_SOL_CURVE
    assert not account.has_creator
    assert (account.creator_fee_bps, account.quote_mint) == (0, a.ZERO_KEY)


def test_todays_curve_is_read_to_its_last_field_and_a_longer_one_alike() -> None:
    account = accounts.decode_bonding_curve(CURVE_FULL)
    assert len(CURVE_FULL) == 166
    assert (account.creator, account.creator_fee_bps, account.depth) == (CREATOR, 125, 2)
    assert (account.post_complete_base_out, account.post_complete_quote_in) == (11, 12)
    assert account.has_creator
    assert accounts.decode_bonding_curve(CURVE_FULL + bytes(range(64))) == account


@pytest.mark.parametrize("length", range(49, 167))
def test_a_field_that_is_not_whole_reads_as_zero_never_as_a_part(length: int) -> None:
    whole, cut = accounts.decode_bonding_curve(CURVE_FULL), accounts.decode_bonding_curve(CURVE_FULL[:length])
    for field in accounts.BondingCurve.__dataclass_fields__:
        assert getattr(cut, field) in (getattr(whole, field), 0, False, a.ZERO_KEY)


def pool_bytes(virtual_quote: int) -> bytes:
    mint = Pubkey([3] * 32)
    keys = [a.pool_authority(mint), mint, *(Pubkey([i] * 32) for i in range(4, 8))]
    head = struct.pack("<BH", 255, 0) + b"".join(bytes(one) for one in keys) + struct.pack("<Q", 77)
    tail = bytes(CREATOR) + b"\x00\x01" + virtual_quote.to_bytes(16, "little", signed=True)
    return bytes.fromhex("f19a6d0411b16dbc") + head + tail


@pytest.mark.parametrize("virtual_quote", [17_584_505_288, -62_518_304])
def test_a_pools_virtual_reserve_is_signed(virtual_quote: int) -> None:
    pool = accounts.decode_pool(pool_bytes(virtual_quote))
    assert pool.state(5, 10) == PoolState(5, 10, virtual_quote)
    assert pool.is_canonical
    assert pool.is_cashback_coin
    assert pool.has_creator


def test_a_pool_of_a_stranger_is_not_canonical() -> None:
    data = bytearray(pool_bytes(0))
    data[11:43] = bytes(CREATOR)
    assert not accounts.decode_pool(bytes(data)).is_canonical


def fee_config_bytes(config: FeeConfig) -> bytes:
    def fees(one: Fees) -> bytes:
        return struct.pack("<3Q", one.lp_bps, one.protocol_bps, one.creator_bps)

    def tiers(many: tuple[FeeTier, ...]) -> bytes:
        listed = (one.market_cap_from.to_bytes(16, "little") + fees(one.fees) for one in many)
        return struct.pack("<I", len(many)) + b"".join(listed)

    head = bytes.fromhex("8f3492bbdb7b4c9b") + b"\xff" + bytes(32)
    return head + fees(config.flat) + tiers(config.tiers) + tiers(config.stable_tiers) + fees(config.exotic_flat)


@pytest.mark.parametrize("config", [CURVE_FEES, POOL_FEES])
def test_a_fee_schedule_survives_its_account(config: FeeConfig) -> None:
    assert accounts.decode_fee_config(fee_config_bytes(config).ljust(4097, b"\0")) == config


def test_an_older_fee_schedule_has_neither_stable_tiers_nor_exotic_fees() -> None:
    old = FeeConfig(Fees(25, 5, 0), (FeeTier(0, Fees(2, 93, 30)),), (), NO_FEES)
    assert accounts.decode_fee_config(fee_config_bytes(old)[: -24 - 4]) == old


def test_a_fee_schedule_that_is_cut_or_empty_is_refused() -> None:
    with pytest.raises(DecodeError, match="claims 25 tiers"):
        accounts.decode_fee_config(fee_config_bytes(POOL_FEES)[:500])
    with pytest.raises(DecodeError, match="without any fee tier"):
        accounts.decode_fee_config(fee_config_bytes(FeeConfig(NO_FEES, (), (), NO_FEES)))


@pytest.mark.parametrize(
    "read",
    [
        accounts.decode_bonding_curve,
        accounts.decode_pool,
        accounts.decode_global,
        accounts.decode_global_config,
        accounts.decode_fee_config,
    ],
)
@pytest.mark.parametrize("data", [b"", bytes(8), CURVE_49[:48], bytes(5000)])
def test_bytes_of_something_else_are_refused(read: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(DecodeError, match="not a"):
        read(data)


def global_config_bytes() -> bytes:
    keys = [bytes([i] * 32) for i in range(1, 40)]
    return (
        bytes.fromhex("95089ccaa0fcb0d9")
        + keys[0]
        + struct.pack("<QQB", 20, 5, 0)
        + b"".join(keys[1:8])
        + bytes(32)
        + struct.pack("<Q", 5)
        + b"".join(keys[8:11])
        + b"\x01"
        + b"".join(keys[11:18])
        + b"\x01"
        + b"".join(keys[18:26])
        + struct.pack("<Q32s??Q", 5000, keys[26], True, True, 300)
    )


def test_pumpswaps_settings_are_read_and_empty_recipient_slots_left_out() -> None:
    data = global_config_bytes()
    config = accounts.decode_global_config(data)
    assert len(data) == 949
    assert len(config.protocol_recipients()) == 7
    assert config.protocol_recipients(is_mayhem=True)[0] == Pubkey([11] * 32)
    assert config.buyback_recipients == tuple(Pubkey([i] * 32) for i in range(19, 27))
    assert (config.buyback_basis_points, config.max_configurable_creator_fee_bps) == (5000, 300)


def test_the_curves_settings_give_the_recipients_that_are_known(shared: Path) -> None:
    vectors = json.loads((shared / "vectors/accounts.json").read_text())["vectors"]
    for vector in vectors:
        if vector["kind"] == "Global":
            settings = accounts.decode_global(bytes.fromhex(vector["data"]))
            assert settings.protocol_recipients() == a.FEE_RECIPIENTS
            assert settings.protocol_recipients(is_mayhem=True) == a.MAYHEM_FEE_RECIPIENTS
            assert settings.buyback_recipients == a.BUYBACK_FEE_RECIPIENTS
