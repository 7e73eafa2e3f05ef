"""Tells what a transaction did from balances: never from program events, instruction arguments or our own decoder.

What becomes of the answers is `simnet.truth`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from solders.pubkey import Pubkey

from copytrader_core.errors import DataError
from copytrader_core.pump import addresses as a
from copytrader_core.solana.programs import WSOL_MINT
from simnet.bank import Bank, Executed
from simnet.capture import Balances
from simnet.desk import Desk, Leg, Order
from simnet.truth import TruthEvent

__all__ = ["boundaries", "settle"]

# A system account that comes into being must keep this much; the trader who creates a creator's vault pays it.
_EMPTY_ACCOUNT_RENT = 890_880
# What a curve never sells: it becomes the pool's.
_KEPT_FOR_POOL = 206_900_000_000_000


def boundaries(bank: Bank, desk: Desk, order: Order) -> list[Balances]:
    """Balances after each trade of an order but the last, if it ran now: simulations of its first instructions alone.

    Take them before the order is executed; they are what tells two trades of one transaction apart.
    """
    simulated = (bank.simulate(desk.prefix(order, leg.outer_ix + 1)) for leg in order.legs[:-1])
    return [balances for balances in simulated if balances is not None]


def settle(order: Order, executed: Executed, between: Sequence[Balances] = ()) -> Iterator[TruthEvent]:
    """The effects of an executed order on its wallet, `between` being its `boundaries`. A failed one has none."""
    if not executed.ok:
        return
    if order.legs and len(between) != len(order.legs) - 1:
        raise DataError(
            f"{executed.signature}: {len(order.legs)} trades, but balances at {len(between)} moments between them"
        )
    before = executed.before
    for number, leg in enumerate(order.legs):
        is_last = number == len(order.legs) - 1
        after = executed.after if is_last else _over(executed.before, between[number])
        costs = (0 if number else executed.fee) + (order.tip_lamports if is_last else 0)
        yield _event(order, executed, leg, before, after, costs)
        before = after


def _over(base: Balances, newer: Balances) -> Balances:
    """`newer` speaks for its own accounts only; the rest stands as in `base`."""
    tokens = {key: held for key, held in base.tokens.items() if key not in newer.lamports}
    return Balances({**base.lamports, **newer.lamports}, {**tokens, **newer.tokens})


def _event(order: Order, executed: Executed, leg: Leg, before: Balances, after: Balances, costs: int) -> TruthEvent:
    wallet, mint = order.wallet.pubkey, leg.coin.mint
    base = _coins(after, wallet, mint) - _coins(before, wallet, mint)
    spent = _wealth(before, wallet) - _wealth(after, wallet) - costs - _rent_for_others(before, after, wallet)
    is_create = leg.action == "CREATE"
    return TruthEvent(
        sig=executed.signature,
        slot=executed.slot,
        tx_index=executed.info.index,
        outer_ix=leg.outer_ix,
        wallet=str(wallet),
        action=leg.action,
        mint=str(mint),
        quote_mint=str(WSOL_MINT),
        base_raw=None if is_create else abs(base),
        quote_raw=None if is_create else abs(spent),
        n_parts=2 if leg.action == "BUY" and _passed_the_end(before, after, leg) else 1,
        tx_fee_lamports=executed.fee,
        tip_lamports=order.tip_lamports,
    )


def _coins(balances: Balances, wallet: Pubkey, mint: Pubkey) -> int:
    return sum(held.amount for held in balances.tokens.values() if held.owner == wallet and held.mint == mint)


def _wealth(balances: Balances, wallet: Pubkey) -> int:
    """The wallet's lamports, with those that lie in accounts of its own: rent comes back, wrapped SOL is SOL."""
    own = {wallet, a.user_volume_accumulator(wallet), a.amm_user_volume_accumulator(wallet)}
    own.update(key for key, held in balances.tokens.items() if held.owner == wallet)
    return sum(lamports for key, lamports in balances.lamports.items() if key in own)


def _rent_for_others(before: Balances, after: Balances, wallet: Pubkey) -> int:
    """Rent that the wallet paid for accounts which are not its own and did not exist: a creator's vaults."""
    rent = 0
    for key, lamports in after.lamports.items():
        held = after.tokens.get(key)
        if before.lamports.get(key) or not lamports or key == wallet or (held and held.owner == wallet):
            continue
        if held and held.mint == WSOL_MINT:
            rent += lamports - held.amount
        elif key not in (a.user_volume_accumulator(wallet), a.amm_user_volume_accumulator(wallet)):
            rent += _EMPTY_ACCOUNT_RENT
    return rent


def _passed_the_end(before: Balances, after: Balances, leg: Leg) -> bool:
    """Whether a curve buy took more than the curve had for sale: it keeps 206.9e12 for the pool."""
    curve = a.bonding_curve(leg.coin.mint)
    holding = [
        sum(held.amount for held in b.tokens.values() if held.owner == curve and held.mint == leg.coin.mint)
        for b in (before, after)
    ]
    return holding[0] > _KEPT_FOR_POOL > holding[1]
