"""Which buys followed whom: for each follower's buy the leader of a validated edge that came before it.

A buy followed a leader if the leader bought the same coin before it in chain order and at most the horizon earlier; of
several leaders the one that bought last, and of its buys the last one. Every BUY counts, not only a wallet's first of a
coin. Not here: writing it down (assets/leader_links.py).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from copytrader_assets.analysis.columns import flags, ints
from copytrader_assets.analysis.grouped import Ints

LINKED_COLUMNS = (
    "slot",
    "tx_index",
    "outer_ix",
    "inner_ix",
    "event_seq",
    "sig",
    "wallet",
    "mint",
)
LINKS_SCHEMA = pa.schema(
    [
        pa.field("sig", pa.string(), nullable=False),
        pa.field("outer_ix", pa.int32(), nullable=False),
        pa.field("inner_ix", pa.int32(), nullable=False),
        pa.field("event_seq", pa.int32(), nullable=False),
        pa.field("follower", pa.string(), nullable=False),
        pa.field("leader_wallet", pa.string(), nullable=False),
        pa.field("leader_sig", pa.string(), nullable=False),
        pa.field("mint", pa.string(), nullable=False),
        pa.field("lag_slots", pa.int64(), nullable=False),
    ]
)
_UNKNOWN = -1


def leader_links(buys: pa.Table, edges: pa.Table, horizon: int) -> pa.Table:
    """The follower buys among the BUY rows `buys` (LINKED_COLUMNS) as LINKS_SCHEMA, in the order of `buys`.

    `edges`: leader and follower of every validated edge; `horizon` in slots. Two buys of one transaction, or of one
    slot where the place in it is unknown, have no order.
    """
    names = pa.array(sorted({*edges["leader"].to_pylist(), *edges["follower"].to_pylist()}), pa.string())
    buys = buys.filter(pa.array(flags(pc.is_in(buys["wallet"], names)) & flags(pc.is_valid(buys["mint"]))))
    buys = buys.sort_by([(name, "ascending") for name in ("slot", "tx_index", "outer_ix", "inner_ix", "event_seq")])
    leads = _leads(edges, names)
    wallet = pc.index_in(buys["wallet"], names).to_numpy()
    coins = pc.unique(buys["mint"])
    mint = pc.index_in(buys["mint"], coins).to_numpy()
    at, source = _last_leader(wallet, mint, ints(buys, "slot"), ints(buys, "tx_index", null=_UNKNOWN), leads, horizon)
    rows, led = buys.take(pa.array(at)), buys.take(pa.array(source))
    keys = [rows[name] for name in ("sig", "outer_ix", "inner_ix", "event_seq")]
    lag = ints(rows, "slot") - ints(led, "slot")
    columns = [*keys, rows["wallet"], led["wallet"], led["sig"], rows["mint"], pa.array(lag)]
    return pa.table(columns, names=LINKS_SCHEMA.names).cast(LINKS_SCHEMA)


def _leads(edges: pa.Table, names: pa.Array) -> dict[int, set[int]]:
    """The leaders of each follower, as places in `names`."""
    leads: dict[int, set[int]] = {}
    pairs = (pc.index_in(edges[side], names).to_pylist() for side in ("leader", "follower"))
    for leader, follower in zip(*pairs, strict=True):
        leads.setdefault(follower, set()).add(leader)
    return leads


def _last_leader(
    wallet: Ints, mint: Ints, slot: Ints, tx: Ints, leads: dict[int, set[int]], horizon: int
) -> tuple[Ints, Ints]:
    """(row, row of the leader's buy) of every buy that followed one: back from it through the coin's earlier buys."""
    order = np.lexsort((np.arange(len(mint)), mint))
    found: list[tuple[int, int]] = []
    for place, row in enumerate(order.tolist()):
        mine = leads.get(int(wallet[row]))
        back = place - 1
        while mine and back >= 0:
            other = int(order[back])
            if mint[other] != mint[row] or slot[row] - slot[other] > horizon:
                break
            if int(wallet[other]) in mine and (slot[other], tx[other]) != (slot[row], tx[row]):
                found.append((row, other))
                break
            back -= 1
    pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
