"""The fields of a row in Postgres' binary COPY format, written into an array of bytes.

Every function takes the array and the offset to write at, and returns the offset behind what it wrote. Room must be
there. Source of the format: PostgreSQL documentation, COPY, "Binary Format"; numeric.c for numbers.
"""

from __future__ import annotations

import numpy as np

from copytrader_core.compiled import inner


@inner
def put_number(out, at, value, n_bytes):
    """`value` in so many bytes, big end first."""
    for place in range(n_bytes):
        out[at + place] = np.uint8((value >> (8 * (n_bytes - 1 - place))) & 255)
    return at + n_bytes


@inner
def put_null(out, at):
    """A field that is NULL."""
    return put_number(out, at, np.int64(-1), 4)


@inner
def put_int4(out, at, value):
    """An int4 field."""
    return put_number(out, put_number(out, at, np.int64(4), 4), value, 4)


@inner
def put_int8(out, at, value):
    """An int8 field."""
    return put_number(out, put_number(out, at, np.int64(8), 4), value, 8)


@inner
def put_float8(out, at, value, scratch):
    """A float8 field. `scratch` is one float64 that the bits are read from."""
    scratch[0] = value
    bits = scratch.view(np.int64)[0]
    return put_int8(out, at, bits)


@inner
def put_numeric(out, at, value):
    """A numeric field of a non-negative int64: digits in base 10,000 without the zeros at the end."""
    n_digits = np.int64(0)
    rest = value
    while rest:
        n_digits += 1
        rest //= 10_000
    weight = n_digits - 1
    rest = value
    while n_digits and rest % 10_000 == 0:
        rest //= 10_000
        n_digits -= 1
    at = put_number(out, at, 8 + 2 * n_digits, 4)
    at = put_number(out, at, n_digits, 2)
    at = put_number(out, at, weight if n_digits else np.int64(0), 2)
    at = put_number(out, at, np.int64(0), 4)
    for place in range(n_digits - 1, -1, -1):
        put_number(out, at + 2 * place, rest % 10_000, 2)
        rest //= 10_000
    return at + 2 * n_digits


@inner
def put_bytes(out, at, data, begin, length):
    """Bytes as they are."""
    for place in range(length):
        out[at + place] = data[begin + place]
    return at + length


@inner
def put_text(out, at, data, begin, length):
    """A text field of these bytes."""
    return put_bytes(out, put_number(out, at, length, 4), data, begin, length)


@inner
def put_decimal(out, at, value):
    """The decimal digits of an int64 above its minimum, as in JSON."""
    if value < 0:
        out[at] = np.uint8(45)
        at += 1
        value = -value
    n_digits = np.int64(1)
    rest = value // 10
    while rest:
        n_digits += 1
        rest //= 10
    for place in range(n_digits - 1, -1, -1):
        out[at + place] = np.uint8(48 + value % 10)
        value //= 10
    return at + n_digits


@inner
def put_json_text(out, at, data, begin, length):
    """A JSON string of UTF-8 bytes, at most six times as long; NUL becomes U+FFFD, which is what Postgres can keep."""
    out[at] = np.uint8(34)
    at += 1
    for place in range(begin, begin + length):
        byte = np.int64(data[place])
        if byte == 34 or byte == 92:
            out[at], out[at + 1] = np.uint8(92), np.uint8(byte)
            at += 2
        elif byte == 0:
            out[at], out[at + 1], out[at + 2] = np.uint8(0xEF), np.uint8(0xBF), np.uint8(0xBD)
            at += 3
        elif byte < 32:
            out[at], out[at + 1], out[at + 2], out[at + 3] = np.uint8(92), np.uint8(117), np.uint8(48), np.uint8(48)
            out[at + 4] = np.uint8(48 + (byte >> 4))
            low = byte & 15
            out[at + 5] = np.uint8(48 + low if low < 10 else 87 + low)
            at += 6
        else:
            out[at] = np.uint8(byte)
            at += 1
    out[at] = np.uint8(34)
    return at + 1


@inner
def is_utf8(data, at, length):
    """Whether these bytes are UTF-8, by the table of well-formed sequences (Unicode Standard, table 3-7)."""
    end = at + length
    while at < end:
        first = np.int64(data[at])
        at += 1
        if first < 0x80:
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        more = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
        if at + more > end:
            return False
        second = np.int64(data[at])
        low = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
        high = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
        if second < low or second > high:
            return False
        for place in range(1, more):
            if np.int64(data[at + place]) & 0xC0 != 0x80:
                return False
        at += more
    return True
