"""Planted transactions: the meaning of every kind of row."""

from dataclasses import replace

import pytest

from copytrader_core.pump.decode import decode
from copytrader_core.pump.emissions import AMM, PUMP
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_bytes
from tests.pump.planted import (
    NOW,
    WSOL_KEY,
    ZERO,
    Call,
    Signed,
    amm_call,
    event,
    key,
    landed,
    pool_accounts,
    pool_event,
    pump_call,
    purse,
    text,
    tokens,
    trade_event,
)

COIN, USDC = key("coin"), address_bytes("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
TRADER = key("trader")


def only(tx):
    found = decode(tx)
    assert not found.problems
    (row,) = found.events
    return row


def curve_buy(**values):
    return landed(pump_call("buy", [key("global"), COIN, TRADER], [trade_event(**values)]))


def pool_trade(name, base, quote, **values):
    instruction = "buy" if name == "BuyEvent" else "sell"
    return landed(
        amm_call(instruction, pool_accounts(base, quote), [pool_event(name, **values)]),
        after=[tokens(key("vault"), base, key("pool"), 1, 6), tokens(key("vault 2"), quote, key("pool"), 1, 9)],
    )


def test_a_curve_buyer_pays_protocol_creator_and_cashback_once():
    row = only(curve_buy(fee=48, creator_fee=15, cashback=5, buyback_fee=24, holder_rewards=15))
    assert (row.action, row.base_raw, row.quote_raw, row.swap_fee_raw) == ("BUY", 1_000, 5_068, 68)
    assert (row.reserve_base_raw, row.reserve_quote_raw) == (1_072_999_999_999_000, 30_000_005_000)
    assert row.price_est == pytest.approx((5_000 / 1e9) / (1_000 / 1e6))


def test_a_curve_seller_gets_what_the_curve_gave_less_the_fees():
    row = only(curve_buy(is_buy=False, fee=48, creator_fee=15))
    assert (row.action, row.quote_raw, row.swap_fee_raw) == ("SELL", 4_937, 63)
    assert (row.amount_in, row.amount_out) == (1_000 / 1e6, 4_937 / 1e9)
    assert row.price_est == pytest.approx((5_000 / 1e9) / (1_000 / 1e6))


def test_a_curve_quoted_in_wrapped_sol_is_a_curve_quoted_in_sol():
    assert only(curve_buy(quote_mint=WSOL_KEY)) == only(curve_buy())


def test_a_curve_quoted_in_a_token_ignores_the_meaningless_sol_fields():
    row = only(curve_buy(quote_mint=USDC, sol_amount=0, quote_amount=700, virtual_quote_reserves=4_292_000_700, fee=7))
    assert (row.quote_mint, row.quote_raw, row.swap_fee_raw) == (text(USDC), 707, 7)
    assert row.reserve_quote_raw == 4_292_000_700
    assert row.amount_in is None
    assert row.price_est is None


@pytest.mark.parametrize("exact", [False, True])
def test_what_a_pool_buyer_paid_is_the_larger_amount_whatever_the_field_is_called(exact):
    gross, net = 10_125, 10_000
    amounts = {"quote_amount_in": gross if exact else net, "user_quote_amount_in": net if exact else gross}
    row = only(
        pool_trade(
            "BuyEvent", COIN, WSOL_KEY, base_amount_out=77, lp_fee=20, protocol_fee=93, coin_creator_fee=12,
            virtual_quote_reserves=Signed(-400), ix_name="buy_exact_quote_in" if exact else "buy", **amounts,
        )
    )  # fmt: skip
    assert (row.action, row.base_raw, row.quote_raw, row.swap_fee_raw) == ("BUY", 77, 10_125, 125)
    assert row.reserve_base_raw == 10**12 - 77
    assert row.reserve_quote_raw == 10**11 + 10_000 + 20 - 400
    assert row.meta["vault_quote_raw"] == 10**11 + 10_020
    assert row.meta["virtual_quote_raw"] == -400


def test_fees_that_stay_in_the_vault_leave_the_virtual_reserves():
    row = only(
        pool_trade(
            "SellEvent", COIN, WSOL_KEY, base_amount_in=77, quote_amount_out=10_000, user_quote_amount_out=9_875,
            lp_fee=20, protocol_fee=93, buyback_fee=46, coin_creator_fee=12, protocol_fee_recipient=ZERO,
        )
    )  # fmt: skip
    assert (row.action, row.base_raw, row.quote_raw, row.swap_fee_raw) == ("SELL", 77, 9_875, 125)
    assert row.reserve_quote_raw == 10**11 - 10_000 + 20
    assert row.meta["vault_quote_raw"] == 10**11 - 10_000 + 20 + 93 - 46 + 12
    assert row.meta["virtual_quote_raw"] == -(93 - 46 + 12)


def test_buying_the_base_of_an_inverted_pool_is_selling_its_coin():
    row = only(
        pool_trade(
            "BuyEvent", WSOL_KEY, COIN, base_amount_out=500, quote_amount_in=10_000, user_quote_amount_in=10_030,
            lp_fee=20, protocol_fee=10,
        )
    )  # fmt: skip
    assert (row.action, row.mint, row.quote_mint) == ("SELL", text(COIN), WSOL)
    assert (row.base_raw, row.quote_raw, row.swap_fee_raw) == (10_030, 500, None)
    assert row.meta["fee_base_raw"] == 30
    assert (row.reserve_base_raw, row.reserve_quote_raw) == (10**11 + 10_020, 10**12 - 500)


@pytest.mark.parametrize(
    ("base", "quote", "coin"),
    [
        (COIN, WSOL_KEY, COIN),
        (WSOL_KEY, COIN, COIN),
        (USDC, COIN, COIN),
        (COIN, USDC, COIN),
        (USDC, WSOL_KEY, USDC),
        (WSOL_KEY, USDC, USDC),
        (COIN, key("other coin"), COIN),
    ],
)
def test_the_coin_of_a_pool_is_its_base_unless_the_base_is_money(base, quote, coin):
    row = only(pool_trade("BuyEvent", base, quote, base_amount_out=5, quote_amount_in=9, user_quote_amount_in=9))
    assert row.mint == row.base_mint == text(coin)
    assert row.quote_mint == text(quote if coin == base else base)


def test_a_buy_that_completes_its_curve_is_two_rows_with_the_event_between_counted():
    events = [
        trade_event(fee=10),
        event(PUMP, "CompleteEvent", user=TRADER, mint=COIN, timestamp=NOW),
        event(PUMP, "PostCompleteBuyEvent", user=TRADER, mint=COIN, timestamp=NOW, base_out=300, quote_in=2_000, fee=19,
              creator_fee=6, buyback_fee=9, pool_base_reserves_after=9, pool_quote_reserves_after=8),
    ]  # fmt: skip
    curve, pool = decode(landed(pump_call("buy_v3", [COIN, TRADER], events))).events
    assert (curve.event_seq, pool.event_seq) == (0, 2)
    assert curve.meta["complete"] is True
    assert (pool.action, pool.base_raw, pool.quote_raw, pool.swap_fee_raw) == ("BUY", 300, 2_025, 25)
    assert (pool.reserve_base_raw, pool.reserve_quote_raw) == (9, 8)


@pytest.mark.parametrize(("base", "quote"), [(COIN, WSOL_KEY), (WSOL_KEY, COIN)])
def test_deposits_and_withdrawals_are_seen_from_the_coin_and_charge_nothing(base, quote):
    reserves = {
        "pool_base_token_reserves": 1_000,
        "pool_quote_token_reserves": 5_000,
        "pool": key("pool"),
        "user": TRADER,
    }
    deposit = event(AMM, "DepositEvent", base_amount_in=10, quote_amount_in=50, timestamp=NOW, **reserves)
    withdraw = event(AMM, "WithdrawEvent", base_amount_out=10, quote_amount_out=50, timestamp=NOW, **reserves)
    accounts = [key("pool"), key("config"), TRADER, base, quote]
    add, remove = decode(
        landed(amm_call("deposit", accounts, [deposit]), amm_call("withdraw", accounts, [withdraw]))
    ).events
    amounts = (10, 50) if base == COIN else (50, 10)
    assert (add.action, remove.action) == ("ADD", "REMOVE")
    for row in (add, remove):
        assert (row.mint, row.quote_mint, row.swap_fee_raw) == (text(COIN), WSOL, 0)
        assert (row.base_raw, row.quote_raw) == amounts
    assert add.meta["vault_quote_raw"] == 5_050


def test_pool_creation_and_migration_give_no_row():
    created = event(AMM, "CreatePoolEvent", "timestamp")
    migrated = event(PUMP, "CompletePumpAmmMigrationEvent", timestamp=NOW)
    tx = landed(pump_call("migrate", [COIN], [migrated], [amm_call("create_pool", [COIN], [created])]))
    assert decode(tx) == decode(replace(tx, failed=True))


def through_a_router(user, *, coins_to, kept=0, sells=False, signers=()):
    trade = pump_call("buy", [COIN, user], [trade_event(user=user, is_buy=not sells)])
    moved = [tokens(key("ata"), COIN, coins_to, 1_000)] if coins_to else []
    moved += [tokens(key("purse ata"), COIN, user, kept)]
    # The curve's own coins are in both; amounts do not matter here.
    curve = tokens(key("curve ata"), COIN, key("curve"), 10**12)
    sides = {"before": [*moved, curve], "after": [curve]} if sells else {"before": [curve], "after": [*moved, curve]}
    return landed(Call(key("router"), [user], calls=[trade]), payer=key("payer"), signers=signers, **sides)


@pytest.mark.parametrize("sells", [False, True])
def test_the_trader_behind_a_routers_purse_is_the_fee_payer(sells):
    tx = through_a_router(purse("purse"), coins_to=key("payer"), sells=sells)
    row = only(tx)
    assert row.wallet == row.fee_payer == text(key("payer"))
    assert (row.outer_ix, row.inner_ix) == (0, 0)


def test_a_purse_whose_token_balances_are_missing_names_nobody():
    tx = replace(through_a_router(purse("purse"), coins_to=key("payer")), post_tokens=())
    found = decode(tx)
    assert not found.events and "who traded" in found.problems[0].reason


def test_a_purse_that_keeps_the_coins_is_the_trader_itself():
    assert only(through_a_router(purse("agent"), coins_to=None, kept=1_000)).wallet == text(purse("agent"))
    assert only(through_a_router(purse("agent"), coins_to=key("payer"), kept=1_000)).wallet == text(purse("agent"))


def test_a_purse_whose_coins_go_to_a_third_party_stays_the_trader():
    assert only(through_a_router(purse("agent"), coins_to=key("friend"))).wallet == text(purse("agent"))


def test_a_user_who_signs_or_could_sign_is_the_trader_whoever_pays():
    assert only(through_a_router(key("user"), coins_to=key("payer"))).wallet == text(key("user"))
    signing = through_a_router(purse("user"), coins_to=key("payer"), signers=[purse("user")])
    assert only(signing).wallet == text(purse("user"))


def test_other_programs_with_the_same_discriminators_give_nothing():
    stranger = Call(key("launchlab"), [COIN], PUMP.interface.instruction("buy").discriminator, events=[trade_event()])
    assert decode(landed(stranger, Call(PUMP.key, [COIN], b"set_params"))).events == ()


def test_shared_discriminators_are_told_apart_by_the_program():
    assert PUMP.interface.instruction("buy_v2").discriminator == AMM.interface.instruction("buy_v2").discriminator
    curve = landed(pump_call("buy_v2", [COIN, TRADER], [trade_event()]))
    assert (only(curve).program, only(curve).meta["venue"]) == (PUMP.text, "curve")
    pool = landed(
        amm_call(
            "buy_v2", pool_accounts(COIN, WSOL_KEY), [pool_event("BuyEvent", quote_amount_in=2, user_quote_amount_in=2)]
        )
    )
    assert (only(pool).program, only(pool).meta["venue"]) == (AMM.text, "amm")


def test_a_failed_transaction_yields_nothing_although_its_events_are_recorded():
    assert decode(replace(curve_buy(), failed=True)).events == ()


def test_events_of_one_instruction_are_counted_and_of_the_next_counted_anew():
    tx = landed(
        Call(
            key("router"),
            calls=[
                pump_call("buy", [COIN], [trade_event(token_amount=1), trade_event(token_amount=2)]),
                pump_call("sell", [COIN], [trade_event(token_amount=3, is_buy=False)]),
            ],
        )
    )
    rows = decode(tx).events
    assert [(row.inner_ix, row.event_seq, row.base_raw) for row in rows] == [(0, 0, 1), (0, 1, 2), (3, 0, 3)]


def test_an_unknown_instruction_with_a_known_event_is_still_a_row():
    row = only(landed(Call(PUMP.key, [COIN, TRADER], b"buy_v9!!", events=[trade_event()])))
    assert row.base_raw == 1_000
    assert "ix" not in row.meta


def test_an_unknown_event_is_a_problem():
    found = decode(landed(Call(PUMP.key, [COIN], b"buy_v9!!", events=[b"\xff" * 40])))
    assert "unknown discriminator" in found.problems[0].reason


def test_a_trade_without_its_event_is_a_problem():
    found = decode(landed(pump_call("buy", [COIN], []), Call(key("other"), calls=[Call(key("another"))])))
    assert found.events == ()
    assert "no event" in found.problems[0].reason


def test_tips_count_at_every_depth_and_only_to_tip_accounts():
    tip = address_bytes("96gYZGLnJYVFmbjzopPSU6QiEV5fGqZNyN9nmNhvrZU5")
    system = ZERO

    def send(to, lamports):
        return Call(system, [TRADER, to], b"\x02\0\0\0" + lamports.to_bytes(8, "little"))

    trade = pump_call("buy", [COIN], [trade_event()])
    tx = landed(send(tip, 1_000), trade, send(key("friend"), 77), Call(key("router"), calls=[send(tip, 30)]))
    assert only(tx).tip_lamports == 1_030


def test_a_coins_name_may_hold_what_postgres_cannot():
    created = event(PUMP, "CreateEvent", name="a\0b", symbol="$", mint=COIN, user=TRADER, creator=TRADER, timestamp=NOW)
    row = only(landed(pump_call("create_v2", [COIN], [created])))
    assert row.meta["name"] == "a\ufffdb"
    assert (row.action, row.quote_mint, row.wallet) == ("CREATE", WSOL, text(TRADER))
