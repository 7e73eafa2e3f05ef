"""The feed that ingestion is measured on: real transactions, each again and again, every time on another coin.

On the same coin each would begin where it began before: a stream with a hole before every trade, which no chain sends.
"""

from __future__ import annotations

import hashlib
import itertools
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.addresses import AMM_PROGRAM, PUMP_PROGRAM
from copytrader_core.pump.decode import decode
from copytrader_core.solana.base58 import address_text
from simnet.demo_tape import TAPE
from simnet.tape import TapeWriter, read_tape

_RECORDED = Path(__file__).resolve().parents[2] / "shared" / "recorded" / "yellowstone"
_PROGRAMS = frozenset({bytes(PUMP_PROGRAM), bytes(AMM_PROGRAM)})
_FIRST_SLOT = 460_000_000
_BLOCK_TIME = 1_795_000_000
_MOVED = frozenset({"pool", "mint"})
_DATA = "Program data: "


@dataclass(frozen=True, slots=True)
class Feed:
    """A tape and what must be in the tables when all of it has been landed. `n_landed`: that are no failed ones."""

    tape: Path
    first_slot: int
    last_slot: int
    n_transactions: int
    n_landed: int
    n_rows: int
    n_bytes: int


def write_feed(path: Path, source: str, n_slots: int, per_slot: int) -> Feed:
    """A tape of `n_slots` slots with `per_slot` transactions each, all of them different by their signature.

    `source`: `recorded` (mainnet transactions beside the checkout, where there are any) or `tape` (the committed one).
    """
    kinds = [_kind(info) for info in (recorded() if source == "recorded" else committed()) if _is_ours(info)]
    order = itertools.cycle(kinds)
    n_rows = n_landed = n_bytes = 0
    with TapeWriter(path, {"slot_ms": 400}, level=1) as writer:
        for slot in range(_FIRST_SLOT, _FIRST_SLOT + n_slots):
            block = _block(slot)
            for index in range(per_slot):
                kind = next(order)
                _add(block, kind, index)
                n_rows += kind.n_rows
                n_landed += not kind.info.meta.HasField("err")
            n_bytes += block.ByteSize()
            writer.write(block)
    return Feed(path, _FIRST_SLOT, slot, n_slots * per_slot, n_landed, n_rows, n_bytes)


class _Kind(NamedTuple):
    """A transaction, the rows it gives, and the coins and pools that its trades move."""

    info: pb.SubscribeUpdateTransactionInfo
    n_rows: int
    moved: tuple[bytes, ...]


def recorded() -> list[pb.SubscribeUpdateTransactionInfo]:
    """The recorded mainnet transactions, empty where there are none."""
    updates = [pb.SubscribeUpdate.FromString(path.read_bytes()) for path in sorted(_RECORDED.glob("*.pb"))]
    return [info for update in updates if (info := update.transaction.transaction).transaction.message.account_keys]


def committed() -> list[pb.SubscribeUpdateTransactionInfo]:
    """The transactions of the committed tape."""
    return [info for block in read_tape(TAPE).blocks for info in block.transactions]


def _is_ours(info: pb.SubscribeUpdateTransactionInfo) -> bool:
    """Whether the worker's filter lets it through."""
    meta = info.meta
    keys = (*info.transaction.message.account_keys, *meta.loaded_writable_addresses, *meta.loaded_readonly_addresses)
    return not _PROGRAMS.isdisjoint(keys)


def _kind(info: pb.SubscribeUpdateTransactionInfo) -> _Kind:
    if info.is_vote or info.meta.HasField("err"):
        return _Kind(info, 0, ())
    decoded = decode(transaction_from_update(info, _FIRST_SLOT, _BLOCK_TIME))
    named = [
        seen.values["pool" if "pool" in seen.values else "mint"] for seen in decoded.seen if _MOVED & set(seen.values)
    ]
    return _Kind(info, len(decoded.events), tuple(dict.fromkeys(named)))


def _block(slot: int) -> pb.SubscribeUpdateBlock:
    return pb.SubscribeUpdateBlock(
        slot=slot,
        blockhash=f"hash-{slot}",
        parent_slot=slot - 1,
        parent_blockhash=f"hash-{slot - 1}",
        block_time=pb.UnixTimestamp(timestamp=_BLOCK_TIME + (slot - _FIRST_SLOT) * 2 // 5),
        block_height=pb.BlockHeight(block_height=slot - 1_000),
    )


def _add(block: pb.SubscribeUpdateBlock, kind: _Kind, index: int) -> None:
    added = block.transactions.add()
    added.CopyFrom(kind.info)
    for key in kind.moved:
        _rename(added, key, hashlib.sha256(key + f"{block.slot} {index}".encode()).digest())
    added.index = index
    added.signature = hashlib.sha512(f"{block.slot} {index}".encode()).digest()
    if added.transaction.signatures:
        added.transaction.signatures[0] = added.signature


def _rename(info: pb.SubscribeUpdateTransactionInfo, old: bytes, new: bytes) -> None:
    """Another address of the same length in all places: accounts, events, balances and logs."""
    info.ParseFromString(info.SerializeToString().replace(old, new))
    old_text, new_text = address_text(old), address_text(new)
    for balance in (*info.meta.pre_token_balances, *info.meta.post_token_balances):
        balance.mint = new_text if balance.mint == old_text else balance.mint
        balance.owner = new_text if balance.owner == old_text else balance.owner
    for at, line in enumerate(info.meta.log_messages):
        if line.startswith(_DATA):
            data = b64decode(line.removeprefix(_DATA))
            if old in data:
                info.meta.log_messages[at] = _DATA + b64encode(data.replace(old, new)).decode()


def sources() -> Iterator[str]:
    """The feeds that can be had here, the more realistic one first."""
    if recorded():
        yield "recorded"
    yield "tape"
