"""One landed transaction to its events: what a wallet's coins did, one `Event` each.

Event calls among the inner instructions come first; complete logs stand in where a source keeps no inner instructions.
What is ours but cannot be decoded becomes a `Problem` and never a guess. `event_seq` counts every event that an
instruction emitted, also those that give no row: a buy that completes its curve has 0 (trade), 1 (complete) and 2
(pool part).
No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from copytrader_core.errors import DecodeError
from copytrader_core.pump.attribution import TransactionFacts
from copytrader_core.pump.emissions import (
    ROUTE,
    Emission,
    Emissions,
    Frame,
    Program,
    check_against_logs,
    check_event_against_logs,
    from_instructions,
    from_logs,
    programs_in,
)
from copytrader_core.pump.idl import DISCRIMINATOR_BYTES
from copytrader_core.pump.routes import route_row
from copytrader_core.pump.rows import (
    Swap,
    Values,
    create_row,
    curve_swap,
    liquidity_row,
    pool_part,
    pool_swap,
    swap_row,
)
from copytrader_core.records import Event
from copytrader_core.solana.base58 import address_text
from copytrader_core.solana.transaction import RawTransaction

__all__ = ["Decoded", "Problem", "decode"]

# Instructions that cannot succeed without an event.
SPEAKING: Final = frozenset(
    {
        "create", "create_v2", "buy", "sell", "buy_exact_sol_in", "buy_v2", "sell_v2", "buy_exact_quote_in_v2",
        "buy_v3", "sell_v3", "buy_exact_quote_in_v3", "multi_hop_curve_swap", "buy_exact_quote_in", "deposit",
        "withdraw",
    }
)  # fmt: skip
_ROWS: Final = frozenset(
    {"TradeEvent", "PostCompleteBuyEvent", "BuyEvent", "SellEvent", "CreateEvent", "DepositEvent", "WithdrawEvent"}
)
_COMPLETE: Final = "CompleteEvent"


# A multi_hop_swap names after its fixed accounts, hop by hop: base mint, quote mint, pool or curve, and the two vaults.
_ROUTE_FIXED: Final = 16
_ROUTE_PER_HOP: Final = 5


def _mint_positions(frame: Frame) -> list[tuple[int, int, int]]:
    """Where an instruction's accounts name base mint, quote mint and pool; for a route once per hop."""
    if frame.fact is None or frame.ix is None:
        return []
    if frame.route is frame:
        return [(at, at + 1, at + 2) for at in range(_ROUTE_FIXED, len(frame.ix.accounts), _ROUTE_PER_HOP)]
    at = frame.fact.accounts
    return [(at["base_mint"], at["quote_mint"], at["pool"])] if {"base_mint", "quote_mint", "pool"} <= at.keys() else []


@dataclass(frozen=True, slots=True)
class Problem:
    """Something of ours that could not be decoded. `path` is "outer.inner" or "" for the whole transaction."""

    path: str
    reason: str
    data: bytes


class Seen(NamedTuple):
    """One event's bytes and all its values, also those that no row keeps. `quote` is the trade's quote mint."""

    emission: Emission
    name: str | None
    values: Values
    quote: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows of one transaction in chain order, and what is missing from them.

    `frames` and `seen` are what ran and what it emitted, in execution order, for whoever watches the programs; `keys`
    are the transaction's account keys.
    """

    events: tuple[Event, ...]
    problems: tuple[Problem, ...]
    frames: Sequence[Frame] = field(default=(), compare=False, repr=False)
    seen: Sequence[Seen] = field(default=(), compare=False, repr=False)
    keys: Sequence[bytes] = field(default=(), compare=False, repr=False)


_NOTHING: Final = Decoded((), ())


def decode(tx: RawTransaction) -> Decoded:
    """The events of a landed transaction; none for a failed one or one that calls neither program."""
    if tx.failed:
        return _NOTHING
    programs = programs_in(tx.account_keys)
    if not programs:
        return _NOTHING
    try:
        found = _emissions(tx, programs)
    except DecodeError as error:
        return Decoded((), (Problem("", str(error), b""),))
    if not found.frames:
        return _NOTHING
    return _Rows(tx, found).decoded()


def _emissions(tx: RawTransaction, programs: Mapping[int, Program]) -> Emissions:
    if any(tx.inner.values()):
        found = from_instructions(tx, programs)
        check_against_logs(tx, programs, found)
        return found
    if tx.logs is not None:
        return from_logs(tx, programs) if _called(tx, programs) else Emissions()
    found = from_instructions(tx, programs)
    if found.frames or not tx.inner_recorded:
        raise DecodeError(
            "there are neither inner instructions nor logs: fetch the transaction from a node that keeps them"
        )
    return found


def _called(tx: RawTransaction, programs: Mapping[int, Program]) -> bool:
    """Whether anything, the top level included, shows that one of the programs ran, or hides it."""
    prefixes = tuple([program.invoked for program in programs.values()])
    return (
        not tx.inner_recorded
        or tx.logs_truncated
        or any(ix.program_index in programs for ix in tx.outer)
        or any(line.startswith(prefixes) for line in tx.logs or ())
    )


def _is_first_create(frame: Frame) -> bool:
    """Whether this is a `create` of the time before it named a creator, whose event has no time of its own.

    Its arguments are three texts and nothing else. They date the event better than where the transaction was found.
    """
    if frame.ix is None or frame.name != "create":
        return False
    data, at = frame.ix.data, DISCRIMINATOR_BYTES
    for _ in range(3):
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    return at == len(data)


class _Rows:
    """Turns one transaction's emissions into rows and problems."""

    def __init__(self, tx: RawTransaction, found: Emissions) -> None:
        self._tx = tx
        self._found = found
        self._facts = TransactionFacts(tx)
        self._events: list[Event] = []
        self._problems: list[Problem] = []
        self._seen: list[Seen] = []
        self._routes: dict[int, tuple[Frame, list[Swap]]] = {}
        self._broken_routes: set[int] = set()
        self._completing = {id(it.frame) for it in found.emissions if self._name(it) == _COMPLETE}

    def decoded(self) -> Decoded:
        for emission in self._found.emissions:
            try:
                self._emission(emission)
            except DecodeError as error:
                self._refuse(emission.frame, str(error), emission.data)
        self._silent_frames()
        self._route_rows()
        self._events.sort(key=lambda event: (event.outer_ix, event.inner_ix, event.event_seq))
        events, problems = tuple(self._events), tuple(self._problems)
        return Decoded(events, problems, self._found.frames, self._seen, self._tx.account_keys)

    @staticmethod
    def _name(emission: Emission) -> str | None:
        codec = emission.frame.program.interface.events.get(emission.data[:DISCRIMINATOR_BYTES])
        return codec.name if codec else None

    def _refuse(self, frame: Frame, reason: str, data: bytes) -> None:
        self._problems.append(Problem(f"{frame.outer_ix}.{frame.inner_ix}", reason, data))
        if frame.route is not None:
            self._broken_routes.add(id(frame.route))

    def _emission(self, emission: Emission) -> None:
        frame, data = emission.frame, emission.data
        name = self._name(emission)
        if name is None:
            self._seen.append(Seen(emission, None, {}, ""))
            raise DecodeError(
                f"an event with the unknown discriminator {data[:DISCRIMINATOR_BYTES].hex()}: the program has changed"
            )
        if name not in _ROWS:
            return
        check_event_against_logs(self._tx, data)
        written_at = 0 if _is_first_create(frame) else self._tx.block_time
        values = frame.program.layouts[data[:DISCRIMINATOR_BYTES]].read(data, self._tx.slot, written_at)
        self._check_accounts(frame, values)
        swap = None
        if name == "CreateEvent":
            self._events.append(create_row(self._facts, emission, values))
        elif name in ("DepositEvent", "WithdrawEvent"):
            mints = self._pool_mints(frame, values)
            self._events.append(liquidity_row(self._facts, emission, values, name == "DepositEvent", *mints))
        else:
            swap = self._read_swap(frame, name, values)
        self._seen.append(Seen(emission, name, values, swap.quote if swap else ""))
        if swap is not None:
            self._swap(emission, swap)

    def _read_swap(self, frame: Frame, name: str, values: Values) -> Swap:
        if name == "TradeEvent":
            swap = curve_swap(values)
            if swap.buys and id(frame) in self._completing:
                swap.meta["complete"] = True
            return swap
        if name == "PostCompleteBuyEvent":
            return pool_part(values)
        return pool_swap(values, name == "BuyEvent", *self._pool_mints(frame, values))

    def _swap(self, emission: Emission, swap: Swap) -> None:
        route = emission.frame.route
        if route is None:
            self._events.append(swap_row(self._facts, emission, swap))
        else:
            self._routes.setdefault(id(route), (route, []))[1].append(swap)

    def _check_accounts(self, frame: Frame, values: Values) -> None:
        """The mint or pool that an event names is an account of the transaction, whoever cut or altered the bytes."""
        keys = self._tx.account_keys
        for name in ("mint", "pool"):
            if name in values and values[name] not in keys:
                raise DecodeError(f"the event's {name} is no account of its transaction: these bytes are no such event")
        named = frame.fact.accounts.get("pool") if frame.fact else None
        if named is None or frame.ix is None or "pool" not in values:
            return
        accounts = frame.ix.accounts
        if named >= len(accounts) or keys[accounts[named]] != values["pool"]:
            raise DecodeError("the event names another pool than its instruction: these bytes are no such event")

    def _pool_mints(self, frame: Frame, values: Values) -> tuple[str, str]:
        """Base and quote mint of the event's pool: named by the instruction, else told by what the pool holds."""
        keys = self._tx.account_keys
        for base, quote, pool in _mint_positions(frame):
            accounts = frame.ix.accounts if frame.ix else b""
            if len(accounts) > max(base, quote, pool) and keys[accounts[pool]] == values["pool"]:
                mints = address_text(keys[accounts[base]]), address_text(keys[accounts[quote]])
                held = self._facts.holdings(address_text(values["pool"]))
                if held and not held.keys() >= set(mints):
                    raise DecodeError("the pool holds other coins than its instruction names: an account is altered")
                return mints
        return self._held_mints(values)

    def _held_mints(self, values: Values) -> tuple[str, str]:
        """The event names the trader's two token accounts; where no balance knows them, what the pool holds tells."""
        base_mint = self._facts.mint_of(values["user_base_token_account"])
        quote_mint = self._facts.mint_of(values["user_quote_token_account"])
        if base_mint and quote_mint and base_mint != quote_mint:
            return base_mint, quote_mint
        held = self._facts.holdings(address_text(values["pool"]))
        base = [mint for mint, (before, _) in held.items() if before == values["pool_base_token_reserves"]]
        quote = [mint for mint, (before, _) in held.items() if before == values["pool_quote_token_reserves"]]
        if len(base) == 1 and len(quote) == 1 and base != quote:
            return base[0], quote[0]
        raise DecodeError("the transaction does not tell the mints of the event's pool")

    def _silent_frames(self) -> None:
        for frame in self._found.frames:
            if frame.n_events == 0 and frame.name in SPEAKING:
                self._refuse(frame, f"{frame.name} has no event: its inner instructions are missing", b"")

    def _route_rows(self) -> None:
        for frame in self._found.frames:
            if frame.name != ROUTE or frame.route is not frame or id(frame) in self._broken_routes:
                continue
            _, hops = self._routes.get(id(frame), (frame, []))
            try:
                if not hops:
                    raise DecodeError("multi_hop_swap has no event: its inner instructions are missing")
                self._events.append(route_row(self._facts, frame, hops))
            except DecodeError as error:
                self._problems.append(Problem(f"{frame.outer_ix}.{frame.inner_ix}", str(error), b""))
