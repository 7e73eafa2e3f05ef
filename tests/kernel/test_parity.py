"""What the kernels write is what the decoder says; what they cannot write they leave."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from both import by_decoder, landed, rows_by_decoder, rows_by_kernel

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.pump.drift import examine
from copytrader_core.solana.base58 import signature_text
from ingest_worker.kernel.lane import DONE, LEFT


def signature(raw: bytes) -> str:
    return signature_text(pb.SubscribeUpdateTransactionInfo.FromString(raw).signature)


def place(raw: bytes) -> int:
    return pb.SubscribeUpdateTransactionInfo.FromString(raw).index


def compare(lane, raws: list[bytes]) -> Counter:
    """Compares every transaction that is not left; counts what became of them."""
    counts: Counter = Counter()
    for start in range(0, len(raws), 500):
        part = sorted(raws[start : start + 500], key=place)
        found = landed(lane, part)
        rows = rows_by_kernel(found)
        for raw, status in zip(part, found.status.tolist(), strict=True):
            counts[status] += 1
            if status != LEFT:
                decoded = by_decoder(raw)
                assert rows.get(signature(raw), []) == rows_by_decoder(decoded)
                assert decoded is None or not decoded.problems
                assert decoded is None or not examine(decoded, "sig")
    return counts


def test_the_tape_by_kernel_is_the_tape_by_decoder(lane, taped):
    counts = compare(lane, taped)
    assert counts[LEFT] < len(taped) // 200


def test_recorded_transactions_by_kernel_are_those_by_decoder(lane, recorded):
    counts = compare(lane, recorded)
    assert counts[DONE] >= 19


def test_a_router_whose_purse_was_met_once_is_taken_from_then_on(lane, recorded):
    (raw,) = [raw for raw in recorded if signature(raw).startswith("2zNeSn8cJp")]
    decoded = by_decoder(raw)
    lane.met([seen.values["user"] for seen in decoded.seen])
    found = landed(lane, [raw])
    assert found.status.tolist() == [DONE]
    assert rows_by_kernel(found)[signature(raw)] == rows_by_decoder(decoded)


def damaged(raw: bytes, rng: random.Random) -> bytes:
    at, n = rng.randrange(len(raw)), rng.randrange(1, 40)
    kind = rng.randrange(5)
    if kind == 0:
        return raw[:at]
    if kind == 1:
        return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
    if kind == 2:
        return raw[:at] + raw[at + n :]
    if kind == 3:
        return raw[:at] + rng.randbytes(n) + raw[at:]
    other = rng.randrange(len(raw))
    return raw[:at] + raw[other : other + n] + raw[at + n :]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_transactions_give_the_decoders_rows_or_are_left(lane, taped, seed):
    rng = random.Random(seed)
    raws = rng.sample(taped, 1000)
    hurt = [damaged(raw, rng) for raw in raws]
    for raw, bad in zip(raws, hurt, strict=True):
        found = landed(lane, [bad])
        if found.status[0] == DONE:
            rows = [row for rows in rows_by_kernel(found).values() for row in rows]
            # Where protobuf refuses bytes that no row is made of, the row must be the undamaged one's.
            assert rows == rows_by_decoder(by_decoder(bad)) or rows == rows_by_decoder(by_decoder(raw))


def test_more_than_fits_at_once_is_landed_all_the_same(lane, taped):
    raws = taped * 3
    found = landed(lane, raws)
    assert (found.status != LEFT).sum() > 0.99 * len(raws)
    assert len(found.rows) == sum(len(rows) for rows in rows_by_kernel(found).values())
