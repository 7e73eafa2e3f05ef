"""The tape: recorded blocks of the local chain in one compressed file. No gRPC: playing it is simnet.yellowstone.

8 bytes   magic "CTTAPE" and the version of the format, two bytes little endian
then      one zstd frame with its checksum, holding parts of 4 bytes length (little endian) and content:
part 0    the header, a JSON object
part 1..  serialized SubscribeUpdateBlock messages in rising slot order
32 bytes  number of blocks, first slot, last slot (each 8 bytes little endian) and "TAPE-END": a cut file is known
          as one when it is opened, not hours into a play
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
_END = struct.Struct("<IIQQQ8s")
_SKIPPABLE = 0x184D2A50
_END_MAGIC = b"TAPE-END"
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
        self._first_slot = 0
        self._last_slot = 0
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
        if self.n_blocks and block.slot <= self._last_slot:
            raise DataError(f"a tape holds blocks in rising slot order: slot {block.slot} came after {self._last_slot}")
        if not self.n_blocks:
            self._first_slot = block.slot
        self._last_slot = block.slot
        self.n_blocks += 1
        self._part(block.SerializeToString(deterministic=True))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the tape and moves it into place, or throws it away after an error."""
        try:
            self._stream.flush(zstandard.FLUSH_FRAME)
            self._file.write(
                _END.pack(_SKIPPABLE, _END.size - 8, self.n_blocks, self._first_slot, self._last_slot, _END_MAGIC)
            )
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
    n_blocks: int
    first_slot: int
    last_slot: int

    @property
    def blocks(self) -> Iterator[SubscribeUpdateBlock]:
        """The blocks in slot order, read lazily. Raises DataError where the file is damaged."""
        with self.path.open("rb") as file:
            parts = _parts(file, self.path, self.n_blocks)
            next(parts)
            for part in parts:
                try:
                    yield SubscribeUpdateBlock.FromString(part)
                except ProtobufError as error:
                    raise _broken(self.path, f"a part is not a block ({error})") from error


def read_tape(path: Path | str) -> Tape:
    """Opens the tape at `path` and reads its header. Raises DataError if it is missing, cut or not a tape."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            n_blocks, first_slot, last_slot = _ends(file, path)
            header = json.loads(next(_parts(file, path, n_blocks)))
    except OSError as error:
        raise DataError(
            f"the tape {path} cannot be opened ({error.strerror}): check the path, or record a tape"
        ) from error
    except ValueError as error:
        raise _broken(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a JSON object")
    return Tape(path, header, n_blocks, first_slot, last_slot)


def _compression(level: int) -> zstandard.ZstdCompressionParameters:
    return zstandard.ZstdCompressionParameters.from_level(
        level, window_log=_WINDOW_LOG, enable_ldm=True, write_checksum=True
    )


def _ends(file: IO[bytes], path: Path) -> tuple[int, int, int]:
    """Checks the first and the last bytes; gives the number of blocks, the first slot and the last one."""
    start = file.read(8)
    if start[:6] != _MAGIC:
        raise DataError(f"{path} is not a tape: it should begin with {_MAGIC!r}, it begins with {start[:6]!r}")
    version = int.from_bytes(start[6:8], "little")
    if version != VERSION:
        raise DataError(f"the tape {path} has format {version}, this code reads {VERSION}: record it again")
    if file.seek(0, os.SEEK_END) < 8 + _END.size:
        raise _broken(path, "it is cut: it ends before its end mark")
    file.seek(-_END.size, os.SEEK_END)
    _, _, n_blocks, first_slot, last_slot, magic = _END.unpack(file.read(_END.size))
    if magic != _END_MAGIC:
        raise _broken(path, "it is cut: it ends before its end mark")
    return n_blocks, first_slot, last_slot


def _parts(file: IO[bytes], path: Path, n_blocks: int) -> Iterator[bytes]:
    """The header and then every block; reads on to the end of the frame, where zstd compares its checksum."""
    file.seek(8)
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG)
    try:
        with decompressor.stream_reader(file, read_size=1 << 20, closefd=False) as stream:
            for index in range(n_blocks + 1):
                (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size, path))
                if length > _MAX_PART:
                    raise _broken(path, f"part {index} claims {length} bytes")
                yield _exactly(stream, length, path)
            if stream.read(1):
                raise _broken(path, f"it goes on after the {n_blocks} blocks of its end mark")
    except zstandard.ZstdError as error:
        raise _broken(path, f"zstd cannot read it ({error})") from error


def _exactly(stream: Any, n_bytes: int, path: Path) -> bytes:
    content: bytes = stream.read(n_bytes)
    while len(content) < n_bytes:
        more = stream.read(n_bytes - len(content))
        if not more:
            raise _broken(path, "it ends in the middle of a block")
        content += more
    return content


def _broken(path: Path, what: str) -> DataError:
    return DataError(f"the tape {path} is damaged: {what}; fetch or record it again")
