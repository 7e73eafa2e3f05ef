"""From an event's values to the row: who paid what, seen from the coin. One function per kind of event.

`Swap` is a trade reduced to what moved; routes are put together from the same. Which bytes are an event, and which
instruction emitted it, was settled before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from copytrader_core.errors import DecodeError
from copytrader_core.pump.addresses import STABLE_MINTS
from copytrader_core.pump.attribution import TransactionFacts
from copytrader_core.pump.emissions import Emission, Frame
from copytrader_core.records import WSOL, Action, Event
from copytrader_core.solana.base58 import address_text
from copytrader_core.solana.transaction import MAX_DECIMALS

Values = Mapping[str, Any]

STABLES: Final = frozenset(str(mint) for mint in STABLE_MINTS)
MONEY: Final = STABLES | {WSOL}
"""What a coin is paid in: SOL, USDC, USDT, USD1."""

ZERO_KEY: Final = bytes(32)
_COIN_DECIMALS: Final = 6
# The curve charged 1 % and did not say so before 2025-05-12; rounded down, as the fee account's balances show.
EARLY_FEE_BPS: Final = 100
_BPS: Final = 10_000
# One entry for every number of decimals that a mint can have.
_TEN: Final = tuple(10**decimals for decimals in range(MAX_DECIMALS + 1))


class Swap(NamedTuple):
    """One trade with a curve or pool: the trader gave `paid` of one mint and got `got` of the other.

    `fee` is charged in `quote`, the pool's own quote mint, and is part of what was paid or withheld from what was got.
    """

    buys: bool
    base: str
    quote: str
    base_amount: int
    quote_amount: int
    fee: int
    user: bytes
    reserve_base: int | None
    reserve_quote: int | None
    meta: dict[str, Any]

    @property
    def inverted(self) -> bool:
        """Whether the coin is the pool's quote: its base is SOL, or a stable coin against what is not money."""
        return self.base == WSOL or (self.base in STABLES and self.quote not in MONEY)


def curve_swap(values: Values) -> Swap:
    """A TradeEvent. `sol_amount` is the curve's change without fees; buyback and holder rewards are parts of others."""
    quote_key = values.get("quote_mint", ZERO_KEY)
    in_sol = quote_key == ZERO_KEY or address_text(quote_key) == WSOL
    net = values["sol_amount"] if in_sol else values["quote_amount"]
    fee = _curve_fee(values, net)
    buys = values["is_buy"]
    meta = {
        "venue": "curve",
        "real_base_raw": values.get("real_token_reserves"),
        "real_quote_raw": values.get("real_sol_reserves" if in_sol else "real_quote_reserves"),
        "protocol_fee_bps": values.get("fee_basis_points"),
        "creator_fee_bps": values.get("creator_fee_basis_points"),
        "cashback_raw": values.get("cashback"),
        "creator": _address(values.get("creator")),
        "mayhem": values.get("mayhem_mode"),
        "timestamp": values["timestamp"],
    }
    return Swap(
        buys=buys,
        base=address_text(values["mint"]),
        quote=WSOL if in_sol else address_text(quote_key),
        base_amount=values["token_amount"],
        quote_amount=net + fee if buys else net - fee,
        fee=fee,
        user=values["user"],
        reserve_base=values["virtual_token_reserves"],
        reserve_quote=values["virtual_sol_reserves" if in_sol else "virtual_quote_reserves"],
        meta=meta,
    )


def _curve_fee(values: Values, net: int) -> int:
    if "fee" not in values:
        return net * EARLY_FEE_BPS // _BPS
    return int(values["fee"] + values["creator_fee"] + values.get("cashback", 0))


def pool_part(values: Values) -> Swap:
    """A PostCompleteBuyEvent: what a buy that emptied the curve bought beyond it, from the pool to be."""
    fee = values["fee"] + values["creator_fee"]
    quote = values["quote_mint"]
    return Swap(
        buys=True,
        base=address_text(values["mint"]),
        quote=WSOL if quote == ZERO_KEY else address_text(quote),
        base_amount=values["base_out"],
        quote_amount=values["quote_in"] + fee,
        fee=fee,
        user=values["user"],
        reserve_base=values["pool_base_reserves_after"],
        reserve_quote=values["pool_quote_reserves_after"],
        meta={
            "venue": "amm",
            "protocol_fee_bps": values["fee_basis_points"],
            "creator_fee_bps": values["creator_fee_basis_points"],
            "timestamp": values["timestamp"],
        },
    )


def pool_swap(values: Values, buys: bool, base: str, quote: str) -> Swap:
    """A BuyEvent or SellEvent of a pool whose mints are given.

    A BuyEvent names what was paid and what was swapped the other way round for exact-in instructions; what was paid
    is the larger one, fees being part of it.
    """
    if buys:
        base_amount = values["base_amount_out"]
        gross, net = sorted((values["quote_amount_in"], values["user_quote_amount_in"]), reverse=True)
        moved, quote_amount, base_after = net, gross, values["pool_base_token_reserves"] - base_amount
    else:
        base_amount = values["base_amount_in"]
        gross, net = values["quote_amount_out"], values["user_quote_amount_out"]
        moved, quote_amount, base_after = -gross, net, values["pool_base_token_reserves"] + base_amount
    virtual = values.get("virtual_quote_reserves", 0)
    effective = values["pool_quote_token_reserves"] + moved + values["lp_fee"] + virtual
    if base_after < 0 or effective < 0 or net > gross or values["lp_fee"] > gross - net:
        raise DecodeError("the amounts of a pool's trade contradict each other: these bytes are no such event")
    kept = kept_fees(values)
    return Swap(
        buys=buys,
        base=base,
        quote=quote,
        base_amount=base_amount,
        quote_amount=quote_amount,
        fee=gross - net,
        user=values["user"],
        reserve_base=base_after,
        reserve_quote=effective,
        meta={
            "venue": "amm",
            "pool": address_text(values["pool"]),
            "vault_quote_raw": effective - virtual + kept,
            "virtual_quote_raw": virtual - kept,
            "lp_fee_bps": values["lp_fee_basis_points"],
            "protocol_fee_bps": values["protocol_fee_basis_points"],
            "creator_fee_bps": values.get("coin_creator_fee_basis_points"),
            "cashback_raw": values.get("cashback"),
            "creator": _address(values.get("coin_creator")),
            "timestamp": values["timestamp"],
        },
    )


def kept_fees(values: Values) -> int:
    """Fees that stay in the pool's vault until they are swept: the trades that name no fee recipient."""
    if values["protocol_fee_recipient"] != ZERO_KEY:
        return 0
    return int(values["protocol_fee"] - values.get("buyback_fee", 0) + values.get("coin_creator_fee", 0))


def _address(key: bytes | None) -> str | None:
    return None if key is None or key == ZERO_KEY else address_text(key)


def swap_row(facts: TransactionFacts, emission: Emission, swap: Swap) -> Event:
    """The row of a trade, turned round where the coin is the pool's quote: then the fee is charged in the coin."""
    if not swap.inverted:
        return trade_row(facts, emission, swap, "BUY" if swap.buys else "SELL", swap.fee)
    coin = swap._replace(
        buys=not swap.buys,
        base=swap.quote,
        quote=swap.base,
        base_amount=swap.quote_amount,
        quote_amount=swap.base_amount,
        reserve_base=swap.reserve_quote,
        reserve_quote=swap.reserve_base,
        meta={**swap.meta, "fee_base_raw": swap.fee},
    )
    return trade_row(facts, emission, coin, "BUY" if coin.buys else "SELL", None)


def trade_row(facts: TransactionFacts, emission: Emission, swap: Swap, action: Action, fee: int | None) -> Event:
    """The row of a trade seen from the coin `swap.base`; `fee` is in `swap.quote`, None where the coin pays it."""
    base_decimals, quote_decimals = _scale(facts, swap)
    base_human = None if base_decimals is None else swap.base_amount / _TEN[base_decimals]
    quote_human = None if quote_decimals is None else swap.quote_amount / _TEN[quote_decimals]
    given, got = (quote_human, base_human) if swap.buys else (base_human, quote_human)
    return _event(
        facts,
        emission,
        wallet=facts.wallet(swap.user, swap.base, swap.buys),
        action=action,
        base=swap.base,
        quote=swap.quote,
        base_raw=swap.base_amount,
        quote_raw=swap.quote_amount,
        fee_raw=fee,
        reserves=(swap.reserve_base, swap.reserve_quote),
        human=(given, got, _price(swap, base_decimals, quote_decimals)),
        meta=swap.meta,
    )


def _scale(facts: TransactionFacts, swap: Swap) -> tuple[int | None, int | None]:
    default = _COIN_DECIMALS if swap.meta.get("venue") == "curve" else None
    return facts.decimals(swap.base, default), facts.decimals(swap.quote)


def _price(swap: Swap, base_decimals: int | None, quote_decimals: int | None) -> float | None:
    """Quote per coin before fees; the fee of an inverted pool is taken off, or put back to, the coins."""
    in_coin = swap.meta.get("fee_base_raw")
    base, quote = swap.base_amount, swap.quote_amount
    if in_coin is not None:
        base += in_coin if swap.buys else -in_coin
    else:
        quote += -swap.fee if swap.buys else swap.fee
    if base_decimals is None or quote_decimals is None or base <= 0:
        return None
    return (quote / base) * 10.0 ** (base_decimals - quote_decimals)


def liquidity_row(
    facts: TransactionFacts, emission: Emission, values: Values, adds: bool, base: str, quote: str
) -> Event:
    """The row of a DepositEvent or WithdrawEvent. They do not tell virtual reserves: vaults are what stands in meta."""
    suffix, sign = ("in", 1) if adds else ("out", -1)
    base_amount, quote_amount = values[f"base_amount_{suffix}"], values[f"quote_amount_{suffix}"]
    base_after = values["pool_base_token_reserves"] + sign * base_amount
    quote_after = values["pool_quote_token_reserves"] + sign * quote_amount
    if base_after < 0 or quote_after < 0:
        raise DecodeError("the amounts of a deposit or withdrawal contradict each other: these bytes are no such event")
    plain = values["timestamp"] < _BOOST_SINCE
    swap = Swap(
        buys=not adds,
        base=base,
        quote=quote,
        base_amount=base_amount,
        quote_amount=quote_amount,
        fee=0,
        user=values["user"],
        reserve_base=base_after,
        reserve_quote=quote_after if plain else None,
        meta={
            "venue": "amm",
            "pool": address_text(values["pool"]),
            "vault_quote_raw": quote_after,
            "timestamp": values["timestamp"],
        },
    )
    if swap.inverted:
        swap = swap._replace(
            base=quote,
            quote=base,
            base_amount=quote_amount,
            quote_amount=base_amount,
            reserve_base=swap.reserve_quote,
            reserve_quote=swap.reserve_base,
        )
    row = trade_row(facts, emission, swap, "ADD" if adds else "REMOVE", 0)
    coins = row.amount_in if adds else row.amount_out
    return replace(row, amount_in=coins if adds else None, amount_out=None if adds else coins)


# 2026-07-01: from this month pools have virtual quote reserves that liquidity events do not tell.
_BOOST_SINCE: Final = 1_782_864_000


def create_row(facts: TransactionFacts, emission: Emission, values: Values) -> Event:
    """The row of a CreateEvent. No amounts; the reserves that the curve starts with where the event has them."""
    mint = address_text(values["mint"])
    quote_key = values.get("quote_mint", ZERO_KEY)
    in_sol = quote_key == ZERO_KEY or address_text(quote_key) == WSOL
    meta = {
        "venue": "curve",
        "creator": _address(values.get("creator")),
        "mayhem": values.get("is_mayhem_mode"),
        "real_base_raw": values.get("real_token_reserves"),
        "name": _storable(values["name"]),
        "symbol": _storable(values["symbol"]),
        "uri": _storable(values["uri"]),
        "timestamp": values.get("timestamp"),
    }
    return _event(
        facts,
        emission,
        wallet=address_text(values["user"]),
        action="CREATE",
        base=mint,
        quote=WSOL if in_sol else address_text(quote_key),
        base_raw=None,
        quote_raw=None,
        fee_raw=None,
        reserves=(
            values.get("virtual_token_reserves"),
            values.get("virtual_sol_reserves" if in_sol else "virtual_quote_reserves"),
        ),
        human=(None, None, None),
        meta=meta,
    )


def _storable(text: str) -> str:
    """Coin names are whatever their makers typed; Postgres keeps no NUL in JSON."""
    return text.replace("\0", "\ufffd")


def _event(
    facts: TransactionFacts,
    emission: Emission,
    *,
    wallet: str,
    action: Action,
    base: str,
    quote: str,
    base_raw: int | None,
    quote_raw: int | None,
    fee_raw: int | None,
    reserves: tuple[int | None, int | None],
    human: tuple[float | None, float | None, float | None],
    meta: dict[str, Any],
) -> Event:
    tx, frame = facts.tx, emission.frame
    if (quote_raw or 0) < 0:
        raise DecodeError("the fees of a sale exceed its proceeds: these bytes are no such event")
    default = _COIN_DECIMALS if meta["venue"] == "curve" else None
    told = {key: value for key, value in meta.items() if value is not None}
    told["source"] = facts.source
    if frame.name is not None:
        told["ix"] = frame.name
    if (decimals := facts.decimals(base, default)) is not None:
        told["base_decimals"] = decimals
    if (decimals := facts.decimals(quote)) is not None:
        told["quote_decimals"] = decimals
    # In the order of the record: 26 names cost more than the values.
    return Event(
        tx.slot,
        tx.tx_index,
        facts.sig,
        frame.outer_ix,
        frame.inner_ix,
        emission.seq,
        wallet,
        facts.fee_payer,
        frame.program.text,
        action,
        base,
        base,
        quote,
        base_raw,
        quote_raw,
        fee_raw,
        tx.fee,
        facts.tip_lamports,
        reserves[0],
        reserves[1],
        human[0],
        human[1],
        human[2],
        facts.fee_sol,
        _accounts(facts, frame),
        told,
    )


def _accounts(facts: TransactionFacts, frame: Frame) -> tuple[str, ...]:
    if frame.ix is None:
        return ()
    keys = facts.tx.account_keys
    return tuple([address_text(keys[index]) for index in frame.ix.accounts])
