"""The journal's file: what was written is there, a torn end is cut, damage is never read over."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from copytrader_core.errors import DataError, StoreError
from executor import wal as wal_module
from executor.wal import Wal, WalReader, segments_of


def filled(folder: Path, n_lines: int) -> Wal:
    wal = Wal(folder)
    for number in range(n_lines):
        wal.append({"kind": "X", "number": number})
    return wal


def numbers(folder: Path) -> list[int]:
    wal = Wal(folder)
    found = [line["number"] for line in wal.replay()]
    wal.close()
    return found


def test_what_was_written_is_there_without_a_close(tmp_path: Path) -> None:
    wal = filled(tmp_path, 5)
    assert [line["number"] for line in wal.replay()] == [0, 1, 2, 3, 4]
    assert [line["seq"] for line in WalReader(tmp_path, 2).read(10)] == [3, 4, 5]
    assert segments_of(tmp_path)[0].stat().st_mode & 0o077 == 0


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    with pytest.raises(StoreError, match="another executor"):
        Wal(tmp_path)


def test_any_torn_end_is_cut_and_the_rest_stays(tmp_path: Path) -> None:
    filled(tmp_path / "whole", 3).close()
    whole = segments_of(tmp_path / "whole")[0].read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(ends[0], len(whole)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "000000000001.wal").write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends) - 1
        assert numbers(folder) == list(range(kept))
        wal = Wal(folder)
        assert wal.append({"kind": "X", "number": 99}) == kept + 1
        wal.close()
        assert numbers(folder) == [*range(kept), 99]


def test_damage_in_the_middle_is_an_error(tmp_path: Path) -> None:
    filled(tmp_path, 20).close()
    path = segments_of(tmp_path)[0]
    whole = path.read_bytes()
    dice = random.Random(5)
    last_line = whole[:-1].rindex(b"\n")
    for _ in range(50):
        at = dice.randrange(last_line)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataError, match=r"damaged|beginning|restore"):
            numbers(tmp_path)


def test_a_new_segment_stands_for_what_was_before(tmp_path: Path) -> None:
    wal = filled(tmp_path, 3)
    wal.rotate({"sum": 3})
    wal.append({"kind": "X", "number": 3})
    reader = WalReader(tmp_path, 0)
    assert [line["seq"] for line in reader.read(2)] == [1, 2]
    assert [line["seq"] for line in reader.read(9)] == [3, 4]
    wal.drop_before(2)
    assert len(segments_of(tmp_path)) == 2
    wal.drop_before(3)
    wal.close()
    again = Wal(tmp_path)
    assert (again.seq, again.snapshot, [line["seq"] for line in again.replay()]) == (4, {"sum": 3}, [4])
    again.close()
    with pytest.raises(DataError, match="begins after"):
        WalReader(tmp_path, 0).read(1)


def test_a_segment_that_begins_with_a_long_snapshot_is_not_long_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_module, "_SEGMENT_BYTES", 500)
    wal = filled(tmp_path, 20)
    assert wal.is_long
    wal.rotate({"much": "x" * 5_000})
    assert not wal.is_long
    wal.close()
    again = Wal(tmp_path)
    assert not again.is_long and again.snapshot == {"much": "x" * 5_000}
    again.append({"kind": "X", "text": "y" * 600})
    assert again.is_long


def test_a_segment_that_cannot_be_begun_leaves_the_old_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = filled(tmp_path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="space"):
            wal.rotate({"number": 3})
    wal.append({"kind": "X", "number": 3})
    wal.close()
    assert numbers(tmp_path) == [0, 1, 2, 3]
