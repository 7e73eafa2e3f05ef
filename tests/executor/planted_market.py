"""A small planted market for the executor's tests: curves that trade exactly, as the stream would show them."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field

import psycopg
from solders.pubkey import Pubkey

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.policy.market import MarketState
from copytrader_core.pump import curve
from copytrader_core.pump.addresses import PUMP_EVENT_AUTHORITY, PUMP_PROGRAM
from copytrader_core.pump.fees import Fees
from copytrader_core.settings import Settings

T0 = 1_791_800_000  # 2026-10-12
FIRST_SLOT = 1_000
FEES = Fees(0, 95, 30)
LEADER, OTHER = "leader", "somebody"
_EVENT_CALL = bytes.fromhex("e445a52e51cb9a1d")
_TRADE = bytes.fromhex("bddb7fd34ee661ee")
_BUY, _SELL = bytes.fromhex("38fc74089edfcd5f"), bytes.fromhex("33e685a4017f83ad")


def key(name: str) -> bytes:
    """The address of a named wallet or coin."""
    return hashlib.sha256(name.encode()).digest()


def address(name: str) -> str:
    return str(Pubkey(key(name)))


def signature_of(slot: int, index: int) -> bytes:
    return hashlib.sha512(f"{slot}/{index}".encode()).digest()


@dataclass
class World:
    """Blocks in the making. Curves start new; every trade moves its curve by the program's own arithmetic."""

    slot: int = FIRST_SLOT
    start_time: int = T0
    blocks: list[pb.SubscribeUpdateBlock] = field(default_factory=list)
    curves: dict[str, curve.CurveState] = field(default_factory=dict)
    history: dict[str, list[tuple[int, curve.CurveState]]] = field(default_factory=dict)
    _txs: list[pb.SubscribeUpdateTransactionInfo] = field(default_factory=list)

    def buy(self, who: str, coin: str, sol: float) -> curve.CurveQuote:
        quote = curve.buy_exact_in(self.state(coin), FEES, int(sol * 1_000_000_000))
        self._trade(who, coin, quote, True)
        return quote

    def sell(self, who: str, coin: str, tokens: int) -> curve.CurveQuote:
        quote = curve.sell(self.state(coin), FEES, tokens)
        self._trade(who, coin, quote, False)
        return quote

    def complete(self, who: str, coin: str) -> None:
        """Somebody buys all that the curve has left."""
        state = self.state(coin)
        self._trade(who, coin, curve.buy_exact_out(state, FEES, state.real_base), True)

    def next(self, slots: int = 1) -> None:
        """Ends the block; slots without trades are blocks too."""
        for _ in range(slots):
            block = pb.SubscribeUpdateBlock(
                slot=self.slot,
                blockhash=f"hash-{self.slot}",
                parent_slot=self.slot - 1,
                parent_blockhash=f"hash-{self.slot - 1}",
                block_time=pb.UnixTimestamp(timestamp=self.time),
                block_height=pb.BlockHeight(block_height=self.slot),
                executed_transaction_count=len(self._txs),
                transactions=self._txs,
            )
            self.blocks.append(block)
            self._txs = []
            self.slot += 1

    def skip(self, slots: int) -> None:
        """Slots without a block."""
        self.slot += slots

    @property
    def time(self) -> int:
        return self.start_time + (self.slot - FIRST_SLOT) * 2 // 5

    def state(self, coin: str) -> curve.CurveState:
        return self.curves.get(coin, curve.INITIAL_SOL_CURVE)

    def market_at(self, coin: str, slot: int) -> MarketState:
        """The coin's market at the end of `slot`."""
        at, state = [entry for entry in self.history[coin] if entry[0] <= slot][-1]
        return MarketState(
            venue="curve",
            pool=None,
            slot=at,
            tx_index=0,
            base_raw=state.virtual_base,
            quote_raw=state.virtual_quote,
            real_base_raw=state.real_base,
            real_quote_raw=state.real_quote,
            lp_fee_bps=0,
            protocol_fee_bps=95,
            creator_fee_bps=30,
            complete=state.real_base == 0,
        )

    def updates(self) -> list[pb.SubscribeUpdate]:
        """The stream at processed: transactions one by one, then the block meta."""
        found = []
        for block in self.blocks:
            for tx in block.transactions:
                found.append(pb.SubscribeUpdate(transaction={"transaction": tx, "slot": block.slot}))
            meta = pb.SubscribeUpdateBlockMeta(slot=block.slot, block_time=block.block_time)
            found.append(pb.SubscribeUpdate(block_meta=meta))
        return found

    def _trade(self, who: str, coin: str, quote: curve.CurveQuote, is_buy: bool) -> None:
        self.curves[coin] = quote.after
        self.history.setdefault(coin, []).append((self.slot, quote.after))
        index = len(self._txs)
        info = pb.SubscribeUpdateTransactionInfo(signature=signature_of(self.slot, index), index=index)
        message = info.transaction.message
        message.header.num_required_signatures = 1
        message.account_keys.extend([key(who), key(coin), bytes(PUMP_PROGRAM), bytes(PUMP_EVENT_AUTHORITY)])
        data = (_BUY if is_buy else _SELL) + bytes(16)
        message.instructions.append(pb.CompiledInstruction(program_id_index=2, accounts=b"\0\1", data=data))
        inner = info.meta.inner_instructions.add(index=0)
        event = _EVENT_CALL + _TRADE + self._event(who, coin, quote, is_buy)
        inner.instructions.add(program_id_index=2, accounts=b"\3", data=event, stack_height=2)
        info.meta.fee = 5_000
        info.meta.pre_balances.extend([10**12] * 4)
        info.meta.post_balances.extend([10**12] * 4)
        info.meta.log_messages_none = True
        self._txs.append(info)

    def _event(self, who: str, coin: str, quote: curve.CurveQuote, is_buy: bool) -> bytes:
        after, q64 = quote.after, struct.Struct("<Q").pack
        name = b"buy_exact_sol_in" if is_buy else b"sell"
        return b"".join(
            [
                *(key(coin), q64(quote.quote_net), q64(quote.base_raw), bytes([is_buy]), key(who), q64(self.time)),
                *(q64(after.virtual_quote), q64(after.virtual_base), q64(after.real_quote), q64(after.real_base)),
                *(key("fees"), q64(95), q64(quote.protocol_fee), key("creator"), q64(30), q64(quote.creator_fee)),
                *(b"\0", q64(0) * 4, struct.pack("<I", len(name)), name, b"\0", q64(0) * 4, struct.pack("<I", 0)),
                *(bytes(32), q64(quote.quote_net), q64(after.virtual_quote), q64(after.real_quote), q64(0) * 3),
            ]
        )


def settings(**executor: int | float) -> Settings:
    """The defaults, with other values for the executor's section where given."""
    return Settings(executor=executor)


def publish(
    url: str, release_id: str = "r1", leaders: tuple[str, ...] = (LEADER,), style: str = "time_stop", **pattern: float
) -> None:
    """Releases `leaders` with one fingerprint: 0.75 SOL entries, out after 6 s, killed at 20 s."""
    values = {"sample_trades": 80, "win_rate": 0.7, "avg_entry_sol": 1.0, "p50_hold_ms": 10_000, "p90_hold_ms": 20_000}
    values |= {"p50_target_x": 1.5, "p90_target_x": 3.0, "slippage_pctl_95": 0.05} | pattern
    names = ", ".join(values)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO releases (release_id, as_of, content_hash, n_patterns, n_edges) VALUES (%s, now(), 'x', 1, 0)",
            (release_id,),
        )
        connection.execute("DELETE FROM wallet_patterns")
        for leader in leaders:
            connection.execute(
                "INSERT INTO wallet_patterns (wallet, alias, sample_days, typical_exit_style, as_of, release_id,"
                f" {names})"
                f" VALUES (%s, %s, 20, %s, now(), %s, {', '.join(['%s'] * len(values))})",
                (address(leader), leader, style, release_id, *values.values()),
            )
        connection.execute(
            "INSERT INTO release_current (release_id) VALUES (%s) "
            "ON CONFLICT (one) DO UPDATE SET release_id = excluded.release_id",
            (release_id,),
        )
        connection.execute("SELECT pg_notify('copytrader_release', %s)", (release_id,))
