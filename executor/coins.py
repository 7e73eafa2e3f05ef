"""What our transactions must know of the coins we trade: copied from the leader's instruction or read from accounts.

No requests are made here and nothing is built: `copytrader_core.solana.coins` knows how, `executor.live` when.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, NamedTuple, overload

from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.policy.market import MarketState
from copytrader_core.pump import addresses as a
from copytrader_core.pump.instructions import PumpPool
from copytrader_core.pump.rows import ZERO_KEY
from copytrader_core.records import Event
from copytrader_core.solana.base58 import address_bytes, address_text
from copytrader_core.solana.coins import Coin, coin_from_leader_instruction
from copytrader_core.solana.programs import WSOL_MINT
from copytrader_core.solana.transaction import RawInstruction, RawTransaction
from executor.glance import Glance

# A spend that takes this share of what a curve has left may turn out to complete it.
_NEARLY: Final = 2
# What a coin's document says of the coin itself, not of where it trades.
_LASTING: Final = ("creator", "token_program", "is_cashback", "is_mayhem")


class _Accounts(Sequence[Pubkey]):
    """The accounts of an instruction. A trade names up to 27, and five of them are looked at."""

    def __init__(self, keys: Sequence[bytes], indices: bytes) -> None:
        self._keys = keys
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, at: int) -> Pubkey: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Pubkey]: ...
    def __getitem__(self, at: int | slice) -> Pubkey | Sequence[Pubkey]:
        if isinstance(at, slice):
            return [Pubkey(self._keys[index]) for index in self._indices[at]]
        return Pubkey(self._keys[self._indices[at]])


class LikelyCoin(NamedTuple):
    """A coin, where it trades, and whether a buy might complete its curve."""

    coin: Coin
    venue: str
    may_complete: bool


class CoinBook:
    """Coins by mint, as long as they may be traded."""

    def __init__(self) -> None:
        self._coins: dict[str, Coin] = {}
        self._documents: dict[str, tuple[Coin, dict[str, Any]]] = {}

    def hear(self, tx: RawTransaction, event: Event) -> None:
        """Takes the coin of a trade that has just gone through, unless it is known."""
        if event.mint in self._coins:
            return
        ix, meta = _instruction(tx, event), event.meta
        named = _Accounts(tx.account_keys, ix.accounts)
        try:
            program = tx.account_keys[ix.program_index]
            creator = address_bytes(meta["creator"]) if meta.get("creator") else ZERO_KEY
        except (IndexError, DecodeError):
            return
        is_cashback, is_mayhem = bool(meta.get("cashback_raw")), bool(meta.get("mayhem"))
        self._take(event.mint, program, bytes(ix.data), named, creator, is_cashback, is_mayhem)

    def see(self, buy: Glance) -> None:
        """The same for a buy that was read the short way."""
        trade = buy.trade
        if trade.mint not in self._coins:
            named = _Accounts(buy.keys, buy.accounts)
            self._take(trade.mint, buy.program, buy.data, named, buy.creator, trade.has_cashback, buy.is_mayhem)

    def _take(
        self,
        mint: str,
        program: bytes,
        data: bytes,
        accounts: Sequence[Pubkey],
        creator: bytes,
        is_cashback: bool,
        is_mayhem: bool,
    ) -> None:
        try:
            coin = coin_from_leader_instruction(
                Pubkey(program),
                data,
                accounts,
                creator=Pubkey(creator),
                is_cashback=is_cashback,
                is_mayhem=is_mayhem,
            )
        except (DecodeError, IndexError):
            return
        if coin is not None and address_text(bytes(coin.mint)) == mint and _is_ours_to_trade(coin):
            self._coins[mint] = coin

    def known(self, mint: str) -> Coin | None:
        """The coin as it was taken."""
        return self._coins.get(mint)

    def learn(self, coin: Coin) -> None:
        """Takes a coin as its accounts say it is."""
        self._coins[str(coin.mint)] = coin

    def forget(self, but: Container[str]) -> None:
        """Drops all coins except those that are needed still."""
        for mint in [mint for mint in self._coins if mint not in but]:
            del self._coins[mint]
            self._documents.pop(mint, None)

    @property
    def newest(self) -> str | None:
        """The coin that was heard of last."""
        return next(reversed(self._coins), None)

    def document(self, mint: str, market: MarketState | None = None, quoted_raw: int = 0) -> dict[str, Any] | None:
        """A coin as JSON values, to be traded on `market`; None where it is not known. `quoted_raw`: what is bought."""
        coin = self._coins.get(mint)
        if coin is None:
            return None
        known = self._documents.get(mint)
        if known is None or known[0] is not coin:
            known = self._documents[mint] = coin, _lasting(coin)
        on_curve = market is None or market.venue == "curve"
        return {
            **known[1],
            "venue": "curve" if on_curve else "amm",
            "may_complete": market is not None and _may_complete(market, quoted_raw),
        }

    def likely(self, mint: str, market: MarketState, quoted_raw: int) -> LikelyCoin | None:
        """What `coin` makes of the `document`, without the way over texts where that can be."""
        coin, on_curve = self._coins.get(mint), market.venue == "curve"
        if coin is not None and (coin.pool is None) == on_curve:
            return LikelyCoin(coin, market.venue, _may_complete(market, quoted_raw))
        document = self.document(mint, market, quoted_raw)
        if document is None:
            return None
        return LikelyCoin(self.coin(mint, document), market.venue, document["may_complete"])

    def coin(self, mint: str, document: Mapping[str, Any]) -> Coin:
        """The coin of an order's document, on the venue that it names."""
        known = self._coins.get(mint)
        is_pool = document["venue"] == "amm"
        if known is not None and (known.pool is not None) == is_pool and known.is_cashback == document["is_cashback"]:
            return known
        key, program = Pubkey.from_string(mint), Pubkey.from_string(document["token_program"])
        creator = Pubkey.from_string(document["creator"])
        cashback, mayhem = document["is_cashback"], document["is_mayhem"]
        pool = PumpPool(a.canonical_pool(key), key, creator, program, is_cashback=cashback) if is_pool else None
        return Coin(key, creator, program, is_cashback=cashback, is_mayhem=mayhem, pool=pool)


def is_same_coin(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> bool:
    """Whether two documents make the same accounts of a sale, on the curve and in the pool."""
    return one is not None and all(one[name] == other[name] for name in _LASTING)


def _may_complete(market: MarketState, quoted_raw: int) -> bool:
    return market.venue == "curve" and _NEARLY * quoted_raw > market.real_base_raw


def _lasting(coin: Coin) -> dict[str, Any]:
    values = (str(coin.creator), str(coin.base_token_program), coin.is_cashback, coin.is_mayhem)
    return dict(zip(_LASTING, values, strict=True))


def _is_ours_to_trade(coin: Coin) -> bool:
    """Paid in SOL, on its curve or in the pool that it migrated to: a leader may trade in any pool, even in his own."""
    if coin.quote_mint != WSOL_MINT:
        return False
    return coin.pool is None or coin.pool.address == a.canonical_pool(coin.mint)


def _instruction(tx: RawTransaction, event: Event) -> RawInstruction:
    return tx.outer[event.outer_ix] if event.inner_ix < 0 else tx.inner[event.outer_ix][event.inner_ix]
