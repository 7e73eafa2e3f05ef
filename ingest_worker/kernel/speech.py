"""Who emitted which event, and what its bytes say: frames, emissions, layouts.

The rules are those of `copytrader_core.pump.emissions` and `pump.events`; what they would refuse is unusual here.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from copytrader_core.compiled import inner
from ingest_worker.kernel.tables import (
    BOOL,
    EVENT_PREFIX,
    I64,
    I128,
    IX_NAME,
    IX_NAME_AT,
    IX_NAME_LENGTH,
    IX_SPEAKS,
    IX_TRADES,
    K_AMM,
    K_AMM_AUTHORITY,
    K_PUMP,
    K_PUMP_AUTHORITY,
    KEY,
    SHAREHOLDER,
    SHAREHOLDERS,
    SILENT,
    T_AMM,
    T_CREATE_IX,
    T_DATA,
    T_INVOKE,
    T_PROGRAM,
    T_PUMP,
    T_TRUNCATED,
    TEXT,
    TIMESTAMP,
    U8,
    U64,
    UNNAMED,
    UNUSUAL_IX,
)
from ingest_worker.kernel.transaction import (
    CALL_ACCOUNTS,
    CALL_DATA,
    CALL_DEPTH,
    CALL_INNER,
    CALL_N_ACCOUNTS,
    CALL_N_DATA,
    CALL_PROGRAM,
    MAX_EVENTS,
    MAX_FIELDS,
    N_CALLS,
    N_KEYS,
    N_LOGS,
    NOTHING,
    TRUNCATED,
    UNUSUAL,
    USUAL,
    same,
)

# Columns of `work.frames`: one running instruction of ours.
FRAME_CALL, FRAME_PROGRAM, FRAME_IX, FRAME_EVENTS = range(4)
# Columns of `work.emissions`: an event that gives a row.
EMISSION_FRAME, EMISSION_SEQ, EMISSION_EVENT, EMISSION_DATA, EMISSION_LENGTH = range(5)
# Where `listen` leaves its counts in `work.facts`.
N_FRAMES, N_EMISSIONS, HAS_OTHERS = range(11, 14)

# So many characters of base64 carry the first 60 bits of a discriminator.
_KIND_CHARS: Final = 10


@inner
def number_at(data, at):
    """The eight bytes at `at` as a little-endian int64."""
    value = np.int64(0)
    for place in range(8):
        value |= np.int64(data[at + place]) << (8 * place)
    return value


@inner
def _find(pairs, values, program, discriminator):
    """What a discriminator of a program stands for, UNUSUAL_IX if it is not known."""
    low, high = 0, len(pairs)
    while low < high:
        middle = (low + high) // 2
        if pairs[middle, 0] < program or (pairs[middle, 0] == program and pairs[middle, 1] < discriminator):
            low = middle + 1
        else:
            high = middle
    if low < len(pairs) and pairs[low, 0] == program and pairs[low, 1] == discriminator:
        return values[low]
    return np.int64(UNUSUAL_IX)


@inner
def listen(data, work, tables):
    """Finds the frames and emissions of a transaction that was read. NOTHING where no instruction of ours runs."""
    pump, amm = _program_indices(data, work, tables)
    if pump < 0 and amm < 0:
        return NOTHING
    facts, calls = work.facts, work.calls
    facts[N_FRAMES] = facts[N_EMISSIONS] = facts[HAS_OTHERS] = 0
    n_ours = np.int64(0)
    depth = np.int64(0)
    stack = work.stack
    for at in range(facts[N_CALLS]):
        call = calls[at]
        depth = np.int64(1) if call[CALL_INNER] < 0 else call[CALL_DEPTH]
        stack[depth] = -1
        if call[CALL_PROGRAM] == pump:
            program = np.int64(0)
        elif call[CALL_PROGRAM] == amm:
            program = np.int64(1)
        else:
            continue
        n_ours += 1
        if call[CALL_INNER] >= 0 and _is_event(data, call, program, work, tables):
            emitter = stack[depth - 1]
            if emitter < 0 or work.frames[emitter, FRAME_PROGRAM] != program:
                return UNUSUAL
            if not _emit(data, call, emitter, work, tables):
                return UNUSUAL
        elif not _begin(data, at, program, work, tables):
            return UNUSUAL
        else:
            stack[depth] = facts[N_FRAMES] - 1
    if not _logs_agree(data, n_ours, work, tables, pump >= 0, amm >= 0):
        return UNUSUAL
    if facts[N_FRAMES] == 0:
        return NOTHING
    for frame in range(facts[N_FRAMES]):
        ix = work.frames[frame, FRAME_IX]
        if ix >= 0 and work.frames[frame, FRAME_EVENTS] == 0 and tables.instructions[ix, IX_SPEAKS]:
            return UNUSUAL
    return USUAL


@inner
def _program_indices(data, work, tables):
    pump = amm = np.int64(-1)
    for index in range(work.facts[N_KEYS]):
        at = work.keys[index]
        if pump < 0 and same(data, at, tables.keys[K_PUMP], 0, 32):
            pump = np.int64(index)
        elif amm < 0 and same(data, at, tables.keys[K_AMM], 0, 32):
            amm = np.int64(index)
    return pump, amm


@inner
def _is_event(data, call, program, work, tables):
    if call[CALL_N_DATA] < 8 or call[CALL_N_ACCOUNTS] != 1 or number_at(data, call[CALL_DATA]) != EVENT_PREFIX:
        return False
    authority = tables.keys[K_PUMP_AUTHORITY if program == 0 else K_AMM_AUTHORITY]
    return same(data, work.keys[np.int64(data[call[CALL_ACCOUNTS]])], authority, 0, 32)


@inner
def _emit(data, call, emitter, work, tables):
    facts, frame = work.facts, work.frames[emitter]
    if call[CALL_N_DATA] < 16:
        return False
    begin = call[CALL_DATA] + 8
    event = _find(tables.event_discriminators, tables.event_of, frame[FRAME_PROGRAM], number_at(data, begin))
    if event == UNUSUAL_IX or facts[N_EMISSIONS] == MAX_EVENTS:
        return False
    if event != SILENT:
        emission = work.emissions[facts[N_EMISSIONS]]
        emission[EMISSION_FRAME], emission[EMISSION_SEQ], emission[EMISSION_EVENT] = emitter, frame[FRAME_EVENTS], event
        emission[EMISSION_DATA], emission[EMISSION_LENGTH] = begin, call[CALL_N_DATA] - 8
        facts[N_EMISSIONS] += 1
    frame[FRAME_EVENTS] += 1
    return True


@inner
def _begin(data, at, program, work, tables):
    facts, call = work.facts, work.calls[at]
    if call[CALL_N_DATA] < 8:
        return False
    ix = _find(tables.discriminators, tables.instruction_of, program, number_at(data, call[CALL_DATA]))
    if ix == UNUSUAL_IX:
        return False
    if ix == UNNAMED or not tables.instructions[ix, IX_TRADES]:
        facts[HAS_OTHERS] = 1
    frame = work.frames[facts[N_FRAMES]]
    frame[FRAME_CALL], frame[FRAME_PROGRAM], frame[FRAME_IX], frame[FRAME_EVENTS] = at, program, ix, 0
    facts[N_FRAMES] += 1
    return True


@inner
def _logs_agree(data, n_ours, work, tables, has_pump, has_amm):
    """Whether the logs, if there are any, call our programs as often as they run. Notes whether they are cut."""
    facts = work.facts
    if facts[N_LOGS] == 0:
        return True
    calls = np.int64(0)
    for line in range(facts[N_LOGS]):
        at, length = work.logs[line, 0], work.logs[line, 1]
        # "Program <address> invoke [", and "Log truncated".
        if _begins(data, at, length, T_TRUNCATED, tables) and length == 13:
            facts[TRUNCATED] = 1
        elif (has_pump and _invokes(data, at, length, T_PUMP, tables)) or (
            has_amm and _invokes(data, at, length, T_AMM, tables)
        ):
            calls += 1
    return calls == n_ours or (calls < n_ours and facts[TRUNCATED] == 1)


@inner
def _begins(data, at, length, text, tables):
    """Whether the bytes begin with one of the known texts."""
    begin, end = tables.text_at[text], tables.text_at[text + 1]
    return length >= end - begin and same(data, at, tables.texts, begin, end - begin)


@inner
def _invokes(data, at, length, text, tables):
    """Whether the line is "Program <address> invoke [" and more."""
    n = tables.text_at[text + 1] - tables.text_at[text]
    if length < 17 + n or not _begins(data, at + 8, length - 8, text, tables):
        return False
    return _begins(data, at, length, T_PROGRAM, tables) and _begins(data, at + 8 + n, length - 8 - n, T_INVOKE, tables)


@inner
def is_logged(data, at, length, work, tables):
    """Whether the logs do not contradict the event: they hold it, or none that could be a cut copy of it."""
    is_whole = work.facts[TRUNCATED] == 0
    n_text = (length + 2) // 3 * 4
    is_rivalled = False
    for line in range(work.facts[N_LOGS]):
        begin, n_line = work.logs[line, 0], work.logs[line, 1] - 14
        # 'd' tells "Program data: " from "Program log: " before anything is encoded.
        if n_line < _KIND_CHARS or data[begin + 8] != 100 or not _begins(data, begin, n_line + 14, T_DATA, tables):
            continue
        equal = _equal_base64(data, at, length, begin + 14, n_line)
        if equal == n_text and n_line == n_text:
            return True
        if equal >= _KIND_CHARS and (is_whole or equal >= n_text - 4 or equal >= n_line // 4 * 4 - 4):
            is_rivalled = True
    return not is_rivalled


@inner
def _equal_base64(data, at, length, text, n_text):
    """How many characters of the text at `text` are those of the base64 of `length` bytes at `at`."""
    equal = np.int64(0)
    for start in range(0, length, 3):
        left = min(length - start, 3)
        word = np.int64(data[at + start]) << 16
        if left > 1:
            word |= np.int64(data[at + start + 1]) << 8
        if left > 2:
            word |= np.int64(data[at + start + 2])
        for place in range(4):
            char = np.int64(61) if place > left else _base64(word >> (18 - 6 * place) & 63)
            if equal == n_text or data[text + equal] != char:
                return equal
            equal += 1
    return equal


@inner
def _base64(value):
    if value < 26:
        return value + 65
    if value < 52:
        return value + 71
    if value < 62:
        return value - 4
    return np.int64(43) if value == 62 else np.int64(47)


@inner
def read_fields(data, emission, work, tables):
    """Where each field of an event begins, into `work.fields` (-1: not there). False where the layout is unusual."""
    event = emission[EMISSION_EVENT]
    at, end = emission[EMISSION_DATA] + 8, emission[EMISSION_DATA] + emission[EMISSION_LENGTH]
    fields, kinds = work.fields, tables.kinds[event]
    fields[:] = -1
    n = np.int64(0)
    while at < end and n < MAX_FIELDS and kinds[n]:
        size = _size(data, at, end, kinds[n])
        if size < 0 or size > end - at:
            return False
        if tables.is_share[event, n] and not 0 <= number_at(data, at) <= 10_000:
            return False
        fields[n] = at
        at += size
        n += 1
    if at != end or not tables.allowed[event, n]:
        return False
    at = fields[tables.where[event, TIMESTAMP]]
    moment = number_at(data, at) if at >= 0 else np.int64(0)
    if moment < 0 or (at < 0 and not _is_first_create(data, emission, work, tables)):
        return False
    return _is_of_its_time(moment, n, event, tables) and _has_name(data, event, work, tables)


@inner
def _is_first_create(data, emission, work, tables):
    """Whether the event is that of a `create` of the time before it named a creator: three texts and nothing else.

    Such an event has no time of its own; its instruction dates it.
    """
    frame = work.frames[emission[EMISSION_FRAME]]
    if frame[FRAME_IX] < 0 or not _is_named_create(frame[FRAME_IX], tables):
        return False
    call = work.calls[frame[FRAME_CALL]]
    at, end = call[CALL_DATA] + 8, call[CALL_DATA] + call[CALL_N_DATA]
    for _ in range(3):
        if end - at < 4:
            return False
        n = (
            np.int64(data[at])
            | np.int64(data[at + 1]) << 8
            | np.int64(data[at + 2]) << 16
            | np.int64(data[at + 3]) << 24
        )
        at += 4 + n
    return at == end


@inner
def _is_named_create(ix, tables):
    begin, end = tables.text_at[T_CREATE_IX], tables.text_at[T_CREATE_IX + 1]
    name = tables.instructions[ix]
    if name[IX_NAME_LENGTH] != end - begin:
        return False
    return same(tables.names, name[IX_NAME_AT], tables.texts, begin, end - begin)


@inner
def _size(data, at, end, kind):
    """How many bytes a field has; -1 where it cannot be one."""
    if kind == KEY:
        return np.int64(32)
    if kind == U64 or kind == I64:
        return np.int64(8)
    if kind == I128:
        return np.int64(16)
    if kind == U8:
        return np.int64(1)
    if kind == BOOL:
        return np.int64(1) if data[at] <= 1 else np.int64(-1)
    if end - at < 4:
        return np.int64(-1)
    n = np.int64(data[at]) | np.int64(data[at + 1]) << 8 | np.int64(data[at + 2]) << 16 | np.int64(data[at + 3]) << 24
    if kind == SHAREHOLDERS:
        return 4 + n * SHAREHOLDER
    return 4 + n if kind == TEXT else np.int64(-1)


@inner
def _is_of_its_time(moment, n, event, tables):
    """Whether an event of `n` fields was still written then: the newest layout that had begun is the least."""
    for at in range(tables.dated_since.shape[1]):
        if moment >= tables.dated_since[event, at]:
            return bool(n >= tables.dated_count[event, at])
    return True


@inner
def _has_name(data, event, work, tables):
    """Whether the instruction's name in the event, if there is one, is a name."""
    asked = tables.where[event, IX_NAME]
    if asked < 0 or work.fields[asked] < 0:
        return True
    at = work.fields[asked]
    n = np.int64(data[at]) | np.int64(data[at + 1]) << 8
    if data[at + 2] or data[at + 3] or n < 2 or n > 64 or not 97 <= data[at + 4] <= 122:
        return False
    for place in range(at + 5, at + 4 + n):
        char = data[place]
        if not (97 <= char <= 122 or 48 <= char <= 57 or char == 95):
            return False
    return True
