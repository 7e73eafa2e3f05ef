"""The short way to read the usual leader's buy: one trade of ours in the whole transaction, seen in full, paid in SOL.

It asks all that `copytrader_core.pump.decode` asks of such a transaction, and leaves out what only the record needs.
Whatever is cut, odd or more than one buy gives None, and the decoder has to be asked: it is the rule.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple, overload

from copytrader_core.errors import DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump.emissions import AMM, PUMP
from copytrader_core.pump.idl import DISCRIMINATOR_BYTES
from copytrader_core.pump.rows import ZERO_KEY, Swap, Values, curve_swap, pool_swap
from copytrader_core.records import WSOL
from copytrader_core.solana.base58 import address_bytes, address_text, signature_text
from copytrader_core.solana.transaction import KEY_BYTES, SIGNATURE_BYTES
from executor.market_trade import MarketTrade, market_trade

__all__ = ["Glance", "Glancer"]

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
        scanner = importlib.import_module("executor.scanner").Scanner()
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
            return _glance(raw, found)
        except (DecodeError, LookupError):
            return None


def _glance(raw: bytes, found: Sequence[int]) -> Glance | None:
    (
        slot, index, signature, _, n_signers, which, accounts, n_accounts, data, n_data, event, n_event, mint, user,
        is_newest, buys, net, virtual_quote, virtual_base, real_quote, real_base, protocol, creator_bps, fees,
        cashback, mayhem, creator_at, *keys_at,
    ) = found  # fmt: skip
    program, keys = (PUMP, AMM)[which], _Keys(raw, keys_at)
    named, instruction = raw[accounts : accounts + n_accounts], raw[data : data + n_data]
    if instruction[:DISCRIMINATOR_BYTES] not in _INSTRUCTIONS[program]:
        return None
    # The kernel has looked a curve's coin and trader up among the keys.
    if program is PUMP and (mint < 0 or not 0 <= user < n_signers):
        return None
    if is_newest:
        if not buys or (base := address_text(keys[mint])) == WSOL:
            return None
        trader, size, is_mayhem, creator = keys[user], net + fees, mayhem == 1, raw[creator_at : creator_at + KEY_BYTES]
        trade = MarketTrade(
            base, slot, index, virtual_base, virtual_quote, real_base, real_quote, None, 0, protocol, creator_bps,
            cashback > 0, False,
        )  # fmt: skip
    else:
        body = raw[event : event + n_event]
        values = program.layouts[body[:DISCRIMINATOR_BYTES]].read(body, slot, None)
        swap: Swap | None = None
        if program is PUMP:
            swap = curve_swap(values)
        elif values["pool"] in keys and values["user"] in keys[:n_signers]:
            swap = _pool_swap(values, instruction, named, keys, raw)
        if swap is None or not swap.buys or swap.quote != WSOL or swap.base == WSOL:
            return None
        if not swap.reserve_base or swap.reserve_quote is None:
            return None
        trader, size, is_mayhem = swap.user, swap.quote_amount, bool(swap.meta.get("mayhem"))
        creator = address_bytes(swap.meta["creator"]) if swap.meta["creator"] else ZERO_KEY
        reserves = swap.reserve_base, swap.reserve_quote
        trade = market_trade(swap.base, slot, index, reserves, swap.meta, is_pool=program is AMM)
    sig = signature_text(raw[signature : signature + SIGNATURE_BYTES])
    return Glance(
        sig, slot, index, address_text(trader), size, trade, creator, is_mayhem, program.key, instruction, named, keys
    )


def _pool_swap(values: Values, data: bytes, accounts: bytes, keys: Sequence[bytes], raw: bytes) -> Swap | None:
    """A pool's buy, whose mints its instruction names and its holdings do not deny."""
    base_at, quote_at, pool_at = _INSTRUCTIONS[AMM][data[:DISCRIMINATOR_BYTES]]
    pool: Any = values["pool"]
    if keys[accounts[pool_at]] != pool:
        return None
    base, quote = address_text(keys[accounts[base_at]]), address_text(keys[accounts[quote_at]])
    text, meta = address_text(pool), pb.SubscribeUpdate.FromString(raw).transaction.transaction.meta
    held = {
        one.mint
        for all_of in (meta.pre_token_balances, meta.post_token_balances)
        for one in all_of
        if one.owner == text
    }
    if held and not {base, quote} <= held:
        return None
    return pool_swap(values, True, base, quote)
