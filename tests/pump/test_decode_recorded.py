"""Real transactions: every one decodes to what other means found in it, and to what its balances say."""

from collections import Counter
from dataclasses import replace

import pytest

from copytrader_core.pump.attribution import TransactionFacts
from copytrader_core.pump.decode import decode
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_text
from copytrader_core.solana.transaction import LOG_TRUNCATED
from tests.pump.recorded import from_json, from_pb, json_files, manifest, one, pb_files


def signed(event, amount):
    return amount if event.action == "BUY" else -amount


def trades(events):
    return [event for event in events if event.action in ("BUY", "SELL")]


def test_both_forms_of_a_transaction_give_the_same_rows(shared):
    for file in pb_files(shared):
        document = from_json(file.parent.parent / "mainnet" / f"{file.stem}.json")
        rows = decode(from_pb(file, document.block_time))
        assert [replace(event, tx_index=None) for event in rows.events] == list(decode(document).events)
        assert not rows.problems


def test_each_transaction_holds_the_events_that_the_manifest_lists(shared):
    rows = {"TradeEvent": "trade", "BuyEvent": "trade", "SellEvent": "trade", "CreateEvent": "CREATE"}
    listed = manifest(shared)
    for file in json_files(shared):
        names = [part.partition(":")[0] for part in listed[file.stem]["events"].split("|")]
        found = decode(from_json(file))
        kinds = ["CREATE" if event.action == "CREATE" else "trade" for event in found.events]
        assert Counter(kinds) == Counter(rows[name] for name in names if name in rows), file.stem
        assert not found.problems


def test_the_wallet_is_the_events_user_but_for_the_one_router_purse(shared):
    listed = manifest(shared)
    for file in json_files(shared):
        wallets = {event.wallet for event in decode(from_json(file)).events}
        users = set(filter(None, listed[file.stem]["users"].split("|")))
        expected = {"G2341KGbNxuSAfCfqNuPhfLQtPB94hPfgyVPC89Faor4"} if file.stem.startswith("2zNeSn8cJp") else users
        assert wallets == expected, file.stem


def test_the_coins_of_the_rows_are_the_coins_that_the_wallets_balances_moved(shared):
    for file in json_files(shared):
        tx = from_json(file)
        moved = Counter()
        for event in trades(decode(tx).events):
            moved[event.wallet, event.mint] += signed(event, event.base_raw)
        for (wallet, mint), amount in moved.items():
            assert TransactionFacts(tx).token_deltas.get((wallet, mint), 0) == amount, file.stem


def test_a_pools_vaults_end_where_its_rows_say(shared):
    for file in json_files(shared):
        tx = from_json(file)
        for event in trades(decode(tx).events):
            if event.meta["venue"] == "amm":
                held = TransactionFacts(tx).holdings(event.meta["pool"])
                inverted = event.swap_fee_raw is None
                coins, money = held[event.mint][1], held[event.quote_mint][1]
                assert (money if inverted else coins) == (
                    event.reserve_quote_raw if inverted else event.reserve_base_raw
                )
                assert (coins if inverted else money) == event.meta["vault_quote_raw"]


def test_what_a_curve_buyer_pays_is_what_the_instruction_took_from_the_wallet(shared):
    """Its transfers of SOL; a new creator vault's rent, before and after rents fell, comes on top."""
    checked = 0
    for file in json_files(shared):
        tx = from_json(file)
        for event in trades(decode(tx).events):
            if event.meta["venue"] == "curve" and event.action == "BUY" and event.quote_mint == WSOL:
                checked += 1
                rent = payment_below(tx, event) - event.quote_raw
                assert rent in (0, 650_240, 890_880), (file.stem, rent)
    assert checked >= 14


def payment_below(tx, event):
    """SOL that the wallet sent by plain transfers inside the event's instruction."""
    group = tx.inner[event.outer_ix]
    below = group
    if event.inner_ix >= 0:
        height = group[event.inner_ix].stack_height
        rest = group[event.inner_ix + 1 :]
        end = next((at for at, ix in enumerate(rest) if ix.stack_height <= height), len(rest))
        below = rest[:end]
    total = 0
    for ix in below:
        if set(tx.account_keys[ix.program_index]) != {0} or ix.data[:4] != b"\x02\0\0\0":
            continue
        if address_text(tx.account_keys[ix.accounts[0]]) == event.wallet:
            total += int.from_bytes(ix.data[4:12], "little")
    return total


@pytest.mark.parametrize(
    ("prefix", "quote_raw", "fee_raw"),
    [
        ("33LHUzKf", [24_080_282 + 240_802, 24_080_281 - 240_802], [240_802, 240_802]),
        ("661yA5s6", [1_349_999_998 + 13_499_999], [13_499_999]),
        ("3sWBncNG", [1_111_000_000], [11_000_000]),
    ],
)
def test_the_fee_that_early_events_do_not_tell_is_one_percent_rounded_down(shared, prefix, quote_raw, fee_raw):
    rows = trades(decode(one(shared, prefix)).events)
    assert [row.quote_raw for row in rows] == quote_raw
    assert [row.swap_fee_raw for row in rows] == fee_raw


def test_a_curve_paid_in_a_token_fills_the_row_in_units_of_that_token(shared):
    (row,) = decode(one(shared, "4svuWVvK")).events
    assert row.quote_mint.startswith("Xsc9qv")
    assert (row.action, row.base_raw, row.quote_raw, row.swap_fee_raw) == (
        "SELL",
        18_752_357_626_961,
        92_342_498,
        979_886,
    )
    assert row.meta["quote_decimals"] == 8
    assert row.amount_out == pytest.approx(0.92342498)


def test_selling_sol_to_an_inverted_pool_is_buying_its_coin_and_back(shared):
    (row,) = decode(one(shared, "5bvyp1no")).events
    assert (row.action, row.quote_mint, row.swap_fee_raw) == ("SELL", WSOL, None)
    assert row.mint == "EWV6bjhKF5zkXANCdWPvDs7dofRVk4pKyVTitqgEWj8E"
    assert (row.base_raw, row.quote_raw) == (468_934_276_696_458, 201_692_493)
    assert row.meta["fee_base_raw"] > 0
    assert row.reserve_quote_raw == 148_415_933_487


def test_three_trades_of_one_transaction_survive_truncated_logs(shared):
    tx = one(shared, "2r4uXUJt")
    assert LOG_TRUNCATED in tx.logs
    rows = decode(tx).events
    assert [(row.outer_ix, row.inner_ix, row.event_seq) for row in rows] == [(1, 4, 0), (3, 4, 0), (5, 4, 0)]


def test_a_creation_and_its_first_buy_are_two_rows(shared):
    create, buy = decode(one(shared, "3sWBncNG")).events
    assert (create.action, create.base_raw, create.quote_raw, create.swap_fee_raw) == ("CREATE", None, None, None)
    assert (create.mint, create.quote_mint) == (buy.mint, WSOL)
    assert create.amount_in is create.amount_out is create.price_est is None
    assert create.meta["symbol"]


def test_tips_and_network_fee_are_the_transactions(shared):
    for row in decode(one(shared, "3mpAjSPh")).events:
        assert row.tip_lamports == 12_000_000
        assert row.fee_sol == (row.tx_fee_lamports + 12_000_000) / 1e9


def test_the_complete_logs_alone_give_the_same_rows(shared):
    compared = 0
    for file in json_files(shared):
        tx = from_json(file)
        if tx.failed or tx.logs_truncated:
            continue
        with_calls = decode(tx)
        for recorded in (True, False):
            from_logs = decode(replace(tx, inner={}, inner_recorded=recorded))
            assert not from_logs.problems, file.stem
            assert [plain(row) for row in from_logs.events] == [plain(row) for row in with_calls.events]
            compared += len(from_logs.events)
    assert compared > 50


def plain(event):
    """The row without what only inner instructions tell."""
    meta = {name: value for name, value in event.meta.items() if name != "source"}
    return replace(event, meta=meta, ix_accounts=(), tip_lamports=0, fee_sol=0)


def test_truncated_logs_without_inner_instructions_give_a_problem_and_no_row(shared):
    found = decode(replace(one(shared, "2r4uXUJt"), inner={}, inner_recorded=False))
    assert not found.events
    assert "truncated" in found.problems[0].reason


def test_a_transaction_with_neither_inner_instructions_nor_logs_is_a_problem(shared):
    found = decode(replace(one(shared, "fDy5VD3y"), inner={}, logs=None))
    assert not found.events
    assert "neither" in found.problems[0].reason


def test_missing_inner_instructions_show_in_the_logs(shared):
    for file in json_files(shared):
        tx = from_json(file)
        for missing in tx.inner if not tx.failed and not tx.logs_truncated else ():
            found = decode(replace(tx, inner={outer: group for outer, group in tx.inner.items() if outer != missing}))
            same = [plain(row) for row in found.events] == [plain(row) for row in decode(tx).events]
            assert same or found.problems, file.stem
