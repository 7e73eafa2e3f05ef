"""Chain time of rows whose block time was not known when they were made. Estimating it is the worker's."""

from __future__ import annotations

from collections.abc import Collection

import psycopg

__all__ = ["settle"]


def settle(connection: psycopg.Connection, slots: Collection[int]) -> int:
    """Gives the rows of `slots` the block time of their slot, where that is known by now. Returns how many it changed.

    A slot may come in pieces of which some were landed on an estimate, before, after and together with its block time.
    """
    if not slots:
        return 0
    return connection.execute(
        "UPDATE raw_events r SET ts_ns = s.block_time * 1000000000 FROM ingest_slots s"
        " WHERE s.slot = ANY(%s) AND s.block_time IS NOT NULL"
        " AND r.slot = s.slot AND r.ts_ns <> s.block_time * 1000000000",
        (sorted(slots),),
    ).rowcount
