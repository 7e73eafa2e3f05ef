"""Who emitted which event: from the event calls among the inner instructions, or from the logs where there are none.

An event belongs to the instruction that emitted it. Instructions are told apart by (program, discriminator), because
the two programs share discriminators with each other and with strangers. What an event says is not read here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final, NamedTuple

from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.pump.addresses import AMM_PROGRAM, PUMP_PROGRAM
from copytrader_core.pump.events import Layouts
from copytrader_core.pump.idl import DISCRIMINATOR_BYTES, InstructionFact, Interface, interface
from copytrader_core.solana.base58 import address_text
from copytrader_core.solana.transaction import LOG_TRUNCATED, RawInstruction, RawTransaction

EVENT_CALL_PREFIX: Final = bytes.fromhex("e445a52e51cb9a1d")
"""What the data of an event call begins with; the event's discriminator and body follow."""

# Precompiles run at the top level without a line in the logs.
_SILENT_PROGRAMS: Final = frozenset(
    {
        "Ed25519SigVerify111111111111111111111111111",
        "KeccakSecp256k11111111111111111111111111111",
        "Secp256r1SigVerify1111111111111111111111111",
    }
)
_DATA_LINE: Final = "Program data: "
_NAME_LINE: Final = "Program log: Instruction: "
_CAPITAL: Final = re.compile(r"(?<!^)(?=[A-Z])")


class Program:
    """One of the two programs: its address, its event authority and its interface."""

    __slots__ = ("authority", "interface", "invoked", "key", "layouts", "text")

    def __init__(self, key: Pubkey, interface_name: str) -> None:
        self.interface: Interface = interface(interface_name)
        self.key = bytes(key)
        self.text = str(key)
        self.authority = bytes(Pubkey.find_program_address([b"__event_authority"], key)[0])
        self.invoked = f"Program {key} invoke ["
        self.layouts = {disc: Layouts(codec) for disc, codec in self.interface.events.items()}

    def fact(self, ix: RawInstruction) -> InstructionFact | None:
        """What is known of an instruction of this program; None where its discriminator is not in the interface."""
        return self.interface.instructions.get(ix.data[:DISCRIMINATOR_BYTES])


PUMP: Final = Program(PUMP_PROGRAM, "pump")
AMM: Final = Program(AMM_PROGRAM, "pump_amm")
ROUTE: Final = "multi_hop_swap"


@dataclass(slots=True, eq=False)
class Frame:
    """One running instruction of ours. `ix` and `fact` are None where only the logs tell of it.

    `route` is the multi_hop_swap that it runs under, itself included.
    """

    program: Program
    outer_ix: int
    inner_ix: int
    ix: RawInstruction | None
    name: str | None
    fact: InstructionFact | None
    route: Frame | None
    n_events: int = 0


class Emission(NamedTuple):
    """One event's bytes, discriminator first, and the instruction that emitted it as its `seq`-th."""

    frame: Frame
    seq: int
    data: bytes


@dataclass(slots=True)
class Emissions:
    """What one transaction's instructions of ours emitted, in execution order."""

    frames: list[Frame] = field(default_factory=list)
    emissions: list[Emission] = field(default_factory=list)
    n_instructions: int = 0

    def begin(self, program: Program, path: tuple[int, int], ix: RawInstruction | None, parent: Frame | None) -> Frame:
        """Note a running instruction."""
        fact = None if ix is None else program.fact(ix)
        frame = Frame(program, *path, ix, fact.name if fact else None, fact, parent.route if parent else None)
        if program is AMM and frame.name == ROUTE:
            frame.route = frame
        self.frames.append(frame)
        return frame

    def emit(self, frame: Frame, data: bytes) -> None:
        """Note an event of a running instruction."""
        self.emissions.append(Emission(frame, frame.n_events, data))
        frame.n_events += 1


def programs_in(keys: Sequence[bytes]) -> dict[int, Program]:
    """The two programs by their index in the account keys. Empty for most transactions there are."""
    return {keys.index(program.key): program for program in (PUMP, AMM) if program.key in keys}


def from_instructions(tx: RawTransaction, programs: Mapping[int, Program]) -> Emissions:
    """What the recorded instructions say. Raises DecodeError where an event has no instruction that emitted it."""
    found = Emissions()
    ours = programs.keys()
    for outer_ix, outer in enumerate(tx.outer):
        group = tx.inner.get(outer_ix, ())
        if outer.program_index in ours or not ours.isdisjoint([ix[0] for ix in group]):
            _walk(tx, programs, outer_ix, group, found)
    return found


def _walk(
    tx: RawTransaction,
    programs: Mapping[int, Program],
    outer_ix: int,
    group: Sequence[RawInstruction],
    found: Emissions,
) -> None:
    """One top-level instruction and all below it. `stack` holds who runs at each depth, None for a stranger."""
    outer = tx.outer[outer_ix]
    stack: list[Frame | None] = [None]
    latest: dict[Program, Frame] = {}
    if program := programs.get(outer.program_index):
        found.n_instructions += 1
        latest[program] = found.begin(program, (outer_ix, -1), outer, None)
        stack = [latest[program]]
    for inner_ix, ix in enumerate(group):
        program_index, _, _, height = ix
        if height is not None:
            del stack[height - 1 :]
        inner_program = programs.get(program_index)
        if inner_program is None:
            stack.append(None)
            continue
        found.n_instructions += 1
        if _is_event_call(tx, ix, inner_program):
            emitter = stack[-1] if height is not None else latest.get(inner_program)
            if emitter is None or emitter.program is not inner_program:
                raise DecodeError(
                    f"the event at {outer_ix}.{inner_ix} has no instruction that emitted it: instructions are missing"
                )
            found.emit(emitter, ix.data[DISCRIMINATOR_BYTES:])
            stack.append(None)
        else:
            parent = next((frame for frame in reversed(stack) if frame is not None), None)
            latest[inner_program] = found.begin(inner_program, (outer_ix, inner_ix), ix, parent)
            stack.append(latest[inner_program])


def _is_event_call(tx: RawTransaction, ix: RawInstruction, program: Program) -> bool:
    """A program calls itself to write an event; its event authority, the only account, proves that it was itself."""
    return (
        ix.data.startswith(EVENT_CALL_PREFIX)
        and len(ix.accounts) == 1
        and tx.account_keys[ix.accounts[0]] == program.authority
    )


def from_logs(tx: RawTransaction, programs: Mapping[int, Program]) -> Emissions:
    """What complete logs say. Raises DecodeError where they are cut, or do not belong to these instructions."""
    walk = _LogWalk(tx, programs)
    for line in tx.logs or ():
        walk.line(line)
    walk.finish()
    return walk.found


class _LogWalk:
    """Follows the calls through the log lines. Paths count every call, as the inner instructions do."""

    def __init__(self, tx: RawTransaction, programs: Mapping[int, Program]) -> None:
        self.found = Emissions()
        self._tx = tx
        self._programs = {program.text: program for program in programs.values()}
        self._stack: list[Frame | None] = []
        self._outer_ix = -1
        self._n_inner = 0

    def line(self, line: str) -> None:
        if line == LOG_TRUNCATED:
            raise DecodeError(
                "the logs are truncated and there are no inner instructions: fetch it from a node that keeps them"
            )
        if not line.startswith("Program "):
            return
        if line.startswith(_DATA_LINE):
            self._data(line[len(_DATA_LINE) :])
        elif line.startswith(_NAME_LINE):
            self._name(line[len(_NAME_LINE) :])
        elif not line.startswith(("Program log: ", "Program return: ", "Program consumption: ")):
            self._call(line)

    def _call(self, line: str) -> None:
        _, address, verb, *rest = (*line.split(" ", 3), "", "")
        if verb == "invoke":
            if rest[0] != f"[{len(self._stack) + 1}]":
                raise DecodeError(
                    f"expected a call at depth {len(self._stack) + 1} in the logs, found {line!r}: lines are missing"
                )
            self._begin(address)
        elif verb in ("success", "failed:", "failed"):
            if not self._stack:
                raise DecodeError(f"{line!r} ends a call that never began: lines are missing from the logs")
            self._stack.pop()

    def _begin(self, address: str) -> None:
        if not self._stack:
            self._next_outer(address)
            path, ix = (self._outer_ix, -1), self._tx.outer[self._outer_ix]
        else:
            path, ix = (self._outer_ix, self._n_inner), None
            self._n_inner += 1
        program = self._programs.get(address)
        if program is None:
            self._stack.append(None)
            return
        parent = next((frame for frame in reversed(self._stack) if frame is not None), None)
        self._stack.append(self.found.begin(program, path, ix, parent))

    def _next_outer(self, address: str) -> None:
        """Move to the top-level instruction of that program, over those that write no logs."""
        outer = self._tx.outer
        self._n_inner = 0
        self._outer_ix += 1
        while self._outer_ix < len(outer):
            found = self._outer_program()
            if found == address:
                return
            if found not in _SILENT_PROGRAMS:
                break
            self._outer_ix += 1
        raise DecodeError(
            f"the logs call {address} where no top-level instruction does: they belong to another transaction"
        )

    def _outer_program(self) -> str:
        return address_text(self._tx.account_keys[self._tx.outer[self._outer_ix].program_index])

    def _name(self, camel: str) -> None:
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.name is None:
            frame.name = _CAPITAL.sub("_", camel).lower()
            if frame.program is AMM and frame.name == ROUTE:
                frame.route = frame

    def _data(self, text: str) -> None:
        frame = self._stack[-1] if self._stack else None
        if frame is None:
            return
        try:
            self.found.emit(frame, base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise DecodeError(
                f"an event of {frame.program.text} in the logs is not base64 ({error}): the logs are cut"
            ) from error

    def finish(self) -> None:
        while self._outer_ix + 1 < len(self._tx.outer):
            self._outer_ix += 1
            if self._outer_program() not in _SILENT_PROGRAMS:
                raise DecodeError("the logs end before the last instruction: lines are missing")
        if self._stack:
            raise DecodeError("the logs end inside a call: lines are missing")


def check_against_logs(tx: RawTransaction, programs: Mapping[int, Program], found: Emissions) -> None:
    """Raise DecodeError where the logs, if there are any, call our programs more or less often than they run."""
    logs = tx.logs
    if not logs:
        return
    prefixes = tuple([program.invoked for program in programs.values()])
    calls = sum(map(str.startswith, logs, repeat(prefixes)))
    if calls > found.n_instructions or (calls < found.n_instructions and not tx.logs_truncated):
        raise DecodeError(
            f"the logs show {calls} calls of our programs, the instructions {found.n_instructions}: one of them is cut"
        )


def check_event_against_logs(tx: RawTransaction, data: bytes) -> None:
    """Raise DecodeError where the logs hold this event with other bytes.

    The programs write every event twice, as a call and as a log line, so a cut or altered copy shows.
    """
    if not tx.logs:
        return
    text = base64.b64encode(data).decode()
    if _DATA_LINE + text in tx.logs:
        return
    # Ten characters carry the first 60 bits of the discriminator; the body's first bytes tell events of a kind apart.
    same_kind = _DATA_LINE + text[:10]
    rivals = [line[len(_DATA_LINE) :] for line in tx.logs if line.startswith(same_kind)]
    if tx.logs_truncated:
        whole = text[: len(text) // 4 * 4 - 4]
        rivals = [line for line in rivals if line.startswith(whole) or text.startswith(line[: len(line) // 4 * 4 - 4])]
    if rivals:
        raise DecodeError("the event's call and its log line differ: one of the two is cut or altered")
