"""The compiled codecs against official encodings, and the row arithmetic against the deployed programs."""

import json
import re

import pytest

from copytrader_core.errors import DecodeError
from copytrader_core.pump.idl import interface
from copytrader_core.pump.rows import curve_swap, pool_part, pool_swap
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_bytes, address_text
from tests.pump.planted import PUMP, trade_event


def vectors(shared, name):
    return json.loads((shared / "vectors" / name).read_bytes())


def snake(camel):
    return re.sub("[A-Z]", lambda match: "_" + match[0].lower(), camel)


def as_official(value):
    """A decoded value in the notation of the official vectors."""
    if isinstance(value, bytes):
        return address_text(value)
    if isinstance(value, list):
        return [{"address": address_text(item["address"]), "shareBps": item["share_bps"]} for item in value]
    return value if isinstance(value, bool | str) else str(value)


def official(value):
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def test_every_official_event_decodes_to_its_fields(shared):
    for vector in vectors(shared, "events.json")["vectors"]:
        data = bytes.fromhex(vector["data"])
        codecs = [interface(name).events.get(data[:8]) for name in ("pump", "pump_amm")]
        codec = next(it for it in codecs if it is not None and it.name == vector["name"])
        values = codec.decode(data)
        for name, expected in vector["decoded"].items():
            if snake(name) in values:
                assert as_official(values[snake(name)]) == official(expected)
            else:
                assert vector["trimmed_tail"]


def as_values(event):
    """An event of the deployed programs' vectors as the codec would give it."""
    values = {}
    for name, value in event.items():
        is_key = isinstance(value, str) and len(value) >= 32 and (not value.isdigit() or set(value) == {"1"})
        is_number = isinstance(value, str) and re.fullmatch("-?[0-9]+", value) and not is_key
        values[name] = address_bytes(value) if is_key else int(value) if is_number else value
    return values | {"is_buy": event.get("is_buy") in (True, "True")}


def test_pool_rows_equal_what_the_deployed_program_moved(shared):
    trades = [trade for trade in vectors(shared, "svm_amm_trades.json")["trades"] if trade["ok"]]
    for trade in trades:
        buys = trade["event_name"] == "BuyEvent"
        swap = pool_swap(as_values(trade["event"]), buys, trade["base_mint"], WSOL)
        after = {name: int(value) for name, value in trade["after"].items()}
        assert swap.base_amount == abs(int(trade["user_token_delta"]))
        assert swap.quote_amount == abs(int(trade["user_wsol_delta"]))
        assert swap.reserve_base == after["base"]
        assert swap.reserve_quote == after["quote"] + after["virtual_quote_reserves"]
        assert (swap.meta["vault_quote_raw"], swap.meta["virtual_quote_raw"]) == (
            after["quote"],
            after["virtual_quote_reserves"],
        )
    assert len(trades) > 150


def test_curve_rows_equal_what_the_deployed_program_moved(shared):
    trades = [trade for trade in vectors(shared, "svm_pump_trades.json")["trades"] if trade["ok"]]
    first_trade_rents = {0, 890_880, 1_844_400, 2_735_280}
    for trade in trades:
        swap = curve_swap(as_values(trade["event"]))
        lamports = int(trade["user_lamports_delta"]) + 5_000
        assert swap.base_amount == abs(int(trade["user_token_delta"]))
        assert (-lamports if swap.buys else lamports) - swap.quote_amount in first_trade_rents
        assert swap.reserve_base == int(trade["after"]["virtual_token_reserves"])
        assert swap.reserve_quote == int(trade["after"]["virtual_quote_reserves"])
    assert len(trades) > 200


def test_both_parts_of_a_completing_buy_sum_to_its_limit(shared):
    cases = [case for case in vectors(shared, "svm_synthetic_migration.json")["cases"] if case["ok"] and case["post"]]
    keys = {"mint": bytes(32), "user": bytes(32), "quote_mint": bytes(32)}
    for case in cases:
        curve, pool = curve_swap(as_values(case["trade"]) | keys), pool_part(as_values(case["post"]) | keys)
        assert curve.base_amount + pool.base_amount == int(case["tokens"])
        assert pool.reserve_base == int(case["post"]["pool_base_reserves_after"])
        if case["kind"] == "buy_v3":
            assert curve.quote_amount + pool.quote_amount == int(case["arg2"])
    assert cases


def test_every_discriminator_of_one_program_is_its_own():
    for name in ("pump", "pump_amm"):
        facts = interface(name)
        assert len({codec.name for codec in facts.events.values()}) == len(facts.events)
        assert all(len(disc) == 8 for disc in (*facts.events, *facts.instructions))


def test_the_shared_discriminator_of_extend_account_has_another_order_in_each_program():
    curve, pool = (interface(name).event("ExtendAccountEvent") for name in ("pump", "pump_amm"))
    assert curve.discriminator == pool.discriminator
    assert (curve.fields[0], pool.fields[0]) == ("account", "timestamp")


def test_an_event_that_ends_inside_a_field_is_refused():
    codec, whole = PUMP.interface.event("TradeEvent"), trade_event()
    ends = set()
    for size in range(8, len(whole)):
        try:
            codec.decode(whole[:size])
            ends.add(size)
        except DecodeError as error:
            assert "ends inside" in str(error)
    assert len(ends) == len(codec.fields)


def test_lengths_beyond_the_bytes_are_refused():
    codec = PUMP.interface.event("TradeEvent")
    whole = trade_event()
    at = whole.index(b"\x03\0\0\0buy")
    with pytest.raises(DecodeError, match="ix_name"):
        codec.decode(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :])
    with pytest.raises(DecodeError, match="ix_name"):
        codec.decode(whole[:at] + b"\x03\0\0\0\xff\xfe\xfd" + whole[at + 7 :])
