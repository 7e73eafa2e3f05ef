"""A stream update's bytes to the places of its one buy, by kernel: what is not exactly that is left to the decoder.

All that `solana.transaction.check_complete` and `pump.emissions` demand of a transaction is demanded here, on the bytes
of a Yellowstone SubscribeUpdate; fields that stand twice, texts that are no plain digits and the like are refused, for
protobuf would have to say what they mean. What the event says is not read here.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from copytrader_core.compiled import uncounted
from copytrader_core.pump.emissions import AMM, EVENT_CALL_PREFIX, PUMP
from copytrader_core.pump.newest_pool_buy import POOL_AT, POOL_COLUMNS, newest_pool_buy
from copytrader_core.pump.newest_pool_buy import USER_AT as POOL_USER_AT
from copytrader_core.pump.newest_trade import MINT_AT, TRADE_COLUMNS, USER_AT, newest_trade
from copytrader_core.solana.transaction import LOG_TRUNCATED

__all__ = [
    "COLUMNS",
    "FIELD_COLUMNS",
    "MAX_CALLS",
    "MAX_FIELDS",
    "MAX_KEYS",
    "N_EVENT_COLUMNS",
    "OWNER_COLUMNS",
    "scan",
]

MAX_KEYS: Final = 256
MAX_CALLS: Final = 512
MAX_FIELDS: Final = 1_024
# What `scan` finds, in `found`; behind it stands what the event says.
COLUMNS: Final = (
    "slot", "index", "signature", "n_keys", "n_signers", "program", "accounts", "n_accounts", "data", "n_data",
    "event", "n_event", "subject", "user", "is_newest", "n_owners",
)  # fmt: skip
(
    _SLOT, _INDEX, _SIGNATURE, _N_KEYS, _N_SIGNERS, _PROGRAM, _ACCOUNTS, _N_ACCOUNTS, _DATA, _N_DATA, _EVENT, _N_EVENT,
    _SUBJECT, _USER, _IS_NEWEST, _N_OWNERS, _SAYS,
) = range(len(COLUMNS) + 1)  # fmt: skip
N_EVENT_COLUMNS: Final = max(len(TRADE_COLUMNS), len(POOL_COLUMNS))
OWNER_COLUMNS: Final = ("owner", "n_owner", "mint", "n_mint")
"""Of each token balance that names its owner: where that text and the mint's are."""
FIELD_COLUMNS: Final = ("number", "kind", "size", "begin")
"""Of each field of a message that is read in one go: number, wire type, value or length, where its content begins."""
_NUMBER, _KIND, _SIZE, _BEGIN = range(4)
_DEPTH, _CALLED, _AT, _N, _BODY, _N_BODY = range(6)
_U31: Final = 1 << 31
_VARINT: Final = 0
_LENGTH: Final = 2
_KEY: Final = 32
_PREFIX: Final = 8


def _constant(data: bytes) -> np.ndarray:
    """Bytes that are compiled into the kernel."""
    return np.frombuffer(data, np.uint8).copy()


_PUMP_KEY, _AMM_KEY, _PUMP_AUTHORITY, _AMM_AUTHORITY = (
    _constant(key) for key in (PUMP.key, AMM.key, PUMP.authority, AMM.authority)
)
# Compiled code keeps what stands here: a discriminator follows from its name alone, an authority from its program.
_EVENT_CALL = _constant(EVENT_CALL_PREFIX)
_PUMP_TRADE, _AMM_BUY = (
    _constant(program.interface.event(name).discriminator)
    for program, name in ((PUMP, "TradeEvent"), (AMM, "BuyEvent"))
)
_PUMP_LINE, _AMM_LINE, _DATA_LINE, _CUT_LINE = (
    _constant(text.encode()) for text in (PUMP.invoked, AMM.invoked, "Program data: ", LOG_TRUNCATED)
)
_ALPHABET = _constant(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


@uncounted
def _varint(data, at, end):
    """The varint at `at`, at most 63 bits of it, and the offset behind it; -1 where there is none."""
    value, shift = np.int64(0), np.int64(0)
    while at < end and shift < 63:
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, np.int64(at)
        shift += 7
    return np.int64(0), np.int64(-1)


@uncounted
def _long_varint(data, at, end):
    """The offset behind a varint of up to ten bytes, whatever it says; -1 where there is none."""
    for _ in range(10):
        if at >= end:
            return np.int64(-1)
        at += 1
        if data[at - 1] < 128:
            return np.int64(at)
    return np.int64(-1)


@uncounted
def _field(data, at, end):
    """The field at `at`: number, wire type, value or length, content's begin, offset behind it (-1: none)."""
    none = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(-1)
    key, at = _varint(data, at, end)
    number, kind = key >> 3, key & 7
    if at < 0 or number < 1 or number >= 1 << 29:
        return none
    if kind == _VARINT:
        after = _long_varint(data, at, end)
        value, short = _varint(data, at, end)
        return number, kind, value if short >= 0 else np.int64(-1), np.int64(at), after
    if kind == _LENGTH:
        value, at = _varint(data, at, end)
    elif kind == 1:
        value = np.int64(8)
    elif kind == 5:
        value = np.int64(4)
    else:
        return none
    if at < 0 or value > end - at:
        return none
    return number, kind, value, np.int64(at), at + value


@uncounted
def _is(data, at, n, what):
    """Whether these bytes are `what`."""
    if n != len(what):
        return False
    for place in range(n):
        if data[at + place] != what[place]:
            return False
    return True


@uncounted
def _parts(data, at, end, places, lengths, kinds):
    """Where the single fields of a message lie, by number; False where one stands twice or is of another kind."""
    places[: len(kinds)] = -1
    lengths[: len(kinds)] = 0
    while at < end:
        number, kind, value, begin, at = _field(data, at, end)
        if at < 0:
            return False
        if number < len(kinds) and kinds[number] >= 0:
            if kind != kinds[number] or places[number] >= 0 or value < 0:
                return False
            places[number], lengths[number] = begin, value
    return True


@uncounted
def _listed(data, at, end, fields):
    """Every field of a message as a row of `fields`; how many, -1 where one is odd or there are too many."""
    n = 0
    while at < end:
        number, kind, value, begin, at = _field(data, at, end)
        if at < 0 or n >= MAX_FIELDS:
            return -1
        fields[n, _NUMBER], fields[n, _KIND], fields[n, _SIZE], fields[n, _BEGIN] = number, kind, value, begin
        n += 1
    return n


@uncounted
def _single(fields, n_fields, places, lengths, kinds):
    """As `_parts`, of a message that is listed."""
    places[: len(kinds)] = -1
    lengths[: len(kinds)] = 0
    for row in range(n_fields):
        number, value = fields[row, _NUMBER], fields[row, _SIZE]
        if number < len(kinds) and kinds[number] >= 0:
            if fields[row, _KIND] != kinds[number] or places[number] >= 0 or value < 0:
                return False
            places[number], lengths[number] = fields[row, _BEGIN], value
    return True


@uncounted
def _keys_of(fields, n_fields, wanted, keys, n):
    """Adds the 32-byte fields of that number to `keys`; their number then, -1 where one is another."""
    for row in range(n_fields):
        if fields[row, _NUMBER] == wanted:
            if fields[row, _KIND] != _LENGTH or fields[row, _SIZE] != _KEY or n >= MAX_KEYS:
                return -1
            keys[n] = fields[row, _BEGIN]
            n += 1
    return n


@uncounted
def _call(data, at, end, n_keys, depth, row, work):
    """One instruction into `row`. `depth` 0: it has to tell its own."""
    places, lengths, kinds = work[0], work[1], work[2, :5]
    if not _parts(data, at, end, places, lengths, kinds):
        return False
    called = lengths[1] if places[1] >= 0 else 0
    row[_DEPTH] = depth
    if depth == 0:
        row[_DEPTH] = lengths[4] if places[4] >= 0 else 0
    row[_CALLED], row[_AT], row[_N] = called, places[2], lengths[2]
    row[_BODY], row[_N_BODY] = places[3], lengths[3]
    if called >= n_keys or row[_DEPTH] >= _U31:
        return False
    for place in range(lengths[2]):
        if data[places[2] + place] >= n_keys:
            return False
    return True


@uncounted
def _calls(data, message, n_message, meta, n_meta, n_keys, calls, groups, work):
    """All instructions in execution order into `calls`; their number, -1 where something is missing or odd."""
    # An instruction is a field of the message: there are no more of them than those.
    groups[:n_message] = 0
    n_groups = 0
    places, lengths, kinds = work[3], work[4], work[5]
    for row in range(n_meta):
        if meta[row, _NUMBER] == 5:
            begin, end = meta[row, _BEGIN], meta[row, _BEGIN] + meta[row, _SIZE]
            if meta[row, _KIND] != _LENGTH or not _parts(data, begin, end, places, lengths, kinds):
                return -1
            index = lengths[1] if places[1] >= 0 else 0
            if index >= min(n_message, MAX_KEYS) or groups[index, 1] > 0:
                return -1
            groups[index, 0], groups[index, 1] = begin, end + 1
            n_groups += 1
    n, outer = 0, 0
    for row in range(n_message):
        if message[row, _NUMBER] != 4:
            continue
        if message[row, _KIND] != _LENGTH or n >= MAX_CALLS or outer >= MAX_KEYS:
            return -1
        begin = message[row, _BEGIN]
        if not _call(data, begin, begin + message[row, _SIZE], n_keys, 1, calls[n], work):
            return -1
        n += 1
        if groups[outer, 1] > 0:
            n_groups -= 1
            n = _group(data, groups[outer, 0], groups[outer, 1] - 1, n_keys, calls, n, work)
            if n < 0:
                return -1
        outer += 1
    return n if n_groups == 0 else -1


@uncounted
def _group(data, at, end, n_keys, calls, n, work):
    """The instructions of one group behind the `n` that are there; their number, -1 where a depth cannot be."""
    depth = 1
    while at < end:
        number, kind, _, begin, at = _field(data, at, end)
        if number != 2:
            continue
        if kind != _LENGTH or n >= MAX_CALLS or not _call(data, begin, at, n_keys, 0, calls[n], work):
            return -1
        if calls[n, _DEPTH] < 2 or calls[n, _DEPTH] > depth + 1:
            return -1
        depth = calls[n, _DEPTH]
        n += 1
    return n


@uncounted
def _tokens(data, meta, n_meta, n_keys, work, owners):
    """Who holds which mint, into `owners`: how many of them; -1 where a token balance cannot be."""
    n_owners = 0
    places, lengths, kinds = work[0], work[1], work[6, :6]
    digits, n_digits, figures = work[3], work[4], work[7, :4]
    for row in range(n_meta):
        if meta[row, _NUMBER] != 7 and meta[row, _NUMBER] != 8:
            continue
        begin = meta[row, _BEGIN]
        if meta[row, _KIND] != _LENGTH or not _parts(data, begin, begin + meta[row, _SIZE], places, lengths, kinds):
            return -1
        if (places[1] >= 0 and lengths[1] >= n_keys) or lengths[4] == 0 or places[3] < 0:
            return -1
        if not _parts(data, places[3], places[3] + lengths[3], digits, n_digits, figures):
            return -1
        if n_digits[2] > 255 or n_digits[3] < 1 or n_digits[3] > 19:
            return -1
        for place in range(digits[3], digits[3] + n_digits[3]):
            if data[place] < 48 or data[place] > 57:
                return -1
        # A balance is a field of the meta: there are no more of them than those.
        owners[n_owners, 0], owners[n_owners, 1] = places[4], lengths[4]
        owners[n_owners, 2], owners[n_owners, 3] = places[2], lengths[2]
        n_owners += 1
    return n_owners


@uncounted
def _count(data, at, end):
    """How many varints lie here; -1 where the last one is cut."""
    n = 0
    while at < end:
        at = _long_varint(data, at, end)
        if at < 0:
            return -1
        n += 1
    return n


@uncounted
def _says(data, at, n, event, n_event):
    """Whether a line is the label and the event in base64."""
    groups = (n_event + 2) // 3
    if n != len(_DATA_LINE) + 4 * groups or not _is(data, at, len(_DATA_LINE), _DATA_LINE):
        return False
    at += len(_DATA_LINE)
    for group in range(groups):
        word, left = np.int64(0), n_event - 3 * group
        for place in range(3):
            byte = np.int64(data[event + 3 * group + place]) if place < left else np.int64(0)
            word |= byte << (16 - 8 * place)
        for place in range(4):
            char = _ALPHABET[(word >> (18 - 6 * place)) & 63] if place <= left else np.uint8(61)
            if data[at + 4 * group + place] != char:
                return False
    return True


@uncounted
def _logs(data, meta, n_meta, event, n_event, n_programs):
    """Whether the logs are whole, call ours twice and hold the event."""
    n_called, holds = 0, False
    for row in range(n_meta):
        if meta[row, _NUMBER] != 6:
            continue
        begin, size = meta[row, _BEGIN], meta[row, _SIZE]
        if meta[row, _KIND] != _LENGTH or _is(data, begin, size, _CUT_LINE):
            return False
        if (n_programs & 1 and size >= len(_PUMP_LINE) and _is(data, begin, len(_PUMP_LINE), _PUMP_LINE)) or (
            n_programs & 2 and size >= len(_AMM_LINE) and _is(data, begin, len(_AMM_LINE), _AMM_LINE)
        ):
            n_called += 1
        holds = holds or _says(data, begin, size, event, n_event)
    return holds and n_called == 2


@uncounted
def _first(data, keys, n_keys, key):
    for index in range(n_keys):
        if _is(data, keys[index], _KEY, key):
            return index
    return -1


@uncounted
def _trade(data, keys, n_keys, calls, n_calls, pump, amm, found):
    """The one buy of ours and its event into `found`; False where there is not exactly that."""
    first, second = -1, -1
    for at in range(n_calls):
        if calls[at, _CALLED] == pump or calls[at, _CALLED] == amm:
            if second >= 0:
                return False
            if first < 0:
                first = at
            else:
                second = at
    if second < 0 or calls[first, _CALLED] != calls[second, _CALLED]:
        return False
    depth = calls[first, _DEPTH] + 1
    for at in range(first + 1, second):
        if calls[at, _DEPTH] < depth:
            return False
    which = 0 if calls[first, _CALLED] == pump else 1
    body, n_body = calls[second, _BODY], calls[second, _N_BODY]
    if calls[second, _DEPTH] != depth or calls[second, _N] != 1 or n_body < 2 * _PREFIX:
        return False
    if not _is(data, keys[data[calls[second, _AT]]], _KEY, _PUMP_AUTHORITY if which == 0 else _AMM_AUTHORITY):
        return False
    if not _is(data, body, _PREFIX, _EVENT_CALL) or calls[first, _N_BODY] < _PREFIX:
        return False
    if not _is(data, body + _PREFIX, _PREFIX, _PUMP_TRADE if which == 0 else _AMM_BUY):
        return False
    found[_PROGRAM] = which
    found[_ACCOUNTS], found[_N_ACCOUNTS] = calls[first, _AT], calls[first, _N]
    found[_DATA], found[_N_DATA] = calls[first, _BODY], calls[first, _N_BODY]
    event, n_event = body + _PREFIX, n_body - _PREFIX
    found[_EVENT], found[_N_EVENT] = event, n_event
    found[_IS_NEWEST] = 0
    # Every layout of a TradeEvent has coin and trader there, and of a BuyEvent pool and trader.
    subject_at, user_at = (MINT_AT, USER_AT) if which == 0 else (POOL_AT, POOL_USER_AT)
    if n_event < user_at + _KEY:
        return False
    found[_SUBJECT] = _place(data, keys, n_keys, event + subject_at)
    found[_USER] = _place(data, keys, n_keys, event + user_at)
    if which == 0:
        is_newest = newest_trade(data, event, n_event, found[_SAYS:])
    else:
        is_newest = newest_pool_buy(data, event, n_event, found[_SAYS:])
    if is_newest:
        found[_IS_NEWEST] = 1
    return found[_SUBJECT] >= 0 and 0 <= found[_USER] < found[_N_SIGNERS]


@uncounted
def _place(data, keys, n_keys, at):
    """Which of the keys stands at `at`; -1: none."""
    for index in range(n_keys):
        key = keys[index]
        for place in range(_KEY):
            if data[key + place] != data[at + place]:
                break
        else:
            return index
    return -1


@uncounted
def _is_wanted(data, keys, n_signers, leaders):
    """Whether the first 8 bytes of a signer's key are those of a leader's, which are sorted."""
    for signer in range(n_signers):
        head = _head(data, keys[signer])
        low, high = 0, len(leaders)
        while low < high:
            middle = (low + high) >> 1
            if leaders[middle] < head:
                low = middle + 1
            else:
                high = middle
        if low < len(leaders) and leaders[low] == head:
            return True
    return False


@uncounted
def _head(data, at):
    """The first 8 bytes of a key as one number, little endian."""
    head = np.uint64(0)
    for place in range(8):
        head |= np.uint64(data[at + place]) << np.uint64(8 * place)
    return head


@uncounted
def scan(data: Any, leaders: Any, scratch: Any) -> Any:
    """Reads a SubscribeUpdate; True where it is a landed transaction with one buy of ours, seen in full.

    `leaders` are the first 8 bytes of the signers that count, sorted uint64. Of `scratch` (keys, calls, groups, work,
    message, meta, owners, found) keys gets the offsets of the account keys, owners those of `OWNER_COLUMNS`, found what
    `COLUMNS` names (lengths begin with n_; subject and user: which of the keys the event names, the coin of a curve or
    the pool, and the trader, who has signed; is_newest: whether what comes behind is what that event says:
    TRADE_COLUMNS or POOL_COLUMNS).
    """
    keys, calls, groups, work, message, meta, owners, found = scratch
    places, lengths = work[0], work[1]
    if not _parts(data, 0, len(data), places, lengths, work[8]) or places[4] < 0:
        return False
    for other in (3, 5, 6, 7, 9, 10):
        if places[other] >= 0:
            return False
    if not _parts(data, places[4], places[4] + lengths[4], work[3], work[4], work[9]) or work[3, 1] < 0:
        return False
    found[_SLOT] = work[4, 2]
    if not _parts(data, work[3, 1], work[3, 1] + work[4, 1], places, lengths, work[10]):
        return False
    if lengths[1] != 64 or places[3] < 0 or places[4] < 0:
        return False
    found[_SIGNATURE], found[_INDEX] = places[1], lengths[5]
    meta_at, meta_end = places[4], places[4] + lengths[4]
    if not _parts(data, places[3], places[3] + lengths[3], work[3], work[4], work[11]) or work[3, 2] < 0:
        return False
    n_message = _listed(data, work[3, 2], work[3, 2] + work[4, 2], message)
    if n_message < 0 or not _single(message, n_message, places, lengths, work[12]) or places[1] < 0:
        return False
    if not _parts(data, places[1], places[1] + lengths[1], work[3], work[4], work[13]):
        return False
    found[_N_SIGNERS] = work[4, 1]
    n_keys = _keys_of(message, n_message, 2, keys, 0)
    if found[_N_SIGNERS] < 1 or found[_N_SIGNERS] > n_keys or not _is_wanted(data, keys, found[_N_SIGNERS], leaders):
        return False
    n_meta = _listed(data, meta_at, meta_end, meta)
    n_keys = _keys_of(meta, n_meta, 12, keys, n_keys)
    if n_keys >= 0:
        n_keys = _keys_of(meta, n_meta, 13, keys, n_keys)
    if n_meta < 0 or n_keys < 1:
        return False
    found[_N_KEYS] = n_keys
    if not _single(meta, n_meta, places, lengths, work[14]):
        return False
    if places[1] >= 0 or lengths[10] != 0 or lengths[11] != 0:
        return False
    for balances in (3, 4):
        if _count(data, places[balances], places[balances] + lengths[balances]) != n_keys:
            return False
    n_calls = _calls(data, message, n_message, meta, n_meta, n_keys, calls, groups, work)
    pump, amm = _first(data, keys, n_keys, _PUMP_KEY), _first(data, keys, n_keys, _AMM_KEY)
    if n_calls < 2 or not _trade(data, keys, n_keys, calls, n_calls, pump, amm, found):
        return False
    named = (1 if pump >= 0 else 0) | (2 if amm >= 0 else 0)
    if not _logs(data, meta, n_meta, found[_EVENT], found[_N_EVENT], named):
        return False
    found[_N_OWNERS] = _tokens(data, meta, n_meta, n_keys, work, owners)
    return found[_N_OWNERS] >= 0
