"""The deployed programs are fetched once, checked, and never half there."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from copytrader_core.errors import ConfigError
from simnet import bytecode
from simnet.bytecode import Snapshot


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot) -> Path:
    """An empty cache; `snapshot` has filled the real one before."""
    real = bytecode.cache_dir()
    packed = next(real.glob("programs-*.json.gz"))
    monkeypatch.setenv("COPYTRADER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    shutil.copy(packed, tmp_path / "packed")
    bytecode.load_snapshot.cache_clear()
    yield tmp_path / "cache"
    bytecode.load_snapshot.cache_clear()


def test_without_an_index_the_message_says_what_still_works(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(cache))
    with pytest.raises(ConfigError, match="tape that comes with the project plays without them"):
        bytecode.load_snapshot()
    assert list(cache.iterdir()) == []


def test_a_damaged_cache_is_fetched_again(cache, tmp_path, monkeypatch):
    kept = cache / f"programs-{bytecode.SNAPSHOT_SHA256[:16]}.json.gz"
    kept.write_bytes(b"half a file")
    monkeypatch.setattr(bytecode, "_download", lambda folder: tmp_path / "packed")
    monkeypatch.setattr(bytecode, "_snapshot_of", Path.read_bytes)
    assert len(bytecode.load_snapshot().programs) == 6
    assert kept.read_bytes() == (tmp_path / "packed").read_bytes()


def test_two_starters_leave_one_whole_file(cache, tmp_path, monkeypatch):
    barrier = threading.Barrier(2)

    def download(folder: Path) -> Path:
        barrier.wait(timeout=20)
        return tmp_path / "packed"

    monkeypatch.setattr(bytecode, "_download", download)
    monkeypatch.setattr(bytecode, "_snapshot_of", Path.read_bytes)
    starters = [threading.Thread(target=bytecode.load_snapshot.__wrapped__) for _ in range(2)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert [path.name for path in cache.iterdir()] == [f"programs-{bytecode.SNAPSHOT_SHA256[:16]}.json.gz"]


def test_another_package_under_the_same_name_is_refused(tmp_path):
    other = tmp_path / "other.tar.gz"
    other.write_bytes(b"not what was published")
    with pytest.raises(ConfigError, match="refusing to use it"):
        bytecode._snapshot_of(other)


def test_the_cache_is_outside_the_checkout(monkeypatch):
    monkeypatch.delenv("COPYTRADER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    assert bytecode.cache_dir() == Path("/somewhere/cache/copytrader")
