"""Which coins tracked wallets have traded, read off the rows themselves. What a scope keeps is the worker's."""

from __future__ import annotations

import psycopg

__all__ = ["touched_mints"]

# Wallet by wallet, so that the index on (wallet, ts_ns) serves each.
_TOUCHED = """
SELECT DISTINCT coins.mint
FROM wallets w
CROSS JOIN LATERAL (
    SELECT DISTINCT unnest(CASE r.action WHEN 'SWAP' THEN ARRAY[r.mint, r.quote_mint] ELSE ARRAY[r.mint] END) AS mint
    FROM raw_events r WHERE r.wallet = w.wallet
) AS coins
WHERE w.is_tracked AND coins.mint IS NOT NULL
"""


def touched_mints(connection: psycopg.Connection) -> set[str]:
    """Every mint of which `raw_events` holds an event of a wallet that is tracked now."""
    return {mint for (mint,) in connection.execute(_TOUCHED)}
