"""Protobuf on plain bytes: varints, fields, and where in a Yellowstone message the transactions lie.

`data` is an array of bytes, `at` and `end` are offsets into it. An offset of -1 means that the bytes are no protobuf,
or say something twice that is said once; the caller then leaves the message to protobuf itself.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from copytrader_core.compiled import inner, kernel

VARINT: Final = 0
LENGTH: Final = 2

TRANSACTION: Final = 4
BLOCK: Final = 5
_CREATED_AT: Final = 11

# What `scan_update` tells: kind of content, where it lies, and the provider's stamp.
KIND, BEGIN, END, HAS_STAMP, SECONDS, NANOS = range(6)
# What `scan_block` tells of a block.
SLOT, PARENT, HASH_AT, HASH_LENGTH, HAS_TIME, TIME = range(6)
# What both tell of a transaction.
TX_BEGIN, TX_END, TX_SIGNATURE, TX_INDEX, TX_RECEIVED = range(5)

_SIGNATURE_BYTES: Final = 64


@inner
def varint(data, at, end):
    """The varint at `at` as int64 (the upper half of u64 turns negative) and the offset behind it."""
    value = np.int64(0)
    shift = np.int64(0)
    while at < end and shift < 64:
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, np.int64(at)
        shift += 7
    return np.int64(0), np.int64(-1)


@inner
def field(data, at, end):
    """The field at `at`: (number, wire type, value, content's begin, offset behind it).

    The value of a varint is itself, the content's length otherwise.
    """
    key, at = varint(data, at, end)
    number, wire_type = key >> 3, key & 7
    if at < 0 or number < 1 or number > 536_870_911:
        return np.int64(0), np.int64(0), np.int64(0), np.int64(-1), np.int64(-1)
    if wire_type == VARINT:
        value, after = varint(data, at, end)
        return number, wire_type, value, np.int64(at), after
    if wire_type == LENGTH:
        value, begin = varint(data, at, end)
    elif wire_type == 1:
        value, begin = np.int64(8), np.int64(at)
    elif wire_type == 5:
        value, begin = np.int64(4), np.int64(at)
    else:
        return np.int64(0), np.int64(0), np.int64(0), np.int64(-1), np.int64(-1)
    if begin < 0 or value < 0 or value > end - begin:
        return np.int64(0), np.int64(0), np.int64(0), np.int64(-1), np.int64(-1)
    return number, wire_type, value, begin, begin + value


@kernel
def scan_update(data: Any, head: Any) -> Any:
    """Reads a SubscribeUpdate into `head`; False where protobuf itself has to look at it."""
    at, end = np.int64(0), np.int64(len(data))
    head[:] = 0
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0:
            return False
        if number == _CREATED_AT:
            if wire_type != LENGTH or head[HAS_STAMP] or not _stamp(data, begin, at, head):
                return False
        elif 2 <= number <= 10:
            if wire_type != LENGTH or head[KIND]:
                return False
            head[KIND], head[BEGIN], head[END] = number, begin, begin + value
        elif number == 1 and wire_type != LENGTH:
            return False
    return True


@inner
def _stamp(data, at, end, head):
    head[HAS_STAMP] = 1
    while at < end:
        number, wire_type, value, _, at = field(data, at, end)
        if at < 0 or wire_type != VARINT:
            return False
        if number == 1:
            head[SECONDS] = value
        elif number == 2:
            head[NANOS] = value
    return True


@kernel
def scan_block(data: Any, at: int, end: int, head: Any, transactions: Any) -> Any:
    """Reads a SubscribeUpdateBlock: its header into `head`, where its transactions lie into `transactions`.

    Returns how many there are, -1 where protobuf itself has to look, -2 where `transactions` is too short.
    """
    head[:] = 0
    n = np.int64(0)
    seen = np.int64(0)
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0:
            return np.int64(-1)
        if number == 6 and wire_type == LENGTH:
            if n == len(transactions):
                return np.int64(-2)
            if not scan_info(data, begin, at, transactions[n]):
                return np.int64(-1)
            n += 1
            continue
        if number > 8:
            continue
        bit = np.int64(1) << number
        if seen & bit or wire_type != (VARINT if number == 1 or number == 7 else LENGTH):
            return np.int64(-1)
        seen |= bit
        if number == 1:
            head[SLOT] = value
        elif number == 2:
            head[HASH_AT], head[HASH_LENGTH] = begin, value
        elif number == 7:
            head[PARENT] = value
        elif number == 4 and not _block_time(data, begin, at, head):
            return np.int64(-1)
    return n


@inner
def _block_time(data, at, end, head):
    head[HAS_TIME] = 1
    while at < end:
        number, wire_type, value, _, at = field(data, at, end)
        if at < 0 or number != 1 or wire_type != VARINT:
            return False
        head[TIME] = value
    return True


@kernel
def scan_transaction(data: Any, at: int, end: int, transaction: Any) -> Any:
    """Reads a SubscribeUpdateTransaction: its slot, -1 where protobuf itself has to look."""
    slot = np.int64(0)
    seen = np.int64(0)
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0 or number > 2 or wire_type != (LENGTH if number == 1 else VARINT):
            return np.int64(-1)
        bit = np.int64(1) << number
        if seen & bit or (number == 1 and not scan_info(data, begin, at, transaction)):
            return np.int64(-1)
        seen |= bit
        if number == 2:
            slot = value
    return slot if seen & 2 else np.int64(-1)


@kernel
def scan_info(data: Any, at: int, end: int, transaction: Any) -> Any:
    """Reads the outside of a SubscribeUpdateTransactionInfo; False where it is none.

    Its signature is -1 where that is not 64 bytes, once.
    """
    transaction[TX_BEGIN], transaction[TX_END] = at, end
    transaction[TX_SIGNATURE] = -1
    transaction[TX_INDEX] = 0
    seen = False
    while at < end:
        number, wire_type, value, begin, at = field(data, at, end)
        if at < 0:
            return False
        if number == 1:
            is_whole = wire_type == LENGTH and value == _SIGNATURE_BYTES and not seen
            transaction[TX_SIGNATURE] = begin if is_whole else -1
            seen = True
        elif number == 5:
            if wire_type != VARINT or value < 0:
                return False
            transaction[TX_INDEX] = value
    return True
