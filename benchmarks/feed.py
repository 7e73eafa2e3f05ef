"""The feed that ingestion is measured on: real transactions, each again and again as another one, in full blocks."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.addresses import AMM_PROGRAM, PUMP_PROGRAM
from copytrader_core.pump.decode import decode
from simnet.demo_tape import TAPE
from simnet.tape import TapeWriter, read_tape

_RECORDED = Path(__file__).resolve().parents[2] / "shared" / "recorded" / "yellowstone"
_PROGRAMS = frozenset({bytes(PUMP_PROGRAM), bytes(AMM_PROGRAM)})
_FIRST_SLOT = 460_000_000
_BLOCK_TIME = 1_795_000_000


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
    kinds = [info for info in (recorded() if source == "recorded" else committed()) if _is_ours(info)]
    n_events = [_rows(info) for info in kinds]
    order = itertools.cycle(range(len(kinds)))
    n_rows = n_landed = n_bytes = 0
    with TapeWriter(path, {"slot_ms": 400}, level=1) as writer:
        for slot in range(_FIRST_SLOT, _FIRST_SLOT + n_slots):
            block = _block(slot)
            for index in range(per_slot):
                kind = next(order)
                _add(block, kinds[kind], index)
                n_rows += n_events[kind]
                n_landed += not kinds[kind].meta.HasField("err")
            n_bytes += block.ByteSize()
            writer.write(block)
    return Feed(path, _FIRST_SLOT, slot, n_slots * per_slot, n_landed, n_rows, n_bytes)


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


def _rows(info: pb.SubscribeUpdateTransactionInfo) -> int:
    if info.is_vote or info.meta.HasField("err"):
        return 0
    return len(decode(transaction_from_update(info, _FIRST_SLOT, _BLOCK_TIME)).events)


def _block(slot: int) -> pb.SubscribeUpdateBlock:
    return pb.SubscribeUpdateBlock(
        slot=slot,
        blockhash=f"hash-{slot}",
        parent_slot=slot - 1,
        parent_blockhash=f"hash-{slot - 1}",
        block_time=pb.UnixTimestamp(timestamp=_BLOCK_TIME + (slot - _FIRST_SLOT) * 2 // 5),
        block_height=pb.BlockHeight(block_height=slot - 1_000),
    )


def _add(block: pb.SubscribeUpdateBlock, info: pb.SubscribeUpdateTransactionInfo, index: int) -> None:
    added = block.transactions.add()
    added.CopyFrom(info)
    added.index = index
    added.signature = hashlib.sha512(f"{block.slot} {index}".encode()).digest()
    if added.transaction.signatures:
        added.transaction.signatures[0] = added.signature


def sources() -> Iterator[str]:
    """The feeds that can be had here, the more realistic one first."""
    if recorded():
        yield "recorded"
    yield "tape"
