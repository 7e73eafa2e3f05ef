"""The tape: what is written is read, and nothing half is ever taken for whole."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copytrader_core.errors import DataError
from copytrader_core.geyser.copytrader_geyser_pb2 import SubscribeUpdateBlock
from simnet.tape import TapeWriter, read_tape
from tests.simnet.chain import block, transaction, write_tape


def _blocks(n: int, first: int = 100) -> list[SubscribeUpdateBlock]:
    return [block(slot, [transaction(slot, i, [slot, i]) for i in range(3)]) for slot in range(first, first + n)]


def test_blocks_and_header_come_back_as_they_were_written(tmp_path: Path) -> None:
    blocks = _blocks(20)
    with TapeWriter(tmp_path / "a.tape", {"seed": 7, "name": "small"}) as writer:
        for one in blocks:
            writer.write(one)
    tape = read_tape(tmp_path / "a.tape")
    assert tape.header == {"seed": 7, "name": "small"}
    assert (tape.n_blocks, tape.first_slot, tape.last_slot) == (20, 100, 119)
    assert list(tape.blocks) == blocks
    assert list(tape.blocks) == blocks, "a tape can be read twice"


def test_a_tape_may_be_empty(tmp_path: Path) -> None:
    assert list(read_tape(write_tape(tmp_path / "a.tape", [])).blocks) == []


def test_the_same_blocks_give_the_same_file(tmp_path: Path) -> None:
    one, two = (write_tape(tmp_path / name, _blocks(5)) for name in ("a.tape", "b.tape"))
    assert one.read_bytes() == two.read_bytes()


def test_a_cut_tape_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = write_tape(tmp_path / "a.tape", _blocks(5)).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.tape").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut|not a tape"):
            read_tape(tmp_path / "cut.tape")


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_damaged_tape_never_gives_other_blocks(
    tmp_path_factory: pytest.TempPathFactory, place: float, flip: int
) -> None:
    folder = tmp_path_factory.mktemp("tape")
    blocks = _blocks(5)
    content = bytearray(write_tape(folder / "a.tape", blocks).read_bytes())
    content[int(place * len(content))] ^= flip
    (folder / "bad.tape").write_bytes(content)
    try:
        assert list(read_tape(folder / "bad.tape").blocks) == blocks
    except DataError as error:
        assert "bad.tape" in str(error)


def test_a_recording_that_fails_leaves_nothing_behind_and_the_old_tape_in_place(tmp_path: Path) -> None:
    old = write_tape(tmp_path / "a.tape", _blocks(2)).read_bytes()
    with pytest.raises(ZeroDivisionError), TapeWriter(tmp_path / "a.tape", {}) as writer:
        writer.write(_blocks(1)[0])
        _ = 1 / 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.tape"]
    assert (tmp_path / "a.tape").read_bytes() == old


def test_slots_must_rise(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="slot 100 came after 100"), TapeWriter(tmp_path / "a.tape", {}) as writer:
        writer.write(_blocks(1)[0])
        writer.write(_blocks(1)[0])


def test_another_format_and_a_missing_file_say_what_to_do(tmp_path: Path) -> None:
    path = write_tape(tmp_path / "a.tape", [])
    path.write_bytes(b"CTTAPE\x02\x00" + path.read_bytes()[8:])
    with pytest.raises(DataError, match="has format 2, this code reads 1"):
        read_tape(path)
    with pytest.raises(DataError, match="No such file"):
        read_tape(tmp_path / "none.tape")
    (tmp_path / "text").write_text("hello, world: this is not a tape at all, only some text of some length")
    with pytest.raises(DataError, match="is not a tape"):
        read_tape(tmp_path / "text")
