"""How fast recorded transactions become rows: the wire, the neutral form, the events; and all of it by kernel."""

from __future__ import annotations

from benchmarks.measure import Measured, race
from copytrader_core.geyser.copytrader_geyser_pb2 import SubscribeUpdate, SubscribeUpdateBlock
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.store.raw_events import row
from ingest_worker.kernel.lane import LEFT, Lane
from ingest_worker.messages import Block
from ingest_worker.messages import parse as parse_message
from simnet.demo_tape import TAPE
from simnet.tape import read_tape

_TRANSACTIONS = 3_000


def run() -> list[Measured]:
    """Parse only; parse and neutral form; parse to rows. All on the same transactions of the committed tape."""
    blocks: list[bytes] = []
    count = 0
    for block in read_tape(TAPE).blocks:
        blocks.append(block.SerializeToString())
        count += len(block.transactions)
        if count >= _TRANSACTIONS:
            break

    def parse() -> int:
        return sum(len(SubscribeUpdateBlock.FromString(data).transactions) for data in blocks)

    def neutral() -> int:
        done = 0
        for data in blocks:
            parsed = SubscribeUpdateBlock.FromString(data)
            done += len([transaction_from_update(info, parsed.slot) for info in parsed.transactions])
        return done

    def rows() -> int:
        done = 0
        for data in blocks:
            parsed = SubscribeUpdateBlock.FromString(data)
            for info in parsed.transactions:
                decoded = decode(transaction_from_update(info, parsed.slot, parsed.block_time.timestamp))
                _ = [row(event, ts_ns=0, recv_ts_ns=0, alias=None) for event in decoded.events]
                done += 1
        return done

    updates = [SubscribeUpdate(block=SubscribeUpdateBlock.FromString(data)).SerializeToString() for data in blocks]
    lane = Lane()
    lane.warm()

    def kernels() -> int:
        done = 0
        for data in updates:
            block = parse_message(data)
            assert isinstance(block, Block)
            transactions = block.transactions(0)
            landed = lane.land(transactions.raw, transactions.where, block.slot, 0)
            done += int((landed.status != LEFT).sum())
        return done

    contenders = {"parse the wire": parse, "+ neutral form": neutral, "+ events and rows": rows}
    return race({**contenders, "by kernel, to COPY format": kernels}, "transactions")
