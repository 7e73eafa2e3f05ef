"""What a trade's event moved, and whether it follows from the reserves: `pump.rows` and `pump.drift_trades` again.

Amounts are left in `work.values`. A trade that breaks a rule, or whose numbers come near the limits of int64, makes its
transaction unusual: the decoder then says what differs.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from copytrader_core.compiled import inner
from copytrader_core.pump.rows import EARLY_FEE_BPS
from ingest_worker.kernel.speech import EMISSION_EVENT, EMISSION_FRAME, FRAME_CALL, FRAME_IX, number_at
from ingest_worker.kernel.tables import (
    BASE_AMOUNT,
    BASE_RESERVES,
    BUY,
    BUYBACK_BPS,
    BUYBACK_FEE,
    CASHBACK,
    CASHBACK_BPS,
    CREATOR,
    CREATOR_BPS,
    CREATOR_FEE,
    IN,
    IS_BUY,
    IX_BASE,
    IX_MODE,
    IX_POOL,
    IX_QUOTE,
    K_MAYHEM,
    K_USDC,
    K_WSOL,
    K_ZERO,
    LP_BPS,
    LP_FEE,
    MINT,
    OUT,
    POOL,
    POOL_MOVED,
    PROTOCOL_BPS,
    PROTOCOL_FEE,
    QUOTE_AMOUNT,
    QUOTE_MINT,
    QUOTE_RESERVES,
    R_CURVE_CREATOR,
    R_CURVE_PROTOCOL,
    R_EXOTIC_CREATOR,
    R_EXOTIC_LP,
    R_EXOTIC_PROTOCOL,
    R_FLAT_CREATOR,
    R_FLAT_LP,
    R_FLAT_PROTOCOL,
    R_MAX_CREATOR,
    R_SINCE,
    REAL_BASE,
    RECIPIENT,
    SOL_AMOUNT,
    SOL_RESERVES,
    TIMESTAMP,
    USER,
    USER_MOVED,
    VIRTUAL_QUOTE,
    WITH_LP,
)
from ingest_worker.kernel.transaction import CALL_ACCOUNTS, CALL_N_ACCOUNTS, key_index, same
from ingest_worker.kernel.wide import at_most, is_ceiling, is_floor

# Entries of `work.values`. Base and quote are places among the account keys, -1 for SOL.
(
    BUYS, BASE_KEY, QUOTE_KEY, BASE_RAW, QUOTE_RAW, FEE_RAW, USER_KEY, RESERVE_BASE, RESERVE_QUOTE, IN_SOL,
    BEFORE_BASE, BEFORE_QUOTE, BEFORE_VIRTUAL, AFTER_BASE, AFTER_QUOTE, AFTER_VIRTUAL, VAULT_QUOTE, VIRTUAL_AFTER,
    LP_RATE, NET, INVERTED,
) = range(21)  # fmt: skip

_BPS: Final = 10_000
# Above, a product with basis points could leave int64; reserves are multiplied in 128 bits and may be larger.
_MAX_MONEY: Final = 1 << 49
_MAX_RESERVE: Final = 1 << 61
_SUPPLY: Final = 1_000_000_000_000_000
_SOL, _STABLE, _EXOTIC = range(3)


@inner
def has(event, asked, work, tables):
    """Whether the event has this field."""
    where = tables.where[event, asked]
    return where >= 0 and work.fields[where] >= 0


@inner
def place(event, asked, work, tables):
    """Where the field begins; it must be there."""
    return work.fields[tables.where[event, asked]]


@inner
def number(data, event, asked, work, tables):
    """The u64 or i64 of a field, 0 where the event has none."""
    if not has(event, asked, work, tables):
        return np.int64(0)
    return number_at(data, place(event, asked, work, tables))


@inner
def is_key(data, event, asked, key, work, tables):
    """Whether the field is there and holds this one of the known keys."""
    return has(event, asked, work, tables) and same(data, place(event, asked, work, tables), tables.keys[key], 0, 32)


@inner
def quote_of_curve(data, event, work, tables):
    """The place of the curve's quote mint among the account keys: -1 for SOL, -2 where it is none of them."""
    if not has(event, QUOTE_MINT, work, tables) or is_key(data, event, QUOTE_MINT, K_ZERO, work, tables):
        return np.int64(-1)
    if is_key(data, event, QUOTE_MINT, K_WSOL, work, tables):
        return np.int64(-1)
    found = key_index(data, place(event, QUOTE_MINT, work, tables), work)
    return found if found >= 0 else np.int64(-2)


@inner
def read_curve(data, emission, work, tables):
    """A TradeEvent into `work.values`; False where it is unusual."""
    event, values = emission[EMISSION_EVENT], work.values
    ix = work.frames[emission[EMISSION_FRAME], FRAME_IX]
    values[BASE_KEY] = key_index(data, place(event, MINT, work, tables), work)
    values[USER_KEY] = key_index(data, place(event, USER, work, tables), work)
    values[QUOTE_KEY] = quote_of_curve(data, event, work, tables)
    if ix < 0 or values[BASE_KEY] < 0 or values[USER_KEY] < 0 or values[QUOTE_KEY] < -1:
        return False
    in_sol = values[QUOTE_KEY] == -1
    net = number(data, event, SOL_AMOUNT if in_sol else QUOTE_AMOUNT, work, tables)
    quote = number(data, event, SOL_RESERVES if in_sol else QUOTE_RESERVES, work, tables)
    base, coins = number(data, event, BASE_RESERVES, work, tables), number(data, event, BASE_AMOUNT, work, tables)
    if not in_sol and not has(event, QUOTE_AMOUNT, work, tables):
        return False
    if not (_is_money(net) and _is_reserve(quote) and _is_reserve(base) and _is_reserve(coins)):
        return False
    buys = data[place(event, IS_BUY, work, tables)] == 1
    fee = _curve_fee(data, event, net, work, tables)
    if fee < 0 or (not buys and net < fee):
        return False
    values[INVERTED] = 0
    values[BUYS], values[IN_SOL], values[BASE_RAW], values[FEE_RAW], values[NET] = buys, in_sol, coins, fee, net
    values[QUOTE_RAW] = net + fee if buys else net - fee
    values[RESERVE_BASE], values[RESERVE_QUOTE] = base, quote
    values[AFTER_BASE], values[AFTER_QUOTE], values[AFTER_VIRTUAL] = base, quote, 0
    values[BEFORE_BASE] = base + coins if buys else base - coins
    values[BEFORE_QUOTE] = quote - net if buys else quote + net
    values[BEFORE_VIRTUAL] = 0
    return _curve_follows(data, event, tables.instructions[ix, IX_MODE], work, tables)


@inner
def _is_money(amount):
    return 0 <= amount < _MAX_MONEY


@inner
def _is_reserve(amount):
    return 0 <= amount < _MAX_RESERVE


@inner
def _curve_fee(data, event, net, work, tables):
    """What was charged, -1 where that is unusual. Before 2025-05-12 the event does not say it."""
    if not has(event, PROTOCOL_FEE, work, tables):
        return net * EARLY_FEE_BPS // _BPS
    protocol = number(data, event, PROTOCOL_FEE, work, tables)
    creator = number(data, event, CREATOR_FEE, work, tables)
    cashback = number(data, event, CASHBACK, work, tables)
    if not (_is_money(protocol) and _is_money(creator) and _is_money(cashback)):
        return np.int64(-1)
    return protocol + creator + cashback


@inner
def _curve_follows(data, event, mode, work, tables):
    """The rules of `drift_trades.curve_trade`."""
    values = work.values
    base, quote, coins, net = values[BEFORE_BASE], values[BEFORE_QUOTE], values[BASE_RAW], values[NET]
    by_spend = False
    if values[BUYS]:
        if quote <= 0 or coins >= base or net < 1:
            return False
        if has(event, REAL_BASE, work, tables) and number(data, event, REAL_BASE, work, tables) == 0 and mode != OUT:
            return False
        if mode == OUT:
            if not is_floor(coins, quote, base - coins, net - 1):
                return False
        elif mode == IN:
            by_spend = True
            if not is_floor(net - 1, base, quote + net - 1, coins):
                return False
        else:
            return False
    elif base <= 0 or quote <= 0 or not is_floor(coins, quote, base + coins, net):
        return False
    if not has(event, PROTOCOL_FEE, work, tables):
        return True
    if not _fees_follow(data, event, 0, by_spend, work, tables):
        return False
    if number(data, event, TIMESTAMP, work, tables) < tables.rates[R_SINCE]:
        return True
    return _curve_rates(data, event, work, tables)


@inner
def _fees_follow(data, event, lp_fee, by_spend, work, tables):
    """The rules of `drift_trades._check_fees`. `lp_fee` is 0 on the curve, which has none."""
    net = work.values[NET]
    lp_bps = number(data, event, LP_BPS, work, tables)
    protocol_bps = number(data, event, PROTOCOL_BPS, work, tables)
    creator_bps = number(data, event, CREATOR_BPS, work, tables)
    cashback_bps = number(data, event, CASHBACK_BPS, work, tables)
    protocol, creator = number(data, event, PROTOCOL_FEE, work, tables), number(data, event, CREATOR_FEE, work, tables)
    cashback = number(data, event, CASHBACK, work, tables) if cashback_bps else np.int64(0)
    if is_key(data, event, USER, K_MAYHEM, work, tables) and protocol + creator + cashback + lp_fee == 0:
        return True
    if not (_is_money(protocol) and _is_money(creator) and _is_money(cashback)):
        return False
    spend = net + lp_fee + protocol + creator + cashback
    rest = np.int64(0)
    if not _is_money(spend):
        return False
    if by_spend:
        total = lp_bps + protocol_bps + creator_bps + cashback_bps
        due = spend * _BPS // (_BPS + total)
        charged = _up(due, lp_bps) + _up(due, protocol_bps) + _up(due, creator_bps) + _up(due, cashback_bps)
        excess = due + charged - spend
        if net != (due - excess if excess > 0 else due):
            return False
        rest = -excess if excess < 0 else np.int64(0)
    else:
        due = net
    if lp_fee != _up(due, lp_bps) or protocol != _up(due, protocol_bps) + rest:
        return False
    if creator != _up(due, creator_bps) or cashback != _up(due, cashback_bps):
        return False
    buyback_bps = number(data, event, BUYBACK_BPS, work, tables)
    return buyback_bps == 0 or protocol * buyback_bps // _BPS == number(data, event, BUYBACK_FEE, work, tables)


@inner
def _up(amount, bps):
    return (amount * bps + _BPS - 1) // _BPS


@inner
def _curve_rates(data, event, work, tables):
    """The rules of `drift_trades._check_curve_rates`."""
    rates = tables.rates
    protocol = number(data, event, PROTOCOL_BPS, work, tables)
    creator = number(data, event, CREATOR_BPS, work, tables) + number(data, event, CASHBACK_BPS, work, tables)
    if protocol == rates[R_CURVE_PROTOCOL] and creator == rates[R_CURVE_CREATOR]:
        return True
    if protocol + creator == 0 and is_key(data, event, USER, K_MAYHEM, work, tables):
        return True
    if protocol != rates[R_CURVE_PROTOCOL]:
        return False
    if creator == 0 and is_key(data, event, CREATOR, K_ZERO, work, tables):
        return True
    return not work.values[IN_SOL] and creator <= rates[R_MAX_CREATOR]


@inner
def read_pool(data, emission, work, tables):
    """A BuyEvent or SellEvent into `work.values`; False where it is unusual."""
    event, values = emission[EMISSION_EVENT], work.values
    frame = work.frames[emission[EMISSION_FRAME]]
    if frame[FRAME_IX] < 0 or not _pool_mints(data, event, frame, work, tables):
        return False
    values[USER_KEY] = key_index(data, place(event, USER, work, tables), work)
    moved, user_moved = number(data, event, POOL_MOVED, work, tables), number(data, event, USER_MOVED, work, tables)
    base, quote = number(data, event, BASE_RESERVES, work, tables), number(data, event, QUOTE_RESERVES, work, tables)
    coins, lp_fee = number(data, event, BASE_AMOUNT, work, tables), number(data, event, LP_FEE, work, tables)
    if values[USER_KEY] < 0 or not _has_virtual(data, event, work, tables):
        return False
    if not (_is_money(moved) and _is_money(user_moved) and _is_money(lp_fee)):
        return False
    if not (_is_reserve(base) and _is_reserve(quote) and _is_reserve(coins)):
        return False
    virtual = number(data, event, VIRTUAL_QUOTE, work, tables)
    buys = event == BUY
    # A BuyEvent names what was paid and what was swapped in either order; fees are part of what was paid.
    gross = max(moved, user_moved) if buys else moved
    net = min(moved, user_moved) if buys else user_moved
    signed = net if buys else -gross
    base_after = base - coins if buys else base + coins
    effective = quote + signed + lp_fee + virtual
    if base_after < 0 or effective < 0 or net > gross or lp_fee > gross - net:
        return False
    kept = _kept(data, event, work, tables)
    if kept < 0:
        return False
    values[INVERTED] = 0
    values[BUYS], values[BASE_RAW], values[FEE_RAW] = buys, coins, gross - net
    values[QUOTE_RAW] = gross if buys else net
    values[NET] = net if buys else gross
    values[RESERVE_BASE], values[RESERVE_QUOTE] = base_after, effective
    values[VAULT_QUOTE], values[VIRTUAL_AFTER] = effective - virtual + kept, virtual - kept
    values[BEFORE_BASE], values[BEFORE_QUOTE], values[BEFORE_VIRTUAL] = base, quote, virtual
    values[AFTER_BASE], values[AFTER_QUOTE] = base_after, quote + signed + lp_fee + kept
    values[AFTER_VIRTUAL] = virtual - kept
    values[LP_RATE] = number(data, event, LP_BPS, work, tables)
    return _pool_follows(data, event, tables.instructions[frame[FRAME_IX], IX_MODE], lp_fee, work, tables)


@inner
def _has_virtual(data, event, work, tables):
    """Whether the virtual quote reserves, an i128, fit here; none are 0."""
    if not has(event, VIRTUAL_QUOTE, work, tables):
        return True
    at = place(event, VIRTUAL_QUOTE, work, tables)
    low, high = number_at(data, at), number_at(data, at + 8)
    return -_MAX_RESERVE < low < _MAX_RESERVE and high == (-1 if low < 0 else 0)


@inner
def _kept(data, event, work, tables):
    """Fees that stay in the vault until they are swept; -1 where they are unusual."""
    if not is_key(data, event, RECIPIENT, K_ZERO, work, tables):
        return np.int64(0)
    protocol, creator = number(data, event, PROTOCOL_FEE, work, tables), number(data, event, CREATOR_FEE, work, tables)
    buyback = number(data, event, BUYBACK_FEE, work, tables)
    if not (_is_money(protocol) and _is_money(creator) and _is_money(buyback)):
        return np.int64(-1)
    return protocol - buyback + creator


@inner
def _pool_mints(data, event, frame, work, tables):
    """Base and quote mint as the instruction names them; False where it names another pool, or none."""
    ix, call = tables.instructions[frame[FRAME_IX]], work.calls[frame[FRAME_CALL]]
    n = call[CALL_N_ACCOUNTS]
    for named in (IX_BASE, IX_QUOTE, IX_POOL):
        if not 0 <= ix[named] < n:
            return False
    accounts = call[CALL_ACCOUNTS]
    pool = np.int64(data[accounts + ix[IX_POOL]])
    if not same(data, work.keys[pool], data, place(event, POOL, work, tables), 32):
        return False
    work.values[BASE_KEY] = np.int64(data[accounts + ix[IX_BASE]])
    work.values[QUOTE_KEY] = np.int64(data[accounts + ix[IX_QUOTE]])
    return True


@inner
def _pool_follows(data, event, mode, lp_fee, work, tables):
    """The rules of `drift_trades.pool_trade`."""
    values = work.values
    base, effective = values[BEFORE_BASE], values[BEFORE_QUOTE] + values[BEFORE_VIRTUAL]
    coins, net = values[BASE_RAW], values[NET]
    charged = lp_fee + number(data, event, PROTOCOL_FEE, work, tables) + number(data, event, CREATOR_FEE, work, tables)
    if number(data, event, CASHBACK_BPS, work, tables):
        charged += number(data, event, CASHBACK, work, tables)
    if base <= 0 or effective <= 0 or charged != values[FEE_RAW]:
        return False
    with_lp = number(data, event, WITH_LP, work, tables)
    if values[BUYS]:
        if coins >= base or net < 1 or with_lp != net + lp_fee:
            return False
        if mode == OUT:
            if not is_ceiling(effective, coins, base - coins, net):
                return False
        elif mode != IN or not is_floor(net - 1, base, effective + net - 1, coins):
            return False
    elif with_lp != net - lp_fee or not is_floor(coins, effective, base + coins, net):
        return False
    if not _fees_follow(data, event, lp_fee, values[BUYS] == 1 and mode == IN, work, tables):
        return False
    if number(data, event, TIMESTAMP, work, tables) < tables.rates[R_SINCE]:
        return True
    return _pool_rates(data, event, base, effective, work, tables)


@inner
def _pool_rates(data, event, base, effective, work, tables):
    """The rules of `drift_trades._check_pool_rates`, but for coins of more than a billion, which are unusual."""
    rates = tables.rates
    lp, protocol = number(data, event, LP_BPS, work, tables), number(data, event, PROTOCOL_BPS, work, tables)
    creator = number(data, event, CREATOR_BPS, work, tables) + number(data, event, CASHBACK_BPS, work, tables)
    if lp == rates[R_FLAT_LP] and protocol == rates[R_FLAT_PROTOCOL] and creator == rates[R_FLAT_CREATOR]:
        return True
    quote = work.keys[work.values[QUOTE_KEY]]
    kind = _EXOTIC
    if same(data, quote, tables.keys[K_WSOL], 0, 32):
        kind = _SOL
    elif same(data, quote, tables.keys[K_USDC], 0, 32):
        kind = _STABLE
    due_lp, due_protocol, due_creator = rates[R_EXOTIC_LP], rates[R_EXOTIC_PROTOCOL], rates[R_EXOTIC_CREATOR]
    if kind != _EXOTIC:
        for row in range(len(tables.tiers)):
            tier = tables.tiers[row]
            if tier[0] == kind and at_most(tier[1], base, effective, _SUPPLY):
                due_lp, due_protocol, due_creator = tier[2], tier[3], tier[4]
                break
    if lp + protocol + creator == 0 and is_key(data, event, USER, K_MAYHEM, work, tables):
        return True
    if lp != due_lp or protocol != due_protocol:
        return False
    if creator == due_creator or (kind != _SOL and creator <= rates[R_MAX_CREATOR]):
        return True
    return creator == 0 and (
        not has(event, CREATOR, work, tables) or is_key(data, event, CREATOR, K_ZERO, work, tables)
    )


@inner
def turn_round(values):
    """The trade seen from the other side: the coin is the pool's quote."""
    values[INVERTED], values[BUYS] = 1, 1 - values[BUYS]
    values[BASE_KEY], values[QUOTE_KEY] = values[QUOTE_KEY], values[BASE_KEY]
    values[BASE_RAW], values[QUOTE_RAW] = values[QUOTE_RAW], values[BASE_RAW]
    values[RESERVE_BASE], values[RESERVE_QUOTE] = values[RESERVE_QUOTE], values[RESERVE_BASE]
