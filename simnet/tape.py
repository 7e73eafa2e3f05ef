"""The tape: recorded blocks of the local chain in one compressed file. No gRPC and no clock: playing is simnet.yellowstone.

8 bytes   magic "CTTAPE" and the version of the format, two bytes little endian
then      one zstd frame with its checksum, holding parts of 4 bytes length (little endian) and content:
part 0    the header, a JSON object
part 1..  serialized SubscribeUpdateBlock messages in rising slot order, never empty
end       a part of length 0 and 8 bytes with the number of blocks, so that a cut file is known as one
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import zstandard
from google.protobuf.message import DecodeError as ProtobufError

from copytrader_core.errors import DataError
from copytrader_core.geyser.copytrader_geyser_pb2 import SubscribeUpdateBlock

__all__ = ["VERSION", "Tape", "TapeWriter", "read_tape"]

VERSION = 1
_MAGIC = b"CTTAPE"
_LENGTH = struct.Struct("<I")
_COUNT = struct.Struct("<Q")
# No block comes near this; a longer length means that the file is not what it claims to be.
_MAX_PART = 1 << 30
# The largest window that every zstd reader accepts without being asked. Coins and wallets repeat over hours: the far
# matches that this window finds are worth more than the level.
_WINDOW_LOG = 27


class TapeWriter:
    """Writes a tape; it appears under its name only when the `with` block ends without an error.

    `header` is any JSON object. `level` is zstd's: 19 for tapes that are kept, 3 where speed matters more than size.
    """

    def __init__(self, path: Path | str, header: Mapping[str, Any], *, level: int = 19) -> None:
        self.path = Path(path)
        self.n_blocks = 0
        self._last_slot = -1
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        self._header = json.dumps(dict(header), separators=(",", ":"), allow_nan=False).encode()
        self._compressor = zstandard.ZstdCompressor(compression_params=_compression(level))

    def __enter__(self) -> Self:
        """Opens the file beside its final place and writes the header."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("wb")
        self._file.write(_MAGIC + VERSION.to_bytes(2, "little"))
        self._stream = self._compressor.stream_writer(self._file, closefd=False)
        self._part(self._header)
        return self

    def write(self, block: SubscribeUpdateBlock) -> None:
        """Appends one block. Raises DataError unless its slot is higher than that of the block before it."""
        if block.slot <= self._last_slot:
            raise DataError(f"a tape holds blocks in rising slot order: slot {block.slot} came after {self._last_slot}")
        self._last_slot = block.slot
        self.n_blocks += 1
        self._part(block.SerializeToString(deterministic=True))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the tape and moves it into place, or throws it away after an error."""
        try:
            if kind is None:
                self._stream.write(_LENGTH.pack(0) + _COUNT.pack(self.n_blocks))
            self._stream.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
            if kind is not None:
                self._partial.unlink(missing_ok=True)
        if kind is None:
            self._partial.replace(self.path)

    def _part(self, content: bytes) -> None:
        self._stream.write(_LENGTH.pack(len(content)) + content)


@dataclass(frozen=True, slots=True)
class Tape:
    """An opened tape: its header, and its blocks from the start each time they are asked for."""

    path: Path
    header: Mapping[str, Any]

    @property
    def blocks(self) -> Iterator[SubscribeUpdateBlock]:
        """The blocks in slot order, read lazily. Raises DataError where the file is cut or damaged."""
        with self.path.open("rb") as file:
            parts = _parts(file, self.path)
            next(parts)
            for part in parts:
                try:
                    yield SubscribeUpdateBlock.FromString(part)
                except ProtobufError as error:
                    raise _broken(self.path, f"a part is not a block ({error})") from error


def read_tape(path: Path | str) -> Tape:
    """Opens the tape at `path` and reads its header. Raises DataError if it is missing or no tape of this version."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            header = json.loads(next(_parts(file, path)))
    except OSError as error:
        raise DataError(
            f"the tape {path} cannot be opened ({error.strerror}); record one with `copytrader simnet record`"
        ) from error
    except (StopIteration, ValueError) as error:
        raise _broken(path, "it has no readable header") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a JSON object")
    return Tape(path, header)


def _compression(level: int) -> zstandard.ZstdCompressionParameters:
    return zstandard.ZstdCompressionParameters.from_level(
        level, window_log=_WINDOW_LOG, enable_ldm=True, write_checksum=True
    )


def _parts(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """The parts of an open tape: the header, then every block. Ends only after a whole, matching end mark."""
    _check_magic(file.read(8), path)
    with zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).stream_reader(file, read_size=1 << 20) as stream:
        n_parts = 0
        while length := _LENGTH.unpack(_exactly(stream, 4, path))[0]:
            if length > _MAX_PART:
                raise _broken(path, f"part {n_parts} claims {length} bytes")
            yield _exactly(stream, length, path)
            n_parts += 1
        (promised,) = _COUNT.unpack(_exactly(stream, 8, path))
        if promised != n_parts - 1:
            raise _broken(path, f"its end mark counts {promised} blocks, it holds {n_parts - 1}")


def _check_magic(start: bytes, path: Path) -> None:
    if start[:6] != _MAGIC:
        raise DataError(f"{path} is not a tape: it should begin with {_MAGIC!r}, it begins with {start[:6]!r}")
    version = int.from_bytes(start[6:8], "little")
    if version != VERSION:
        raise DataError(f"the tape {path} has format {version}, this code reads {VERSION}: record it again")


def _exactly(stream: Any, n_bytes: int, path: Path) -> bytes:
    try:
        content: bytes = stream.read(n_bytes)
        while len(content) < n_bytes:
            more = stream.read(n_bytes - len(content))
            if not more:
                raise _broken(path, "it is cut: it ends before its end mark")
            content += more
    except zstandard.ZstdError as error:
        raise _broken(path, f"zstd cannot read it ({error})") from error
    return content


def _broken(path: Path, what: str) -> DataError:
    return DataError(f"the tape {path} is damaged: {what}; fetch or record it again")
