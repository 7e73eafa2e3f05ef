"""Texts as codes: equal texts and only they share one, whatever parts they come in."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from copytrader_assets.analysis.text_codes import TextCodes

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
