"""The planted market slot by slot, with others trading in its blocks, and blocks of it taken back.

The script and the cast are `simnet.market`'s; when a slot comes and who else trades is `simnet.live_chain`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from solders.account import Account
from solders.pubkey import Pubkey

from copytrader_core.geyser.copytrader_geyser_pb2 import SubscribeUpdateBlock
from copytrader_core.pump import addresses as a
from copytrader_core.pump.instructions import CurveCoin, PumpPool
from simnet.bank import SLOT_MS
from simnet.bytecode import Snapshot
from simnet.desk import Coin, Order, keypair
from simnet.market import Landed, LiveCoin, Market
from simnet.plan import Session

__all__ = ["LiveMarket"]

_ENTRIES_A_MINUTE = 0.39
_CREATOR_AT = 49
_AHEAD_SLIPPAGE_BPS = 9_000
_MIGRATION_S = (4.0, 12.0)


@dataclass(slots=True)
class _Made:
    """The market's own part of a block, for taking it back."""

    orders: list[Order] = field(default_factory=list)
    n_events: int = 0
    n_transactions: int = 0
    n_failed: int = 0


class LiveMarket(Market):
    """`act` moves the market's clock by a slot, `produce` makes a block of what it wants and what `others` do.

    While `is_paused` nobody of the market does anything and its clock stands.
    """

    def __init__(self, seed: int, start: int, minutes: float, snapshot: Snapshot | None, undo_blocks: int) -> None:
        session, entries = Session(start, minutes), max(1, round(_ENTRIES_A_MINUTE * minutes))
        super().__init__(seed, [session], [entries], snapshot, undo_blocks)
        self.is_paused = False
        self._made: list[_Made] = []
        self._undo_blocks = undo_blocks
        self._open(session, entries)

    @property
    def coins(self) -> list[Coin]:
        """The coins that exist, oldest first."""
        return [live.coin for live in self._lives()]

    def act(self) -> None:
        """One slot of the market's time: everybody looks at the last block and does what is due."""
        if not self.is_paused:
            self._look_around()
            self._agenda.advance()

    def delay_migrations(self, slots: int) -> None:
        """Lets finished curves wait so many slots more for somebody to move them."""
        more = slots * SLOT_MS / 1000
        self.migration_s = (_MIGRATION_S[0] + more, _MIGRATION_S[1] + more)

    def produce(self, slot: int, others: Callable[[], None]) -> SubscribeUpdateBlock:
        """The block of a slot: half of the market's orders, the others' transactions, the rest."""
        self.bank.begin_block(slot)
        self._made.append(_Made([], len(self.truth.events), self.truth.n_transactions, self.truth.n_failed))
        del self._made[: -(self._undo_blocks + 1)]
        landing: list[tuple[Order, Landed | None]] = []
        if not self.is_paused:
            landing, self._landing = self._landing, []
        middle = (len(landing) + 1) // 2
        for order, landed in landing[:middle]:
            self._put(order, landed)
        others()
        for order, landed in landing[middle:]:
            self._put(order, landed)
        self.truth.n_blocks += 1
        return self.bank.end_block()

    def take_back(self) -> None:
        """Takes the newest block back; what the market did in it comes again in the next one, signed anew."""
        self.bank.undo_block()
        made = self._made.pop()
        del self.truth.events[made.n_events :]
        self.truth.n_transactions, self.truth.n_failed = made.n_transactions, made.n_failed
        self.truth.n_blocks -= 1
        self._landing[:0] = [(order, None) for order in made.orders]

    # --- what can be made to happen -----------------------------------------------------------------------------------

    def coin_among(self, keys: Iterable[Pubkey]) -> Coin | None:
        """The coin whose curve or pool is among these accounts."""
        wanted = set(keys)
        for live in self._lives():
            if wanted & {a.bonding_curve(live.coin.mint), live.coin.pool.address}:
                return live.coin
        return None

    def buy_ahead(self, coin: Coin, share: float) -> None:
        """Somebody of the crowd buys now, for a share of the coin's quote reserves."""
        wallet = next(w for w in self.cast.crowd if w.version == "v3_exact" and w.wire == "v0")
        spend = round(self.desk.reserves(coin).quote * share)
        self._put(self.desk.buy(wallet, coin, spend, _AHEAD_SLIPPAGE_BPS), None)
        self._notice(coin)

    def complete_a_curve(self) -> bool:
        """Somebody buys all that the newest open curve still sells; False where none is open."""
        for live in reversed(self._lives()):
            reserves = self.desk.reserves(live.coin)
            if not (live.coin.migrated or reserves.complete):
                self.buy_ahead(live.coin, 1.02 * reserves.left / (reserves.base - reserves.left))
                return True
        return False

    def change_a_creator(self) -> bool:
        """The newest open curve gets another creator, as a takeover does; False where none is open."""
        for live in reversed(self._lives()):
            account = self.bank.svm.get_account(a.bonding_curve(live.coin.mint))
            if account is not None and not live.coin.migrated:
                self._set_creator(live.coin, account)
                return True
        return False

    def _set_creator(self, coin: Coin, account: Account) -> None:
        creator = keypair(self._seed, f"taker of {coin.mint} from {coin.curve.creator}").pubkey()
        data = bytes(account.data)
        data = data[:_CREATOR_AT] + bytes(creator) + data[_CREATOR_AT + 32 :]
        self.bank.write(a.bonding_curve(coin.mint), Account(account.lamports, data, account.owner))
        coin.curve = CurveCoin(coin.mint, creator)
        coin.pool = PumpPool(coin.pool.address, coin.mint, creator)

    def _lives(self) -> list[LiveCoin]:
        return [live for live in self._live.values() if self.bank.data(a.bonding_curve(live.coin.mint))]

    def _notice(self, coin: Coin) -> None:
        self._touched.update(number for number, live in self._live.items() if live.coin is coin)

    def _put(self, order: Order, landed: Landed | None) -> None:
        # A fork that was left, or a wait, may have outlived the blockhash: the sender signs again, as bots do.
        if not self.bank.lives(order.transaction):
            order = self.desk.again(order)
        self._made[-1].orders.append(order)
        self._land(order, landed)
