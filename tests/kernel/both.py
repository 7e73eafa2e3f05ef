"""The same transactions by kernel and by decoder, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError as ProtobufError

from copytrader_core.errors import DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import Decoded, decode
from copytrader_core.store import raw_events
from ingest_worker.kernel import wire
from ingest_worker.kernel.lane import Landed, Lane
from ingest_worker.messages import SlotTransaction, SlotTransactions

SLOT, BLOCK_TIME = 460_000_000, 1_795_000_000
TS_NS = BLOCK_TIME * 10**9

Row = tuple[Any, ...]


def landed(lane: Lane, raws: Sequence[bytes]) -> Landed:
    """What the kernels make of transactions of one slot, each given as the bytes of its info; in block order."""
    together = SlotTransactions.joined([one(raw) for raw in raws])
    return lane.land(together.raw, together.where, SLOT, TS_NS)


def one(raw: bytes) -> SlotTransaction:
    """A transaction where it lies in its bytes."""
    where = np.zeros(5, np.int64)
    wire.scan_info(np.frombuffer(raw, np.uint8), 0, len(raw), where)
    return SlotTransaction(raw, 0, len(raw), int(where[wire.TX_SIGNATURE]), int(where[wire.TX_INDEX]), 7)


def rows_by_kernel(found: Landed) -> dict[str, list[Row]]:
    """The rows by signature, each in the order of its path."""
    rows: dict[str, list[Row]] = {}
    for row in found.rows.rows():
        rows.setdefault(row[4], []).append(row)
    return {sig: sorted(them, key=lambda row: row[5:8]) for sig, them in rows.items()}


def by_decoder(raw: bytes) -> Decoded | None:
    """What the decoder says; None where the transaction failed, or is none at all."""
    try:
        info = pb.SubscribeUpdateTransactionInfo.FromString(raw)
        if info.is_vote or info.meta.HasField("err"):
            return None
        return decode(transaction_from_update(info, SLOT, BLOCK_TIME))
    except (ProtobufError, DecodeError):
        return None


def rows_by_decoder(decoded: Decoded | None) -> list[Row]:
    """The rows as they are stored, in the order of their paths."""
    rows = [raw_events.row(e, ts_ns=TS_NS, recv_ts_ns=7, alias=None) for e in decoded.events] if decoded else []
    return [tuple(_as_json(v) if isinstance(v, dict | list) else v for v in row) for row in rows]


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))
