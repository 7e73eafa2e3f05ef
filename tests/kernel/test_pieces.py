"""The kernels' building blocks against Python's own arithmetic and against the libraries."""

from __future__ import annotations

import json

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.pubkey import Pubkey
from solders.signature import Signature

from ingest_worker.kernel import base58, copying, wide
from ingest_worker.kernel.base58 import ADDRESS_POWERS, ALPHABET, SIGNATURE_POWERS

U62 = st.integers(0, 2**62 - 1)
quick = settings(max_examples=300, deadline=None)


@numba.njit
def _encode(data, n, table, alphabet, parts, digits, out):
    return base58.encode(data, 0, n, table, alphabet, parts, digits, out, 0)


@numba.njit
def _floor(a, b, c, q):
    return wide.is_floor(a, b, c, q)


@numba.njit
def _ceiling(a, b, c, q):
    return wide.is_ceiling(a, b, c, q)


@numba.njit
def _utf8(data):
    return copying.is_utf8(data, 0, len(data))


@numba.njit
def _json(out, data):
    return copying.put_json_text(out, 0, data, 0, len(data))


def text(data: bytes, table: np.ndarray) -> str:
    out = np.zeros(100, np.uint8)
    raw = np.frombuffer(data, np.uint8)
    n = _encode(raw, len(data), table, ALPHABET, np.zeros(18, np.uint64), np.zeros(90, np.uint8), out)
    return out[:n].tobytes().decode()


@quick
@given(st.binary(min_size=32, max_size=32) | st.integers(0, 32).map(lambda n: bytes(n) + b"\xff" * (32 - n)))
def test_addresses_read_as_solana_writes_them(key):
    assert text(key, ADDRESS_POWERS) == str(Pubkey(key))


@quick
@given(st.binary(min_size=64, max_size=64) | st.integers(0, 64).map(lambda n: bytes(n) + b"\xff" * (64 - n)))
def test_signatures_read_as_solana_writes_them(signature):
    assert text(signature, SIGNATURE_POWERS) == str(Signature(signature))


@quick
@given(U62, U62, st.integers(1, 2**62 - 1), st.integers(-1, 1))
def test_quotients_are_told_exactly(a, b, c, off):
    quotient = min(a * b // c + off, 2**62)
    if quotient >= 0:
        assert _floor(a, b, c, quotient) == (a * b // c == quotient)
        assert _ceiling(a, b, c, quotient) == (-(-a * b // c) == quotient)


@quick
@given(st.binary(max_size=12) | st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_only_utf8_is_utf8(data):
    try:
        data.decode()
        expected = True
    except UnicodeDecodeError:
        expected = False
    assert _utf8(np.frombuffer(data, np.uint8)) == expected


@quick
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_texts_come_back_from_json(value):
    data = value.encode()
    out = np.zeros(8 * len(data) + 8, np.uint8)
    n = _json(out, np.frombuffer(data, np.uint8))
    assert json.loads(out[:n].tobytes()) == value.replace("\0", "\ufffd")


@pytest.mark.parametrize("value", [0, 1, 9_999, 10_000, 10_001, 123_456_789_012_345, 10**18, 2**62 - 1])
def test_numbers_come_back_from_a_row(value):
    from copytrader_core.store.encoded import _numeric

    @numba.njit
    def put(out, value):
        return copying.put_numeric(out, 0, value)

    out = np.zeros(64, np.uint8)
    n = put(out, value)
    assert _numeric(out[4:n].tobytes()) == value
