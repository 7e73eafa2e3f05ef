"""The short way to read the usual leader's buy: one trade of ours in the whole transaction, seen in full, paid in SOL.

It asks all that `copytrader_core.pump.decode` asks of such a transaction, and leaves out what only the record needs.
Whatever is cut, odd or more than one buy gives None, and the decoder has to be asked: it is the rule.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple, overload

from copytrader_core.errors import DecodeError
from copytrader_core.pump.emissions import AMM, PUMP
from copytrader_core.pump.idl import DISCRIMINATOR_BYTES
from copytrader_core.pump.rows import ZERO_KEY, Swap, curve_swap, pool_swap
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_bytes, address_text, signature_text
from copytrader_core.solana.transaction import KEY_BYTES, SIGNATURE_BYTES
from executor.market_trade import MarketTrade, market_trade

__all__ = ["Glance", "Glancer", "is_loaded"]

_SCANNER: Final = "executor.scanner"

_BUYS: Final = {
    PUMP: ("buy", "buy_exact_sol_in", "buy_v2", "buy_exact_quote_in_v2", "buy_v3", "buy_exact_quote_in_v3"),
    AMM: ("buy", "buy_exact_quote_in", "buy_v2", "buy_exact_quote_in_v2"),
}
_INSTRUCTIONS: Final = {
    program: {
        disc: (fact.accounts.get("base_mint", 0), fact.accounts.get("quote_mint", 0), fact.accounts.get("pool", 0))
        for disc, fact in program.interface.instructions.items()
        if fact.name in names
    }
    for program, names in _BUYS.items()
}
"""By program and discriminator: where the accounts name base mint, quote mint and pool."""
_Owners = Sequence[Sequence[int]]
_WSOL_KEY: Final = address_bytes(WSOL)
_WSOL_TEXT: Final = WSOL.encode()


class _Keys(Sequence[bytes]):
    """The account keys of an update, cut out of it when they are asked for: it names up to 64, a few are looked at."""

    __slots__ = ("_places", "_raw")

    def __init__(self, raw: bytes, places: Sequence[int]) -> None:
        self._raw = raw
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(at, slice):
            return _Keys(self._raw, self._places[at])
        place = self._places[at]
        return self._raw[place : place + KEY_BYTES]


class Glance(NamedTuple):
    """A leader's buy: who, for how much, the market after it, and the instruction that names the coin's accounts."""

    sig: str
    slot: int
    tx_index: int
    wallet: str
    size_lamports: int
    trade: MarketTrade
    creator: bytes
    is_mayhem: bool
    program: bytes
    data: bytes
    accounts: bytes
    keys: Sequence[bytes]


class Glancer:
    """Reads the buys of some leaders, once it is warm; until then, and of all others, it says nothing."""

    def __init__(self) -> None:
        self._scanner: Any = None
        self._leaders: Collection[bytes] = ()
        self._followed: Collection[bytes] = ()

    def warm(self) -> None:
        """Compiles the kernel, or loads what was compiled before; until this is done every buy is read the long way.

        It takes a second, the first time ever some ten, which is why nothing of it is imported before.
        """
        scanner = importlib.import_module(_SCANNER).Scanner()
        scanner(b"")
        self._scanner = scanner

    def follow(self, leaders: Collection[bytes]) -> None:
        """From now on these keys' buys are read."""
        self._leaders = leaders

    def __call__(self, raw: bytes) -> Glance | None:
        """The one buy that the SubscribeUpdate `raw` shows, signed by a leader; None where the decoder has to be asked.

        Of two keys that begin with the same 8 bytes both are read: whether a buy is a leader's is the caller's to ask.
        """
        scanner = self._scanner
        if scanner is None:
            return None
        if self._followed is not self._leaders:
            self._followed = self._leaders
            scanner.follow(self._followed)
        found = scanner(raw)
        if found is None:
            return None
        try:
            return _glance(raw, found[0], found[1], found[2])
        except (DecodeError, LookupError):
            return None


def is_loaded() -> bool:
    """Whether this process has the kernel, so that `Glancer.warm` takes no time."""
    return _SCANNER in sys.modules


class _Told(NamedTuple):
    """What an event says of a buy that is paid in SOL."""

    trade: MarketTrade
    size_lamports: int
    creator: bytes
    is_mayhem: bool


def _glance(raw: bytes, found: Sequence[int], keys_at: Sequence[int], owners: _Owners) -> Glance | None:
    (
        slot, index, signature, _, _, which, accounts, n_accounts, data, n_data, event, n_event, subject, user,
        is_newest, _, *said,
    ) = found  # fmt: skip
    program, keys, place = (PUMP, AMM)[which], _Keys(raw, keys_at), (slot, index)
    named, instruction = raw[accounts : accounts + n_accounts], raw[data : data + n_data]
    mints_at = _INSTRUCTIONS[program].get(instruction[:DISCRIMINATOR_BYTES])
    if mints_at is None:
        return None
    # The kernel has looked up the trader among the signers, and among the keys the coin or the pool.
    key = keys[subject]
    if program is PUMP:
        told = _newest_trade(raw, said, place, key) if is_newest else _older(raw[event : event + n_event], place)
    else:
        base_at, quote_at, pool_at = mints_at
        base, pool = keys[named[base_at]], address_text(key)
        if keys[named[pool_at]] != key or keys[named[quote_at]] != _WSOL_KEY or base == _WSOL_KEY:
            return None
        mint = address_text(base)
        if not _may_trade(raw, owners, pool, mint):
            return None
        if is_newest:
            told = _newest_pool(raw, said, place, mint, pool)
        else:
            told = _older(raw[event : event + n_event], place, mint)
    if told is None:
        return None
    trade, size, creator, is_mayhem = told
    sig, trader = signature_text(raw[signature : signature + SIGNATURE_BYTES]), address_text(keys[user])
    return Glance(sig, slot, index, trader, size, trade, creator, is_mayhem, program.key, instruction, named, keys)


def _newest_trade(raw: bytes, said: Sequence[int], place: tuple[int, int], mint: bytes) -> _Told | None:
    buys, net, virtual_quote, virtual_base, real_quote, real_base, protocol, creator_bps, fees, cashback, mayhem, at = (
        said
    )
    if not buys or mint == _WSOL_KEY:
        return None
    trade = MarketTrade(
        address_text(mint), *place, virtual_base, virtual_quote, real_base, real_quote, None, 0, protocol, creator_bps,
        cashback > 0, False,
    )  # fmt: skip
    return _Told(trade, net + fees, raw[at : at + KEY_BYTES], mayhem == 1)


def _newest_pool(raw: bytes, said: Sequence[int], place: tuple[int, int], mint: str, pool: str) -> _Told:
    gross, quote, base, vault, lp, protocol, creator_bps, cashback, at, *_ = said
    trade = MarketTrade(mint, *place, base, quote, None, vault, pool, lp, protocol, creator_bps, cashback > 0, False)
    return _Told(trade, gross, raw[at : at + KEY_BYTES], False)


def _older(body: bytes, place: tuple[int, int], mint: str | None = None) -> _Told | None:
    """By the table of layouts; a pool's event does not tell the coin, so that it has to be given."""
    program = PUMP if mint is None else AMM
    values = program.layouts[body[:DISCRIMINATOR_BYTES]].read(body, place[0], None)
    swap: Swap = curve_swap(values) if mint is None else pool_swap(values, True, mint, WSOL)
    if not swap.buys or swap.quote != WSOL or swap.base == WSOL:
        return None
    if not swap.reserve_base or swap.reserve_quote is None:
        return None
    creator = address_bytes(swap.meta["creator"]) if swap.meta["creator"] else ZERO_KEY
    reserves = swap.reserve_base, swap.reserve_quote
    trade = market_trade(swap.base, *place, reserves, swap.meta, is_pool=mint is not None)
    return _Told(trade, swap.quote_amount, creator, bool(swap.meta.get("mayhem")))


def _may_trade(raw: bytes, owners: _Owners, pool: str, mint: str) -> bool:
    """Whether what the pool holds before or after does not deny that it trades this coin for SOL."""
    name = pool.encode()
    held = {raw[at : at + n] for owner, n_owner, at, n in owners if raw[owner : owner + n_owner] == name}
    return not held or {mint.encode(), _WSOL_TEXT} <= held
