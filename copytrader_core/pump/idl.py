"""The interface descriptions in `idl/*.json`, read with anchorpy-idl and compiled into codecs for the hot path.

A codec knows how the bytes of an event lie, and nothing else: which lengths a program has ever written, and what the
amounts mean, is `events` and `rows`. Events grow only at their tail, so a codec reads as many whole fields as there
are, ignores bytes after the last one that it knows, and refuses bytes that end inside a field.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final

from anchorpy_idl import (
    Idl,
    IdlField,
    IdlType,
    IdlTypeArray,
    IdlTypeDefined,
    IdlTypeDefStruct,
    IdlTypeOption,
    IdlTypeSimple,
    IdlTypeVec,
)

from copytrader_core.errors import DecodeError
from copytrader_core.files import data_dir

DISCRIMINATOR_BYTES: Final = 8

Reader = Callable[[bytes, int], tuple[Any, int]]
"""Takes the bytes and an offset; gives the value and the offset behind it."""

_FIXED: Final[Mapping[IdlTypeSimple, str]] = {
    IdlTypeSimple.Pubkey: "32s",
    IdlTypeSimple.Bool: "?",
    IdlTypeSimple.U8: "B",
    IdlTypeSimple.U16: "H",
    IdlTypeSimple.U32: "I",
    IdlTypeSimple.U64: "Q",
    IdlTypeSimple.I64: "q",
    IdlTypeSimple.I128: "16s",
}
_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class InstructionFact:
    """One instruction: its name, its discriminator and the positions of its named accounts."""

    name: str
    discriminator: bytes
    accounts: Mapping[str, int]


class _Run:
    """Consecutive fields of fixed size, unpacked together."""

    __slots__ = ("_bools", "_ends", "_i128s", "_names", "_partial", "_struct")

    def __init__(self, fields: Sequence[tuple[str, IdlTypeSimple]]) -> None:
        codes = [_FIXED[kind] for _, kind in fields]
        self._names = tuple(name for name, _ in fields)
        self._struct = struct.Struct("<" + "".join(codes))
        self._ends = {
            size: count + 1 for count, size in enumerate(accumulate(struct.calcsize("<" + code) for code in codes))
        }
        self._partial = [struct.Struct("<" + "".join(codes[:count])) for count in range(len(codes) + 1)]
        # `?` unpacks any byte but 0 as True, so each boolean's byte is looked at as well.
        ends = list(self._ends)
        self._bools = [(name, ends[at] - 1) for at, (name, kind) in enumerate(fields) if kind == IdlTypeSimple.Bool]
        self._i128s = [name for name, kind in fields if kind == IdlTypeSimple.I128]

    def read(self, data: bytes, at: int, values: dict[str, Any]) -> int:
        """Add the fields that are there to `values`; the offset behind them."""
        unpacker, there = self._struct, len(data) - at
        if there < unpacker.size:
            count = self._ends.get(there)
            if count is None:
                raise DecodeError(
                    f"{there} bytes are left for {self._names[0]!r} and its followers: the event ends inside a field"
                )
            unpacker = self._partial[count]
        values.update(zip(self._names, unpacker.unpack_from(data, at), strict=False))
        for name, offset in self._bools:
            if offset < there and data[at + offset] > 1:
                raise DecodeError(f"{name} must be 0 or 1 and is {data[at + offset]}")
        for name in self._i128s:
            if name in values:
                values[name] = int.from_bytes(values[name], "little", signed=True)
        return at + unpacker.size


class _One:
    """One field of variable size."""

    __slots__ = ("_name", "_read")

    def __init__(self, name: str, read: Reader) -> None:
        self._name = name
        self._read = read

    def read(self, data: bytes, at: int, values: dict[str, Any]) -> int:
        """Add the field to `values`; the offset behind it."""
        try:
            values[self._name], at = self._read(data, at)
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            raise DecodeError(
                f"{self._name} cannot be read ({error}): the event ends inside it, or it is no such event"
            ) from error
        return at


@dataclass(frozen=True, slots=True)
class EventCodec:
    """Reads one event. `fields` are all fields that this project knows, oldest first."""

    name: str
    discriminator: bytes
    fields: tuple[str, ...]
    segments: tuple[_Run | _One, ...]

    def decode(self, data: bytes, at: int = DISCRIMINATOR_BYTES) -> dict[str, Any]:
        """The fields from offset `at` on: addresses as 32 bytes, integers, booleans, text, lists of dicts.

        Fields that an older layout did not have are absent. Raises DecodeError where the bytes end inside a field.
        """
        values: dict[str, Any] = {}
        end = len(data)
        for segment in self.segments:
            if at >= end:
                break
            at = segment.read(data, at, values)
        return values


@dataclass(frozen=True, slots=True)
class Interface:
    """What one program's IDL says, keyed by discriminator."""

    address: str
    instructions: Mapping[bytes, InstructionFact]
    events: Mapping[bytes, EventCodec]

    def event(self, name: str) -> EventCodec:
        """The codec of the event of that name."""
        return next(codec for codec in self.events.values() if codec.name == name)

    def instruction(self, name: str) -> InstructionFact:
        """The facts of the instruction of that name."""
        return next(fact for fact in self.instructions.values() if fact.name == name)


@lru_cache(maxsize=4)
def interface(name: str) -> Interface:
    """The compiled interface of `pump` or `pump_amm`."""
    idl = Idl.from_json((data_dir("idl") / f"{name}.json").read_text())
    types = {definition.name: definition.ty for definition in idl.types}
    events = [_event_codec(event.name, bytes(event.discriminator), types) for event in idl.events or ()]
    listed: Sequence[Any] = idl.instructions
    instructions = [
        InstructionFact(it.name, bytes(it.discriminator), {account.name: at for at, account in enumerate(it.accounts)})
        for it in listed
    ]
    return Interface(
        idl.address,
        {fact.discriminator: fact for fact in instructions},
        {codec.discriminator: codec for codec in events},
    )


def _event_codec(name: str, discriminator: bytes, types: Mapping[str, Any]) -> EventCodec:
    fields = _struct_fields(types[name])
    segments: list[_Run | _One] = []
    run: list[tuple[str, IdlTypeSimple]] = []
    for field in fields:
        if isinstance(field.ty, IdlTypeSimple) and field.ty in _FIXED:
            run.append((field.name, field.ty))
            continue
        if run:
            segments.append(_Run(run))
            run = []
        segments.append(_One(field.name, _reader(field.ty, types)))
    if run:
        segments.append(_Run(run))
    return EventCodec(name, discriminator, tuple(field.name for field in fields), tuple(segments))


def _struct_fields(definition: Any) -> Sequence[IdlField]:
    if not isinstance(definition, IdlTypeDefStruct):
        raise DecodeError(
            f"expected a struct in the IDL, found {type(definition).__name__}: this IDL is newer than the code"
        )
    # anchorpy-idl's stubs describe an older format of the IDL than the one that it reads.
    fields: Any = definition.fields
    return tuple(fields.fields) if fields is not None else ()


def _reader(kind: IdlType, types: Mapping[str, Any]) -> Reader:
    """A reader of one value of a type that has no fixed place in a run of fields."""
    if kind == IdlTypeSimple.String:
        return _read_string
    if isinstance(kind, IdlTypeVec):
        return _vec_reader(_reader(kind.vec, types))
    if isinstance(kind, IdlTypeArray):
        return _array_reader(_reader(kind.array[0], types), int(kind.array[1]))
    if isinstance(kind, IdlTypeOption):
        return _option_reader(_reader(kind.option, types))
    if isinstance(kind, IdlTypeDefined):
        name: str = getattr(kind, "name")  # noqa: B009 - the stubs know it under an older name
        return _struct_reader([(field.name, _reader(field.ty, types)) for field in _struct_fields(types[name])])
    if isinstance(kind, IdlTypeSimple) and kind in _FIXED:
        return _fixed_reader(struct.Struct("<" + _FIXED[kind]))
    raise DecodeError(f"the IDL uses the type {kind!r}, which this code does not read: it is newer than the code")


def _read_string(data: bytes, at: int) -> tuple[str, int]:
    (length,) = _LENGTH.unpack_from(data, at)
    begin = at + _LENGTH.size
    if begin + length > len(data):
        raise ValueError(f"text of {length} bytes, but {len(data) - begin} are left")
    return data[begin : begin + length].decode(), begin + length


def _fixed_reader(unpacker: struct.Struct) -> Reader:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        return unpacker.unpack_from(data, at)[0], at + unpacker.size

    return read


def _vec_reader(item: Reader) -> Reader:
    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        (length,) = _LENGTH.unpack_from(data, at)
        if length > len(data) - at:
            raise ValueError(f"list of {length} items, but {len(data) - at} bytes are left")
        return _read_items(item, length, data, at + _LENGTH.size)

    return read


def _array_reader(item: Reader, length: int) -> Reader:
    return lambda data, at: _read_items(item, length, data, at)


def _read_items(item: Reader, length: int, data: bytes, at: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(length):
        value, at = item(data, at)
        items.append(value)
    return items, at


def _option_reader(item: Reader) -> Reader:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        flag, at = _read_flag(data, at)
        return item(data, at) if flag else (None, at)

    return read


def _read_flag(data: bytes, at: int) -> tuple[bool, int]:
    if at >= len(data) or data[at] > 1:
        raise ValueError("expected an option's flag, 0 or 1")
    return data[at] == 1, at + 1


def _struct_reader(fields: Sequence[tuple[str, Reader]]) -> Reader:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        values = {}
        for name, item in fields:
            values[name], at = item(data, at)
        return values, at

    return read
