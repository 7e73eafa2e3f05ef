"""Protocol drift: no alarm over anything that the real programs did, an alarm for everything that they would not do."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import replace

import pytest

from copytrader_core.errors import ConfigError
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import Decoded, Seen, decode
from copytrader_core.pump.drift import discriminator, examine
from copytrader_core.pump.drift_continuity import Continuity
from copytrader_core.pump.drift_trades import curve_trade, pool_part, pool_trade
from copytrader_core.pump.emissions import AMM, PUMP
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_bytes
from simnet.bytecode import load_snapshot
from simnet.demo_tape import TAPE
from simnet.record import record
from simnet.tape import read_tape
from tests.pump.planted import (
    WSOL_KEY,
    ZERO,
    Call,
    amm_call,
    key,
    landed,
    pool_accounts,
    pool_event,
    pump_call,
    trade_event,
)
from tests.pump.recorded import from_json, from_pb, json_files

ROUTES = sorted((TAPE.parent.parent.parent / "tests" / "pump" / "routes").glob("*.pb"))
USDC = address_bytes("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")


def played(path):
    for block in read_tape(path).blocks:
        for info in block.transactions:
            yield decode(transaction_from_update(info, block.slot, block.block_time.timestamp))


@pytest.fixture(scope="module")
def tape():
    return list(played(TAPE))


@pytest.fixture(scope="module")
def trades(tape):
    """Every trade of the tape, with the transaction that it is of."""
    names = ("TradeEvent", "BuyEvent", "SellEvent", "PostCompleteBuyEvent")
    return [(decoded, seen) for decoded in tape for seen in decoded.seen if seen.name in names]


def altered(seen: Seen, **values) -> Decoded:
    """A transaction that holds this event with other values."""
    return Decoded((), (), (), [seen._replace(values={**seen.values, **values})])


def kinds(found):
    return {drift.kind for drift in found}


def is_exact_in(seen):
    return "exact" in seen.emission.frame.name and seen.values.get("real_token_reserves") != 0


# --- no false alarm --------------------------------------------------------------------------------------------------


def test_recorded_mainnet_transactions_show_no_drift(shared):
    for file in json_files(shared):
        assert examine(decode(from_json(file)), file.stem) == []


def test_routes_over_curves_and_pools_show_no_drift():
    assert len(ROUTES) == 4
    for file in ROUTES:
        assert examine(decode(from_pb(file)), file.stem) == []


@pytest.mark.parametrize(("name", "program", "least"), [("svm_pump_trades", PUMP, 200), ("svm_amm_trades", AMM, 180)])
def test_every_vector_of_the_deployed_program_follows_from_its_reserves(shared, name, program, least):
    documents = json.loads((shared / "vectors" / f"{name}.json").read_text())["trades"]
    checked = 0
    for document in filter(lambda it: it.get("event_raw"), documents):
        data = base64.b64decode(document["event_raw"])
        ix = program.interface.instructions[bytes.fromhex(document["data"])[:8]].name
        check = curve_trade if program is PUMP else pool_trade
        assert check(program.interface.events[data[:8]].decode(data), ix, WSOL) == []
        checked += 1
    assert checked >= least


def test_every_synthetic_migration_follows_from_its_reserves(shared):
    cases = json.loads((shared / "vectors" / "svm_synthetic_migration.json").read_text())["cases"]
    checked = 0
    for case in filter(lambda it: it["ok"] and it["post"], cases):
        ix = "buy_v3" if case["kind"] == "buy_v3" else "buy_exact_quote_in_v3"
        values = {name: int(value) for name, value in case["post"].items()}
        assert pool_part({**values, "user": ZERO}, ix) == []
        checked += 1
    assert checked >= 5


def follow_whole(decoded_transactions):
    continuity, n_events = Continuity(), 0
    for decoded in decoded_transactions:
        assert not decoded.problems
        assert examine(decoded, "sig") == []
        assert continuity.follow(decoded, "sig") == []
        n_events += len(decoded.seen)
    return n_events, len(continuity)


def test_the_committed_tape_shows_no_drift_and_no_step(tape):
    n_events, n_coins = follow_whole(tape)
    assert n_events > 4000
    assert n_coins > 100


def test_a_fresh_recording_of_another_market_shows_no_drift(tmp_path):
    try:
        load_snapshot()
    except ConfigError as error:
        pytest.skip(f"the deployed programs are not at hand: {error}")
    recorded = record(tmp_path / "fresh.tape.zst", seed=4242, days=1, size=0.3)
    n_events, _ = follow_whole(played(recorded.tape))
    assert n_events > 300


def test_the_tape_holds_every_way_of_trading(trades):
    ways = Counter((seen.name, seen.emission.frame.name) for _, seen in trades)
    assert len(ways) >= 15
    assert ("PostCompleteBuyEvent", "buy_exact_quote_in_v3") in ways


# --- amounts and fees ------------------------------------------------------------------------------------------------


def one_unit_more(seen):
    """The same trade by a formula that gives one unit more: amounts and the reserves after it agree with each other."""
    values = seen.values
    if seen.name == "TradeEvent" and is_exact_in(seen):
        return {
            "token_amount": values["token_amount"] + 1,
            "virtual_token_reserves": values["virtual_token_reserves"] - 1,
        }
    if seen.name == "TradeEvent":
        sign = 1 if values["is_buy"] else -1
        return {
            "sol_amount": values["sol_amount"] + 1,
            "virtual_sol_reserves": values["virtual_sol_reserves"] + sign,
        }
    if seen.name == "PostCompleteBuyEvent":
        name = "base_out" if is_exact_in(seen) else "quote_in"
        return {name: values[name] + 1}
    if seen.name == "SellEvent":
        names = ("quote_amount_out", "quote_amount_out_without_lp_fee", "user_quote_amount_out")
        return {name: values[name] + 1 for name in names}
    if is_exact_in(seen):
        return {"base_amount_out": values["base_amount_out"] + 1}
    names = ("quote_amount_in", "quote_amount_in_with_lp_fee", "user_quote_amount_in")
    return {name: values[name] + 1 for name in names}


def test_a_formula_that_gives_one_unit_more_is_found_in_every_trade(trades):
    for _, seen in trades:
        assert "amounts" in kinds(examine(altered(seen, **one_unit_more(seen)), "sig")), seen


@pytest.mark.parametrize("by", [1, -1, 2, -2])
@pytest.mark.parametrize("name", ["fee", "creator_fee", "buyback_fee", "lp_fee", "protocol_fee", "coin_creator_fee"])
def test_a_fee_that_is_off_is_found_in_every_trade(trades, name, by):
    """By one unit where the coins are exact; an exact spend of one unit more may rightly charge one unit more."""
    carrying = [seen for _, seen in trades if seen.values.get(name) and seen.values.get("buyback_fee_basis_points")]
    carrying = [seen for seen in carrying if abs(by) > 1 or not is_exact_in(seen)]
    assert len(carrying) > 50
    for seen in carrying:
        assert "fees" in kinds(examine(altered(seen, **{name: seen.values[name] + by}), "sig")), seen


def recharged(seen, **bps):
    """The trade as a program with other rates would write it: every amount agrees with them."""
    net = seen.values["sol_amount"]
    fees = {name: -(-net * rate // 10_000) for name, rate in bps.items()}
    rates = {f"{name}_basis_points": rate for name, rate in bps.items()}
    return altered(seen, **fees, **rates, buyback_fee=fees["fee"] // 2)


def test_another_rate_on_the_curve_is_found_although_every_amount_agrees_with_it(trades):
    sells = [seen for _, seen in trades if seen.name == "TradeEvent" and not seen.values["is_buy"]]
    for rates in ({"fee": 90, "creator_fee": 30}, {"fee": 95, "creator_fee": 35}, {"fee": 0, "creator_fee": 0}):
        assert kinds(examine(recharged(sells[0], **rates), "sig")) == {"fee_schedule"}
    assert examine(recharged(sells[0], fee=95, creator_fee=30), "sig") == []


def test_another_tier_of_a_pool_is_found_although_every_amount_agrees_with_it(trades):
    seen = next(seen for _, seen in trades if seen.name == "SellEvent")
    net = seen.values["quote_amount_out"]
    lp, protocol, creator = (-(-net * bps // 10_000) for bps in (20, 5, 90))
    other = altered(
        seen,
        lp_fee_basis_points=20,
        protocol_fee_basis_points=5,
        coin_creator_fee_basis_points=90,
        lp_fee=lp,
        protocol_fee=protocol,
        coin_creator_fee=creator,
        buyback_fee=protocol // 2,
        quote_amount_out_without_lp_fee=net - lp,
        user_quote_amount_out=net - lp - protocol - creator,
    )
    (drift,) = examine(other, "sig")
    assert (drift.kind, drift.found, drift.detail) == ("fee_schedule", "20+5+90", "lp+protocol+creator bps")
    assert drift.expected != drift.found


def test_a_change_is_seen_within_twenty_events_of_any_stretch_of_the_tape(trades):
    """A program that charges five basis points more from some moment on: the first trade on the curve tells."""
    curve = [seen for _, seen in trades if seen.name == "TradeEvent" and not seen.values["is_buy"]]
    for start in range(0, len(curve) - 20, 20):
        found = [examine(recharged(seen, fee=100, creator_fee=30), "sig") for seen in curve[start : start + 20]]
        assert found[0]


# --- rates that differ by rule ---------------------------------------------------------------------------------------


def plain_buy(**values):
    """A buy of 10**9 raw coins on a curve at its start, and its fees as said."""
    net = 10**9 * 30_000_000_000 // (1_073_000_000_000_000 - 10**9) + 1
    merged = {
        "sol_amount": net,
        "quote_amount": net,
        "token_amount": 10**9,
        "virtual_sol_reserves": 30_000_000_000 + net,
        "virtual_quote_reserves": 30_000_000_000 + net,
        "virtual_token_reserves": 1_073_000_000_000_000 - 10**9,
        "real_token_reserves": 793_099_000_000_000,
        "fee_basis_points": 95,
        "fee": -(-net * 95 // 10_000),
        "creator": key("creator"),
        "creator_fee_basis_points": 30,
        "creator_fee": -(-net * 30 // 10_000),
        **values,
    }
    call = pump_call("buy", [key("global"), key("coin"), key("trader")], [trade_event(**merged)])
    return decode(landed(call))


def test_the_plain_buy_is_plain():
    assert examine(plain_buy(), "sig") == []


@pytest.mark.parametrize(
    "values",
    [
        {"creator": ZERO, "creator_fee_basis_points": 0, "creator_fee": 0},
        {"creator_fee_basis_points": 0, "creator_fee": 0, "cashback_fee_basis_points": 30, "cashback": 84},
        {"quote_mint": USDC, "sol_amount": 0, "creator_fee_basis_points": 125, "creator_fee": 350},
    ],
    ids=["no creator", "cashback instead", "own creator fee"],
)
def test_a_coin_without_creator_with_cashback_or_with_its_own_creator_fee_is_no_drift(values):
    assert examine(plain_buy(**values), "sig") == []


def test_rates_of_before_the_known_schedule_are_taken_as_the_event_names_them():
    before = {"timestamp": 1_788_000_000, "fee_basis_points": 100, "fee": 280}
    shorter = dict.fromkeys(())
    found = examine(plain_buy(**before, **shorter), "sig")
    assert found == []


# --- what is not known -----------------------------------------------------------------------------------------------


def test_an_event_that_has_grown_is_found_and_still_decoded():
    event = trade_event(quote_mint=USDC) + bytes(16)
    decoded = decode(landed(pump_call("buy", [key("global"), key("coin")], [event])))
    assert len(decoded.events) == 1
    (grown,) = [drift for drift in examine(decoded, "sig") if drift.kind == "layout_grown"]
    assert (grown.ix, grown.found, grown.expected) == ("TradeEvent", f"{len(event)} bytes", f"{len(event) - 16} bytes")


def test_texts_and_lists_of_any_length_are_no_growth():
    decoded = plain_buy(ix_name="buy_exact_quote_in_v2")
    assert "layout_grown" not in kinds(examine(decoded, "sig"))


def test_an_unknown_event_is_found():
    decoded = decode(landed(pump_call("buy", [key("global"), key("coin")], [b"newevent" + bytes(40)])))
    (drift,) = examine(decoded, "sig")
    assert (drift.kind, drift.ix, drift.path) == ("unknown_event", b"newevent".hex(), "0.-1")
    assert decoded.problems


def test_an_unknown_instruction_is_found_and_a_known_one_is_not():
    call = pump_call("buy", [key("coin")], [trade_event()])
    decoded = decode(landed(replace(call, data=b"newinstr")))
    found = [drift for drift in examine(decoded, "sig") if drift.kind == "unknown_instruction"]
    assert [(drift.ix, drift.program) for drift in found] == [(b"newinstr".hex(), PUMP.text)]
    for name in ("extend_account", "collect_creator_fee", "sweep_creator_fee", "set_params"):
        other = decode(landed(replace(call, data=discriminator(name))))
        assert "unknown_instruction" not in kinds(examine(other, "sig"))


# --- continuity ------------------------------------------------------------------------------------------------------


def test_a_missing_trade_shows_in_the_next_one_of_its_coin(tape):
    """Each trade of one transaction is left out in turn; only what follows on it in the same coin steps."""
    single = [at for at, decoded in enumerate(tape) if len(decoded.seen) == 1 and decoded.seen[0].name == "TradeEvent"]
    checked = 0
    for left_out in single[200:1000:40]:
        mint = tape[left_out].seen[0].values["mint"]
        later = [at for at in single if at > left_out and tape[at].seen[0].values["mint"] == mint]
        continuity = Continuity()
        steps = []
        for at, decoded in enumerate(tape):
            if at != left_out:
                steps += [(at, drift.kind) for drift in continuity.follow(decoded, "sig")]
        known_before = any(tape[at].seen[0].values["mint"] == mint for at in single if at < left_out)
        if later and known_before and steps:
            assert steps == [(later[0], "continuity")]
            checked += 1
    assert checked >= 10


def test_after_a_hole_in_the_stream_nothing_is_said(tape):
    continuity = Continuity()
    half = len(tape) // 2
    for decoded in tape[:half]:
        continuity.follow(decoded, "sig")
    continuity.forget()
    assert [step for decoded in tape[half + 50 :] for step in continuity.follow(decoded, "sig")] == []


def test_memory_is_bounded_and_the_coin_that_rested_longest_is_forgotten(tape):
    continuity = Continuity(max_coins=5)
    for decoded in tape:
        assert continuity.follow(decoded, "sig") == []
    assert len(continuity) == 5


def pool_sale(base=10**12, vault=10**11, ix="sell", **values):
    """A sale into a pool of the programs' own coin, at the rates of the first tier."""
    coins, net = 1_000_000, 1_000_000 * vault // (base + 1_000_000)
    lp, protocol, creator = (-(-net * bps // 10_000) for bps in (2, 93, 30))
    event = pool_event(
        "SellEvent",
        pool_base_token_reserves=base,
        pool_quote_token_reserves=vault,
        base_amount_in=coins,
        quote_amount_out=net,
        lp_fee_basis_points=2,
        lp_fee=lp,
        protocol_fee_basis_points=93,
        protocol_fee=protocol,
        coin_creator=key("creator"),
        coin_creator_fee_basis_points=30,
        coin_creator_fee=creator,
        quote_amount_out_without_lp_fee=net - lp,
        user_quote_amount_out=net - lp - protocol - creator,
        **values,
    )
    decoded = decode(landed(amm_call(ix, pool_accounts(key("coin"), WSOL_KEY), [event])))
    assert not decoded.problems
    return decoded, (base + coins, vault - net + lp)


def test_a_pool_that_lost_something_unseen_is_found_and_a_gift_is_not():
    first, (base, vault) = pool_sale()
    for now, is_step in (((base, vault), False), ((base + 5, vault + 7), False), ((base, vault - 1), True)):
        continuity = Continuity()
        assert continuity.follow(first, "sig") == []
        second, _ = pool_sale(*now)
        assert bool(continuity.follow(second, "sig")) is is_step


def test_an_instruction_that_is_no_trade_begins_its_pool_anew():
    first, (base, vault) = pool_sale()
    call = Call(AMM.key, pool_accounts(key("coin"), WSOL_KEY), discriminator("sweep_creator_fee"))
    sweep = decode(landed(call))
    continuity = Continuity()
    continuity.follow(first, "sig")
    continuity.follow(sweep, "sig")
    assert continuity.follow(pool_sale(base, vault - 1000)[0], "sig") == []
