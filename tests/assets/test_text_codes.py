"""Texts as codes: equal texts and only they share one, whatever parts they come in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from copytrader_assets.analysis.moves import TEXT, kinds
from copytrader_assets.analysis.text_codes import TextCodes
from copytrader_assets.analysis.trip_order import in_order

_TEXTS = st.one_of(
    st.none(),
    st.text(max_size=20),
    # Alike at both ends, where the hash looks, or nearly so.
    st.builds(lambda middle: f"headhead{middle}tailtail", st.text("ab", max_size=12)),
)


@given(st.lists(st.lists(_TEXTS, max_size=40), max_size=6))
def test_a_code_gives_back_its_text_in_whatever_parts_they_come(parts: list[list[str | None]]) -> None:
    coder = TextCodes()
    coded = [coder.codes(pa.chunked_array([pa.array(part, pa.string())])) for part in parts]
    names = coder.names().to_pylist()
    assert [[None if c is None else names[c] for c in part.to_pylist()] for part in coded] == parts


@given(st.lists(st.lists(_TEXTS, max_size=40), max_size=6))
def test_every_text_has_one_code_in_the_order_of_its_first_coming(parts: list[list[str | None]]) -> None:
    coder = TextCodes()
    for part in parts:
        coder.codes(pa.chunked_array([pa.array(part, pa.string())]))
    assert coder.names().to_pylist() == list(dict.fromkeys(t for part in parts for t in part if t is not None))


def test_the_dictionary_grows_past_its_first_size_and_keeps_its_codes() -> None:
    coder, texts = TextCodes(), [f"wallet-{n:06d}-with-an-address" for n in range(20_000)]
    first = coder.codes(pa.chunked_array([texts[:9_000]])).to_pylist()
    coder.codes(pa.chunked_array([texts]))
    assert coder.codes(pa.chunked_array([texts[:9_000]])).to_pylist() == first
    assert coder.names(19_998).to_pylist() == texts[19_998:]


def test_a_slice_of_a_column_is_coded_by_its_own_rows() -> None:
    coder = TextCodes()
    column = pa.chunked_array([pa.array(["aaaaaaaa", "b", None, "cccccccccc", "b"])]).slice(1, 3)
    assert coder.codes(column).to_pylist() == [0, None, 1]
    assert coder.names().to_pylist() == ["b", "cccccccccc"]


@given(st.lists(st.lists(_TEXTS, max_size=40), max_size=6))
def test_a_dictionary_column_gives_the_codes_of_its_texts(parts: list[list[str | None]]) -> None:
    coder, plain = TextCodes(), [pa.array(part, pa.string()) for part in parts]
    coded = [coder.codes(pa.chunked_array([part.dictionary_encode()])) for part in plain]
    assert coded == [coder.codes(pa.chunked_array([part])) for part in plain]


def test_texts_without_nulls_are_coded_whether_they_are_a_dictionary_or_not() -> None:
    texts, coder = pa.array(["b", "a", "b", "cc"]), TextCodes()
    assert coder.of(texts.dictionary_encode()).tolist() == coder.of(texts).tolist() == [0, 1, 0, 2]


@given(st.lists(st.lists(_TEXTS, max_size=20), max_size=4), st.lists(st.text(max_size=3), max_size=3, unique=True))
def test_kinds_are_places_whether_the_column_is_a_dictionary_or_not(
    parts: list[list[str | None]], wanted: list[str]
) -> None:
    places = [wanted.index(text) if text in wanted else -1 for part in parts for text in part]
    chunks = [pa.array(part, pa.string()) for part in parts]
    assert kinds(pa.chunked_array(chunks, pa.string()), *wanted).tolist() == places
    assert kinds(pa.chunked_array([c.dictionary_encode() for c in chunks], TEXT), *wanted).tolist() == places


_NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))


@given(st.lists(st.tuples(_NUMBERS, _NUMBERS), max_size=40))
def test_rows_are_ordered_by_all_their_keys_however_large(rows: list[tuple[int, int]]) -> None:
    keys = [np.array([row[n] for row in rows], np.int64) for n in (0, 1)]
    assert in_order(keys).tolist() == sorted(range(len(rows)), key=lambda n: rows[n])
