"""One transaction's bytes to offsets: keys, instructions in execution order, balances, logs.

The arrays of a work record are filled anew by each transaction. Everything that `check_complete` demands of one is
demanded here, and the limits of the arrays besides; what falls short is left to the decoder that is the rule.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from copytrader_core.compiled import inner
from ingest_worker.kernel.wire import LENGTH, VARINT, field

MAX_KEYS: Final = 256
MAX_OUTER: Final = 256
MAX_CALLS: Final = 1024
MAX_TOKENS: Final = 1024
MAX_LOGS: Final = 2048
MAX_FIELDS: Final = 64
MAX_EVENTS: Final = 64

# What `read` finds.
USUAL, NOTHING, UNUSUAL = range(3)

# Where the parts of `work.facts` stand.
N_KEYS, N_SIGNERS, N_OUTER, N_CALLS, N_PRE, N_TOKENS, N_LOGS, FEE, N_BEFORE, N_AFTER, TRUNCATED = range(11)

# Columns of `work.calls`: a running instruction. Depth is 1 at the top level, -1 where it is not told.
CALL_PROGRAM, CALL_ACCOUNTS, CALL_N_ACCOUNTS, CALL_DATA, CALL_N_DATA, CALL_OUTER, CALL_INNER, CALL_DEPTH = range(8)
# Columns of `work.tokens`: the balance of a token account, those before the transaction first.
TOKEN_ACCOUNT, TOKEN_MINT, TOKEN_N_MINT, TOKEN_OWNER, TOKEN_N_OWNER, TOKEN_AMOUNT, TOKEN_DECIMALS = range(7)

_KEY_BYTES: Final = 32
_MAX_AMOUNT: Final = 1 << 62


# One record instead of many arrays: it is handed from kernel to kernel as a single pointer.
_WORK: Final = np.dtype(
    [
        ("facts", np.int64, 16),
        ("keys", np.int64, MAX_KEYS),
        ("outer", np.int64, (MAX_OUTER, 8)),
        ("inner", np.int64, (MAX_CALLS, 8)),
        ("n_inner", np.int64, (MAX_OUTER, 2)),
        ("calls", np.int64, (MAX_CALLS, 8)),
        ("tokens", np.int64, (MAX_TOKENS, 7)),
        ("logs", np.int64, (MAX_LOGS, 2)),
        # The base58 text of each key, once it was asked for, and its length.
        ("texts", np.uint8, (MAX_KEYS, 48)),
        ("n_texts", np.int64, MAX_KEYS),
        ("parts", np.uint64, 18),
        ("digits", np.uint8, 90),
        ("float_bits", np.float64, 1),
        ("fields", np.int64, MAX_FIELDS),
        ("frames", np.int64, (MAX_CALLS, 4)),
        ("emissions", np.int64, (MAX_EVENTS, 5)),
        ("stack", np.int64, MAX_CALLS + 2),
        ("values", np.int64, 48),
    ]
)


def new_work() -> Any:
    """Scratch space for one thread, a record of _WORK."""
    return np.zeros(1, _WORK)[0]


@inner
def read(data, at, end, work):
    """Reads the SubscribeUpdateTransactionInfo at `at` into `work`. Failed ones and votes are NOTHING."""
    body, body_end, meta, meta_end = np.int64(-1), np.int64(0), np.int64(-1), np.int64(0)
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0:
            return UNUSUAL
        if number == 2 and wire_type == VARINT and value:
            return NOTHING
        if number == 3 or number == 4:
            if wire_type != LENGTH or (body if number == 3 else meta) >= 0:
                return UNUSUAL
            if number == 3:
                body, body_end = begin, at
            else:
                meta, meta_end = begin, at
    if body < 0 or meta < 0:
        return UNUSUAL
    if _is_failed(data, meta, meta_end):
        return NOTHING
    work.facts[:] = 0
    if not (_body(data, body, body_end, work) and _meta(data, meta, meta_end, work) and _in_order(work)):
        return UNUSUAL
    return USUAL if _is_complete(data, work) else UNUSUAL


@inner
def _is_failed(data, at, end):
    """Whether a TransactionStatusMeta begins with an error. One at another place is found later, and unusual."""
    if at == end:
        return False
    number, wire_type, _, _, _ = field(data, at, end)
    return number == 1 and wire_type == LENGTH


@inner
def _body(data, at, end, work):
    """The Transaction: its one message."""
    message, message_end = np.int64(-1), np.int64(0)
    while at < end:
        number, wire_type, _, begin, at = field(data, at, end)
        if at < 0 or (number <= 2 and wire_type != LENGTH):
            return False
        if number == 2:
            if message >= 0:
                return False
            message, message_end = begin, at
    return message >= 0 and _message(data, message, message_end, work)


@inner
def _message(data, at, end, work):
    facts = work.facts
    has_header = False
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0:
            return False
        if number == 1:
            if wire_type != LENGTH or has_header or not _header(data, begin, at, facts):
                return False
            has_header = True
        elif number == 2:
            if wire_type != LENGTH or not _add_key(begin, value, work):
                return False
        elif number == 4:
            if wire_type != LENGTH or facts[N_OUTER] == MAX_OUTER:
                return False
            if not _call(data, begin, at, work.outer[facts[N_OUTER]]):
                return False
            facts[N_OUTER] += 1
    return True


@inner
def _header(data, at, end, facts):
    while at < end:
        number, wire_type, value, _, at = field(data, at, end)
        if at < 0 or (number <= 3 and wire_type != VARINT):
            return False
        if number == 1:
            facts[N_SIGNERS] = value
    return True


@inner
def _call(data, at, end, call):
    """A CompiledInstruction or an InnerInstruction."""
    call[:] = 0
    call[CALL_DEPTH] = -1
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0 or (number <= 4 and wire_type != (LENGTH if number == 2 or number == 3 else VARINT)):
            return False
        if number == 1:
            call[CALL_PROGRAM] = value
        elif number == 2:
            call[CALL_ACCOUNTS], call[CALL_N_ACCOUNTS] = begin, value
        elif number == 3:
            call[CALL_DATA], call[CALL_N_DATA] = begin, value
        elif number == 4:
            call[CALL_DEPTH] = value
    return True


@inner
def _meta(data, at, end, work):
    """The TransactionStatusMeta, its fields in the order of their numbers where one depends on another."""
    work.n_inner[:, 1] = 0
    n_inner = np.int64(0)
    latest = np.int64(0)
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0 or number < latest:
            return False
        latest = number
        if number == 5:
            n_inner = _group(data, begin, at, work, n_inner) if wire_type == LENGTH else np.int64(-1)
            if n_inner < 0:
                return False
        elif number <= 13 and not _meta_field(data, number, wire_type, value, begin, at, work):
            return False
    return True


@inner
def _meta_field(data, number, wire_type, value, begin, end, work):
    """One field but the inner instructions."""
    facts = work.facts
    if number == 2:
        facts[FEE] = value
        return wire_type == VARINT and value >= 0
    if number == 3 or number == 4:
        facts[N_BEFORE if number == 3 else N_AFTER] += _n_lamports(data, begin, end, wire_type)
        return facts[N_BEFORE] <= MAX_KEYS and facts[N_AFTER] <= MAX_KEYS
    if number == 6:
        work.logs[facts[N_LOGS], 0], work.logs[facts[N_LOGS], 1] = begin, value
        facts[N_LOGS] += 1
        return wire_type == LENGTH and facts[N_LOGS] < MAX_LOGS and _is_ascii(data, begin, value)
    if number == 7 or number == 8:
        if wire_type != LENGTH or not _token(data, begin, end, work.tokens[facts[N_TOKENS]]):
            return False
        facts[N_TOKENS] += 1
        facts[N_PRE] += number == 7
        return facts[N_TOKENS] < MAX_TOKENS
    if number == 12 or number == 13:
        return wire_type == LENGTH and _add_key(begin, value, work)
    # An error, or a flag that says that the node keeps no inner instructions or no logs.
    return number == 9 or (number != 1 and wire_type == VARINT and value == 0)


@inner
def _add_key(begin, length, work):
    facts = work.facts
    if length != _KEY_BYTES or facts[N_KEYS] == MAX_KEYS:
        return False
    work.keys[facts[N_KEYS]] = begin
    facts[N_KEYS] += 1
    return True


@inner
def _n_lamports(data, at, end, wire_type):
    """How many balances a packed field, or a single one, holds; too many if it is cut or something else."""
    if wire_type == VARINT:
        return np.int64(1)
    if wire_type != LENGTH or (at < end and data[end - 1] >= 128):
        return np.int64(MAX_KEYS + 1)
    n = np.int64(0)
    for place in range(at, end):
        n += data[place] < 128
    return n


@inner
def _group(data, at, end, work, n_inner):
    """An InnerInstructions: its calls go to `work.inner` from `n_inner` on; the number of calls then, -1 if unusual."""
    index = np.int64(0)
    first = n_inner
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0 or (number <= 2 and wire_type != (VARINT if number == 1 else LENGTH)):
            return np.int64(-1)
        if number == 1:
            index = value
        elif number == 2:
            if n_inner == MAX_CALLS or not _call(data, begin, at, work.inner[n_inner]):
                return np.int64(-1)
            n_inner += 1
    if index < 0 or index >= MAX_OUTER or work.n_inner[index, 1]:
        return np.int64(-1)
    # One more than there are, so that a second group of the same index shows even if this one is empty.
    work.n_inner[index, 0], work.n_inner[index, 1] = first, n_inner - first + 1
    return n_inner


@inner
def _token(data, at, end, token):
    token[:] = 0
    amount, amount_end = np.int64(-1), np.int64(0)
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0 or (number <= 5 and wire_type != (VARINT if number == 1 else LENGTH)):
            return False
        if number == 1:
            token[TOKEN_ACCOUNT] = value
        elif number == 2:
            token[TOKEN_MINT], token[TOKEN_N_MINT] = begin, value
        elif number == 3:
            if amount >= 0:
                return False
            amount, amount_end = begin, at
        elif number == 4:
            token[TOKEN_OWNER], token[TOKEN_N_OWNER] = begin, value
    if amount < 0 or token[TOKEN_N_OWNER] == 0:
        return False
    if not (
        _is_ascii(data, token[TOKEN_MINT], token[TOKEN_N_MINT])
        and _is_ascii(data, token[TOKEN_OWNER], token[TOKEN_N_OWNER])
    ):
        return False
    return _amount(data, amount, amount_end, token)


@inner
def _amount(data, at, end, token):
    """A UiTokenAmount. Amounts of 2^62 and more are unusual."""
    has_amount = False
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0:
            return False
        if number == 2:
            if wire_type != VARINT or value < 0 or value > 255:
                return False
            token[TOKEN_DECIMALS] = value
        elif number == 3:
            if wire_type != LENGTH or value < 1 or value > 19:
                return False
            amount = np.int64(0)
            for place in range(begin, at):
                digit = np.int64(data[place]) - 48
                if digit < 0 or digit > 9:
                    return False
                amount = amount * 10 + digit
            if amount < 0 or amount >= _MAX_AMOUNT:
                return False
            token[TOKEN_AMOUNT] = amount
            has_amount = True
    return has_amount


@inner
def _in_order(work):
    """The calls in execution order; False where there is none below the top level, or a group without its call."""
    facts, calls = work.facts, work.calls
    n = np.int64(0)
    n_inner = np.int64(0)
    for outer in range(MAX_OUTER):
        group = max(work.n_inner[outer, 1] - 1, 0)
        if outer >= facts[N_OUTER]:
            if work.n_inner[outer, 1]:
                return False
            continue
        if n + 1 + group > MAX_CALLS:
            return False
        calls[n, :] = work.outer[outer, :]
        calls[n, CALL_OUTER], calls[n, CALL_INNER], calls[n, CALL_DEPTH] = outer, -1, 1
        n += 1
        first = work.n_inner[outer, 0]
        for place in range(group):
            calls[n, :] = work.inner[first + place, :]
            calls[n, CALL_OUTER], calls[n, CALL_INNER] = outer, place
            n += 1
        n_inner += group
    facts[N_CALLS] = n
    return n_inner > 0


@inner
def _is_complete(data, work):
    """The demands of `solana.transaction.check_complete`; a call whose depth is not told is unusual."""
    facts = work.facts
    n_keys = facts[N_KEYS]
    if not 1 <= facts[N_SIGNERS] <= n_keys or facts[N_BEFORE] != n_keys or facts[N_AFTER] != n_keys:
        return False
    depth = np.int64(1)
    for at in range(facts[N_CALLS]):
        call = work.calls[at]
        if not 0 <= call[CALL_PROGRAM] < n_keys:
            return False
        for place in range(call[CALL_ACCOUNTS], call[CALL_ACCOUNTS] + call[CALL_N_ACCOUNTS]):
            if data[place] >= n_keys:
                return False
        if call[CALL_INNER] < 0:
            depth = np.int64(1)
            continue
        if not 2 <= call[CALL_DEPTH] <= depth + 1:
            return False
        depth = call[CALL_DEPTH]
    for at in range(facts[N_TOKENS]):
        if not 0 <= work.tokens[at, TOKEN_ACCOUNT] < n_keys:
            return False
    return True


@inner
def _is_ascii(data, at, length):
    bits = np.uint8(0)
    for place in range(at, at + length):
        bits |= data[place]
    return bits < 128


@inner
def same(data, at, other, other_at, length):
    """Whether `length` bytes are equal."""
    for place in range(length):
        if data[at + place] != other[other_at + place]:
            return False
    return True


@inner
def key_index(data, at, work):
    """The place of the 32 bytes at `at` among the account keys, the first one, -1 if they are none."""
    for index in range(work.facts[N_KEYS]):
        if same(data, work.keys[index], data, at, _KEY_BYTES):
            return np.int64(index)
    return np.int64(-1)


@inner
def is_text(data, at, length, text, n_text):
    """Whether these bytes are the first `n_text` of `text`."""
    return length == n_text and same(data, at, text, 0, length)
