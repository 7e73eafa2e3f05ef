"""The rows of one transaction, field by field in the order of `raw_events.COLUMNS`, as Postgres takes them.

What a row says is `pump.rows` and `pump.attribution`; here it is written.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from copytrader_core.compiled import inner
from ingest_worker.kernel.base58 import encode
from ingest_worker.kernel.copying import (
    is_utf8,
    put_bytes,
    put_decimal,
    put_float8,
    put_int4,
    put_int8,
    put_json_text,
    put_null,
    put_number,
    put_numeric,
    put_text,
)
from ingest_worker.kernel.speech import (
    EMISSION_EVENT,
    EMISSION_FRAME,
    EMISSION_SEQ,
    FRAME_CALL,
    FRAME_IX,
    FRAME_PROGRAM,
    number_at,
)
from ingest_worker.kernel.swaps import (
    BASE_KEY,
    BASE_RAW,
    BUYS,
    FEE_RAW,
    IN_SOL,
    INVERTED,
    QUOTE_KEY,
    QUOTE_RAW,
    RESERVE_BASE,
    RESERVE_QUOTE,
    USER_KEY,
    VAULT_QUOTE,
    VIRTUAL_AFTER,
    has,
    is_key,
    number,
    place,
    quote_of_curve,
)
from ingest_worker.kernel.tables import (
    BASE_RESERVES,
    CASHBACK,
    CREATE,
    CREATOR,
    CREATOR_BPS,
    IX_NAME_AT,
    IX_NAME_LENGTH,
    K_SYSTEM,
    K_TIPS,
    K_ZERO,
    LP_BPS,
    MAYHEM,
    MINT,
    N_MONEY,
    N_TIPS,
    NAME,
    POOL,
    PROTOCOL_BPS,
    QUOTE_RESERVES,
    REAL_BASE,
    REAL_QUOTE,
    REAL_SOL,
    SOL_RESERVES,
    SYMBOL,
    T_BASE_DECIMALS,
    T_BUY,
    T_CASHBACK,
    T_CREATE,
    T_CREATOR,
    T_CREATOR_BPS,
    T_CURVE,
    T_FEE_BASE,
    T_IX,
    T_LP_BPS,
    T_MAYHEM,
    T_NAME,
    T_NO_MAYHEM,
    T_POOL,
    T_POOL_VENUE,
    T_PROTOCOL_BPS,
    T_QUOTE_DECIMALS,
    T_REAL_BASE,
    T_REAL_QUOTE,
    T_SELL,
    T_SOURCE,
    T_SYMBOL,
    T_TIMESTAMP,
    T_URI,
    T_VAULT,
    T_VIRTUAL,
    T_WSOL,
    TIMESTAMP,
    TRADE,
    URI,
    USER,
)
from ingest_worker.kernel.transaction import (
    CALL_ACCOUNTS,
    CALL_DATA,
    CALL_INNER,
    CALL_N_ACCOUNTS,
    CALL_N_DATA,
    CALL_OUTER,
    CALL_PROGRAM,
    FEE,
    N_CALLS,
    N_KEYS,
    N_PRE,
    N_SIGNERS,
    N_TOKENS,
    TOKEN_AMOUNT,
    TOKEN_DECIMALS,
    TOKEN_MINT,
    TOKEN_N_MINT,
    TOKEN_N_OWNER,
    TOKEN_OWNER,
    is_text,
    key_index,
    same,
)
from ingest_worker.kernel.wire import TX_INDEX, TX_RECEIVED, TX_SIGNATURE

_N_COLUMNS: Final = 29
_EXACT_FLOAT: Final = 1 << 53
_LAMPORTS_PER_SOL: Final = 1_000_000_000.0
_UNKNOWN: Final = -1
# Everything of a row but its accounts and the three texts of a creation.
ROW_BYTES: Final = 2_600
ACCOUNT_BYTES: Final = 47
# Bytes that a byte of a text can become.
ESCAPED: Final = 6


class Names(NamedTuple):
    """Wallets with a name, in the order of their first eight bytes: those, the addresses, and where the name stands."""

    firsts: np.ndarray
    keys: np.ndarray
    at: np.ndarray
    blob: np.ndarray


class Moment(NamedTuple):
    """What all rows of a slot share, besides what its transactions say. `ts_ns` is in nanoseconds since 1970."""

    slot: int
    ts_ns: int


@inner
def find_key(data, at, firsts, keys):
    """The row of `keys` that holds the 32 bytes at `at`, -1 if none does."""
    wanted = number_at(data, at)
    low, high = 0, len(firsts)
    while low < high:
        middle = (low + high) // 2
        if firsts[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    while low < len(firsts) and firsts[low] == wanted:
        if same(data, at, keys[low], 0, 32):
            return low
        low += 1
    return -1


@inner
def key_text(data, index, work, tables):
    """Makes the text of an account key, once; it stands in `work.texts[index]`. Returns its length."""
    if work.n_texts[index] == 0:
        work.n_texts[index] = encode(
            data,
            work.keys[index],
            32,
            tables.address_powers,
            tables.alphabet,
            work.parts,
            work.digits,
            work.texts[index],
            0,
        )
    return work.n_texts[index]


@inner
def _decimals(data, index, work, tables):
    """The decimals of a mint as the last balance of it tells them, _UNKNOWN where none does. -1 is SOL."""
    if index < 0 or _is_sol(data, index, work, tables):
        return np.int64(9)
    n = key_text(data, index, work, tables)
    for at in range(work.facts[N_TOKENS] - 1, -1, -1):
        token = work.tokens[at]
        if is_text(data, token[TOKEN_MINT], token[TOKEN_N_MINT], work.texts[index], n):
            return token[TOKEN_DECIMALS]
    return np.int64(_UNKNOWN)


@inner
def _is_sol(data, index, work, tables):
    n = key_text(data, index, work, tables)
    begin, end = tables.text_at[T_WSOL], tables.text_at[T_WSOL + 1]
    return is_text(tables.texts, begin, end - begin, work.texts[index], n)


@inner
def is_money(data, index, work, tables):
    """Whether a coin is paid in this mint: SOL or a stable coin. -1 is SOL."""
    if index < 0:
        return True
    n = key_text(data, index, work, tables)
    for text in range(T_WSOL, T_WSOL + N_MONEY):
        begin, end = tables.text_at[text], tables.text_at[text + 1]
        if is_text(tables.texts, begin, end - begin, work.texts[index], n):
            return True
    return False


@inner
def pool_holds_its_mints(data, event, work, tables):
    """False where balances tell what the pool holds, and its two mints are not among that."""
    pool = key_index(data, place(event, POOL, work, tables), work)
    if pool < 0:
        return False
    base, quote = work.values[BASE_KEY], work.values[QUOTE_KEY]
    n_pool = key_text(data, pool, work, tables)
    n_base, n_quote = key_text(data, base, work, tables), key_text(data, quote, work, tables)
    holds = holds_base = holds_quote = False
    for at in range(work.facts[N_TOKENS]):
        token = work.tokens[at]
        if is_text(data, token[TOKEN_OWNER], token[TOKEN_N_OWNER], work.texts[pool], n_pool):
            holds = True
            mint, n_mint = token[TOKEN_MINT], token[TOKEN_N_MINT]
            holds_base = holds_base or is_text(data, mint, n_mint, work.texts[base], n_base)
            holds_quote = holds_quote or is_text(data, mint, n_mint, work.texts[quote], n_quote)
    return not holds or (holds_base and holds_quote)


@inner
def wallet_index(data, work, tables, off_firsts, off_keys):
    """The trader's place among the account keys; -1 where it has to be found out another way.

    A user that signed is the trader. One that did not is a purse if its address is known to be a program's: then the
    coins tell whether it traded for the fee payer.
    """
    user, coin = work.values[USER_KEY], work.values[BASE_KEY]
    if user < work.facts[N_SIGNERS]:
        return user
    if find_key(data, work.keys[user], off_firsts, off_keys) < 0:
        return np.int64(-1)
    n_coin, n_user = key_text(data, coin, work, tables), key_text(data, user, work, tables)
    n_payer = key_text(data, 0, work, tables)
    is_known = False
    user_gained = payer_gained = np.int64(0)
    for at in range(work.facts[N_TOKENS]):
        token = work.tokens[at]
        if not is_text(data, token[TOKEN_MINT], token[TOKEN_N_MINT], work.texts[coin], n_coin):
            continue
        is_after = at >= work.facts[N_PRE]
        is_known = is_known or is_after
        amount = token[TOKEN_AMOUNT] if is_after else -token[TOKEN_AMOUNT]
        if is_text(data, token[TOKEN_OWNER], token[TOKEN_N_OWNER], work.texts[user], n_user):
            user_gained += amount
        if is_text(data, token[TOKEN_OWNER], token[TOKEN_N_OWNER], work.texts[0], n_payer):
            payer_gained += amount
    if not is_known:
        return np.int64(-1)
    sign = 1 if work.values[BUYS] else -1
    return np.int64(0) if sign * payer_gained > 0 and not sign * user_gained > 0 else user


@inner
def tips(data, work, tables):
    """Lamports sent to the tip accounts, at the top level and below; -1 where they are too many."""
    facts = work.facts
    system = np.int64(-1)
    is_tipped = False
    for index in range(facts[N_KEYS]):
        at = work.keys[index]
        if system < 0 and same(data, at, tables.keys[K_SYSTEM], 0, 32):
            system = np.int64(index)
        is_tipped = is_tipped or _is_tip_account(data, at, tables)
    total = np.int64(0)
    if not is_tipped or system < 0:
        return total
    for at in range(facts[N_CALLS]):
        call = work.calls[at]
        if call[CALL_PROGRAM] != system or call[CALL_N_DATA] < 12:
            continue
        begin = call[CALL_DATA]
        kind = number_at(data, begin) & 0xFFFFFFFF
        receiver = 1 if kind == 2 or kind == 11 else -1
        if receiver < 0 or receiver >= call[CALL_N_ACCOUNTS]:
            continue
        account = np.int64(data[call[CALL_ACCOUNTS] + receiver])
        if _is_tip_account(data, work.keys[account], tables):
            lamports = number_at(data, begin + 4)
            if lamports < 0 or lamports >= _EXACT_FLOAT:
                return np.int64(-1)
            total += lamports
    return total


@inner
def _is_tip_account(data, at, tables):
    for tip in range(K_TIPS, K_TIPS + N_TIPS):
        if data[at] == tables.keys[tip, 0] and same(data, at, tables.keys[tip], 0, 32):
            return True
    return False


@inner
def row_bytes(data, emission, work, tables):
    """At most how many bytes the event's row has."""
    call = work.calls[work.frames[emission[EMISSION_FRAME], FRAME_CALL]]
    n = ROW_BYTES + ACCOUNT_BYTES * call[CALL_N_ACCOUNTS]
    event = emission[EMISSION_EVENT]
    if event == CREATE:
        for asked in (NAME, SYMBOL, URI):
            n += ESCAPED * (number_at(data, place(event, asked, work, tables)) & 0xFFFFFFFF)
    return n


@inner
def write_trade(data, emission, where, wallet, tip, moment, work, tables, names, out, to):
    """The row of the trade in `work.values`; the offset behind it, -1 where a number is too large to be exact."""
    values = work.values
    event = emission[EMISSION_EVENT]
    base_decimals = _decimals(data, values[BASE_KEY], work, tables)
    if base_decimals == _UNKNOWN and event == TRADE:
        base_decimals = np.int64(6)
    quote_decimals = _decimals(data, values[QUOTE_KEY], work, tables)
    coins, money = values[BASE_RAW], values[QUOTE_RAW]
    if coins >= _EXACT_FLOAT or money >= _EXACT_FLOAT or base_decimals > 18 or quote_decimals > 18:
        return np.int64(-1)
    to = _head(data, emission, where, wallet, moment, work, tables, names, out, to)
    to = _text_column(T_BUY if values[BUYS] else T_SELL, tables, out, to)
    to = _mints(data, values[BASE_KEY], values[QUOTE_KEY], work, tables, out, to)
    to = put_numeric(out, put_numeric(out, to, coins), money)
    # An inverted pool charges its fee in the coin.
    to = put_null(out, to) if values[INVERTED] else put_numeric(out, to, values[FEE_RAW])
    to = put_int8(out, put_int8(out, to, work.facts[FEE]), tip)
    to = put_numeric(out, put_numeric(out, to, values[RESERVE_BASE]), values[RESERVE_QUOTE])
    to = _human(coins, money, base_decimals, quote_decimals, work, tables, out, to)
    to = put_float8(out, to, np.float64(work.facts[FEE] + tip) / _LAMPORTS_PER_SOL, work.float_bits)
    to = _accounts(data, emission, work, tables, out, to)
    return _meta(data, emission, base_decimals, quote_decimals, work, tables, out, to)


@inner
def write_create(data, emission, where, tip, moment, work, tables, names, out, to):
    """The row of a creation; the offset behind it, -1 where it is unusual."""
    event = emission[EMISSION_EVENT]
    base = key_index(data, place(event, MINT, work, tables), work)
    user = key_index(data, place(event, USER, work, tables), work)
    quote = quote_of_curve(data, event, work, tables)
    if base < 0 or user < 0 or quote < -1 or not _are_texts(data, event, work, tables):
        return np.int64(-1)
    base_decimals = _decimals(data, base, work, tables)
    if base_decimals == _UNKNOWN:
        base_decimals = np.int64(6)
    quote_decimals = _decimals(data, quote, work, tables)
    to = _head(data, emission, where, user, moment, work, tables, names, out, to)
    to = _text_column(T_CREATE, tables, out, to)
    to = _mints(data, base, quote, work, tables, out, to)
    to = put_null(out, put_null(out, put_null(out, to)))
    to = put_int8(out, put_int8(out, to, work.facts[FEE]), tip)
    for asked in (BASE_RESERVES, SOL_RESERVES if quote < 0 else QUOTE_RESERVES):
        if not has(event, asked, work, tables):
            to = put_null(out, to)
        else:
            amount = number(data, event, asked, work, tables)
            if amount < 0:
                return np.int64(-1)
            to = put_numeric(out, to, amount)
    to = put_null(out, put_null(out, put_null(out, to)))
    to = put_float8(out, to, np.float64(work.facts[FEE] + tip) / _LAMPORTS_PER_SOL, work.float_bits)
    to = _accounts(data, emission, work, tables, out, to)
    work.values[IN_SOL] = quote < 0
    return _meta(data, emission, base_decimals, quote_decimals, work, tables, out, to)


@inner
def _are_texts(data, event, work, tables):
    for asked in (NAME, SYMBOL, URI):
        at = place(event, asked, work, tables)
        if not is_utf8(data, at + 4, number_at(data, at) & 0xFFFFFFFF):
            return False
    return True


@inner
def _head(data, emission, where, wallet, moment, work, tables, names, out, to):
    """The columns from ts_ns to program."""
    frame = work.frames[emission[EMISSION_FRAME]]
    call = work.calls[frame[FRAME_CALL]]
    to = put_number(out, to, np.int64(_N_COLUMNS), 2)
    to = put_int8(out, put_int8(out, put_int8(out, to, moment.ts_ns), where[TX_RECEIVED]), moment.slot)
    to = put_int4(out, to, where[TX_INDEX])
    end = encode(
        data, where[TX_SIGNATURE], 64, tables.signature_powers, tables.alphabet, work.parts, work.digits, out, to + 4
    )
    put_number(out, to, end - to - 4, 4)
    to = put_int4(out, put_int4(out, end, call[CALL_OUTER]), call[CALL_INNER])
    to = put_int4(out, to, emission[EMISSION_SEQ])
    to = put_text(out, to, work.texts[wallet], 0, key_text(data, wallet, work, tables))
    known = find_key(data, work.keys[wallet], names.firsts, names.keys)
    if known < 0:
        to = put_null(out, to)
    else:
        to = put_text(out, to, names.blob, names.at[known], names.at[known + 1] - names.at[known])
    to = put_text(out, to, work.texts[0], 0, key_text(data, 0, work, tables))
    return _text_column(frame[FRAME_PROGRAM], tables, out, to)


@inner
def _text(text, tables, out, to):
    """One of the known texts as it is."""
    begin = tables.text_at[text]
    return put_bytes(out, to, tables.texts, begin, tables.text_at[text + 1] - begin)


@inner
def _text_column(text, tables, out, to):
    """One of the known texts as a column."""
    begin = tables.text_at[text]
    return put_text(out, to, tables.texts, begin, tables.text_at[text + 1] - begin)


@inner
def _mints(data, base, quote, work, tables, out, to):
    """The columns mint, base_mint and quote_mint."""
    n = key_text(data, base, work, tables)
    to = put_text(out, put_text(out, to, work.texts[base], 0, n), work.texts[base], 0, n)
    if quote >= 0:
        return put_text(out, to, work.texts[quote], 0, key_text(data, quote, work, tables))
    return _text_column(T_WSOL, tables, out, to)


@inner
def _human(coins, money, base_decimals, quote_decimals, work, tables, out, to):
    """The columns amount_in, amount_out and price_est."""
    bits, buys = work.float_bits, work.values[BUYS] == 1
    for is_base in (not buys, buys):
        decimals = base_decimals if is_base else quote_decimals
        if decimals < 0:
            to = put_null(out, to)
        else:
            amount = np.float64(coins if is_base else money)
            to = put_float8(out, to, amount / np.float64(tables.tens[decimals]), bits)
    if base_decimals < 0 or quote_decimals < 0:
        return put_null(out, to)
    charged = work.values[FEE_RAW]
    if work.values[INVERTED]:
        coins += charged if buys else -charged
    else:
        money += -charged if buys else charged
    if coins <= 0:
        return put_null(out, to)
    scale = tables.scales[255 + base_decimals - quote_decimals]
    return put_float8(out, to, np.float64(money) / np.float64(coins) * scale, bits)


@inner
def _accounts(data, emission, work, tables, out, to):
    """The column ix_accounts_json."""
    call = work.calls[work.frames[emission[EMISSION_FRAME], FRAME_CALL]]
    n = call[CALL_N_ACCOUNTS]
    if n == 0:
        return put_null(out, to)
    length_at = to
    to += 4
    out[to], out[to + 1] = np.uint8(1), np.uint8(91)
    to += 2
    for place_ in range(call[CALL_ACCOUNTS], call[CALL_ACCOUNTS] + n):
        index = np.int64(data[place_])
        out[to] = np.uint8(34)
        to = put_bytes(out, to + 1, work.texts[index], 0, key_text(data, index, work, tables))
        out[to], out[to + 1] = np.uint8(34), np.uint8(44)
        to += 2
    out[to - 1] = np.uint8(93)
    put_number(out, length_at, to - length_at - 4, 4)
    return to


@inner
def _key_member(data, at, text, work, tables, out, to):
    """A member with the address of 32 bytes; its known text ends with the opening quotation mark."""
    to = _text(text, tables, out, to)
    to = encode(data, at, 32, tables.address_powers, tables.alphabet, work.parts, work.digits, out, to)
    out[to] = np.uint8(34)
    return to + 1


@inner
def _number_member(data, event, asked, text, work, tables, out, to):
    """A member with the field's number, if the event has it. -1 beyond int64."""
    if to < 0 or not has(event, asked, work, tables):
        return to
    value = number(data, event, asked, work, tables)
    return put_decimal(out, _text(text, tables, out, to), value) if value >= 0 else np.int64(-1)


@inner
def _meta(data, emission, base_decimals, quote_decimals, work, tables, out, to):
    """The column meta_json."""
    event = emission[EMISSION_EVENT]
    length_at = to
    out[to + 4] = np.uint8(1)
    to += 5
    if event == TRADE or event == CREATE:
        to = _curve_members(data, event, work, tables, out, _text(T_CURVE, tables, out, to))
    else:
        to = _pool_members(data, event, work, tables, out, _text(T_POOL_VENUE, tables, out, to))
    to = _number_member(data, event, CASHBACK, T_CASHBACK, work, tables, out, to)
    to = _number_member(data, event, TIMESTAMP, T_TIMESTAMP, work, tables, out, to)
    if to < 0:
        return to
    if has(event, CREATOR, work, tables) and not is_key(data, event, CREATOR, K_ZERO, work, tables):
        to = _key_member(data, place(event, CREATOR, work, tables), T_CREATOR, work, tables, out, to)
    ix = work.frames[emission[EMISSION_FRAME], FRAME_IX]
    if ix >= 0:
        name = tables.instructions[ix]
        to = _text(T_IX, tables, out, to)
        to = put_bytes(out, to, tables.names, name[IX_NAME_AT], name[IX_NAME_LENGTH])
        out[to] = np.uint8(34)
        to += 1
    if base_decimals >= 0:
        to = put_decimal(out, _text(T_BASE_DECIMALS, tables, out, to), base_decimals)
    if quote_decimals >= 0:
        to = put_decimal(out, _text(T_QUOTE_DECIMALS, tables, out, to), quote_decimals)
    to = _text(T_SOURCE, tables, out, to)
    put_number(out, length_at, to - length_at - 4, 4)
    return to


@inner
def _curve_members(data, event, work, tables, out, to):
    to = _number_member(data, event, REAL_BASE, T_REAL_BASE, work, tables, out, to)
    if event == TRADE:
        real = REAL_SOL if work.values[IN_SOL] else REAL_QUOTE
        to = _number_member(data, event, real, T_REAL_QUOTE, work, tables, out, to)
        to = _number_member(data, event, PROTOCOL_BPS, T_PROTOCOL_BPS, work, tables, out, to)
        to = _number_member(data, event, CREATOR_BPS, T_CREATOR_BPS, work, tables, out, to)
    if to >= 0 and has(event, MAYHEM, work, tables):
        is_mayhem = data[place(event, MAYHEM, work, tables)] == 1
        to = _text(T_MAYHEM if is_mayhem else T_NO_MAYHEM, tables, out, to)
    if to >= 0 and event == CREATE:
        to = _text_member(data, event, NAME, T_NAME, work, tables, out, to)
        to = _text_member(data, event, SYMBOL, T_SYMBOL, work, tables, out, to)
        to = _text_member(data, event, URI, T_URI, work, tables, out, to)
    return to


@inner
def _text_member(data, event, asked, text, work, tables, out, to):
    at = place(event, asked, work, tables)
    return put_json_text(out, _text(text, tables, out, to), data, at + 4, number_at(data, at) & 0xFFFFFFFF)


@inner
def _pool_members(data, event, work, tables, out, to):
    to = _key_member(data, place(event, POOL, work, tables), T_POOL, work, tables, out, to)
    to = put_decimal(out, _text(T_VAULT, tables, out, to), work.values[VAULT_QUOTE])
    to = put_decimal(out, _text(T_VIRTUAL, tables, out, to), work.values[VIRTUAL_AFTER])
    if work.values[INVERTED]:
        to = put_decimal(out, _text(T_FEE_BASE, tables, out, to), work.values[FEE_RAW])
    to = _number_member(data, event, LP_BPS, T_LP_BPS, work, tables, out, to)
    to = _number_member(data, event, PROTOCOL_BPS, T_PROTOCOL_BPS, work, tables, out, to)
    return _number_member(data, event, CREATOR_BPS, T_CREATOR_BPS, work, tables, out, to)
