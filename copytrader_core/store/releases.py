"""Releases: one consistent set of fingerprints, edges and round trips, written whole and read whole.

Every writing function works inside the caller's transaction and commits nothing: a reader sees a release entirely or
not at all. Not here: how the rows are computed, and what records they make (release_rows.py).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from copytrader_core.records import Release
from copytrader_core.store.release_rows import release_from

CHANNEL: Final = "copytrader_release"
# One publisher at a time; "release" in ASCII.
_LOCK: Final = 0x72656C65617365

# One statement sees one snapshot, whatever transaction the caller is in.
CURRENT: Final = """
SELECT r.release_id, r.as_of::text,
       (SELECT coalesce(json_agg(p ORDER BY p.wallet), '[]') FROM wallet_patterns p),
       (SELECT coalesce(json_agg(e ORDER BY e.leader, e.follower), '[]') FROM follow_edges e),
       (SELECT coalesce(json_agg(i ORDER BY i.leader, i.slots), '[]') FROM leader_inflow i),
       (SELECT coalesce(json_agg(v ORDER BY v.leader), '[]')
        FROM (SELECT leader, min(verdict) AS verdict, min(tier) AS tier, min(rule) AS rule,
                     min(alpha) AS alpha, min(beta) AS beta, coalesce(min(capacity_sol), 0) AS capacity_sol,
                     (array_agg(to_json(state_x)))[1] AS state_x, (array_agg(to_json(state_half_x)))[1] AS state_half_x,
                     json_agg(json_build_array(latency_slots, size_lamports, mean_x, lo_x, landing)
                              ORDER BY latency_slots, size_lamports) AS cells
              FROM copy_value GROUP BY leader) v),
       (SELECT coalesce(json_agg(l ORDER BY l.side, l.slots_late), '[]') FROM landings l)
FROM release_current c JOIN releases r USING (release_id)
"""

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table: the names of their columns, and their values in that order."""

    columns: tuple[str, ...]
    values: Sequence[tuple[Any, ...]]


def load_release(connection: Connection) -> Release:
    """The current release. A wallet without a full fingerprint (no closed trip yet) is not among its patterns.

    Raises StoreError if nothing has been released.
    """
    return release_from(connection.execute(CURRENT).fetchone())


def lock_releases(connection: Connection) -> dt.date | None:
    """Makes this transaction the only publisher and returns the last whole day of the current release, or None.

    That is the day before `as_of` where the release is provisional.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    row = connection.execute(
        "SELECT as_of - (until_slot IS NOT NULL)::int FROM release_current JOIN releases USING (release_id)"
    ).fetchone()
    return row[0] if row else None


def write_release(
    connection: Connection,
    as_of: dt.date,
    content_hash: str,
    patterns: Rows,
    edges: Rows,
    inflow: Rows | None = None,
    values: Rows | None = None,
    exits: Rows | None = None,
    landings: Rows | None = None,
    until_slot: int | None = None,
) -> str:
    """Replaces fingerprints, edges, inflow forecasts, copy values, exits and landings (none for None), moves the
    pointer, tells the listeners.

    They listen on CHANNEL. Returns the release id. The same content of the same day is the same release. With
    `until_slot` it is provisional: its last day is known up to that slot only, and its id says so.
    """
    until = "" if until_slot is None else f"slot{until_slot}-"
    release_id = f"{as_of.isoformat()}-{until}{content_hash[:12]}"
    connection.execute(
        "INSERT INTO releases (release_id, as_of, content_hash, n_patterns, n_edges, until_slot) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (release_id) DO NOTHING",
        (release_id, as_of, content_hash, len(patterns.values), len(edges.values), until_slot),
    )
    tables = {
        "wallet_patterns": patterns,
        "follow_edges": edges,
        "leader_inflow": inflow,
        "copy_value": values,
        "leader_exits": exits,
        "landings": landings,
    }
    for table, rows in tables.items():
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        if rows is None:
            continue
        _copy(connection, table, (*rows.columns, "release_id"), ((*values, release_id) for values in rows.values))
    connection.execute(
        "INSERT INTO release_current (release_id) VALUES (%s) "
        "ON CONFLICT (one) DO UPDATE SET release_id = excluded.release_id",
        (release_id,),
    )
    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, release_id))
    return release_id


def served_days(connection: Connection) -> dict[dt.date, str]:
    """Which days' finished trips Postgres holds, and from which content."""
    return dict(connection.execute("SELECT day, content_hash FROM served_days").fetchall())


def serve_trades(
    connection: Connection,
    served: Mapping[dt.date, str],
    gone: Collection[dt.date],
    finished: Iterable[Rows],
    held: Rows,
) -> None:
    """Replaces the trips that finished on the days of `served`, removes those of `gone`, and replaces all open ones.

    `finished` rows carry `close_day`; a served day without rows is a day without an end. The names become the wallets'
    present ones.
    """
    replaced = [*served, *gone]
    connection.execute("DELETE FROM trades WHERE status = 'OPEN' OR close_day = ANY(%s)", (replaced,))
    connection.execute("DELETE FROM served_days WHERE day = ANY(%s)", (replaced,))
    for rows in [*finished, held]:
        _copy(connection, "trades", rows.columns, rows.values)
    _copy(connection, "served_days", ("day", "content_hash"), served.items())
    connection.execute(
        "UPDATE trades t SET alias = w.alias FROM wallets w "
        "WHERE w.wallet = t.wallet AND w.alias IS DISTINCT FROM t.alias AND w.alias IS NOT NULL"
    )


def _copy(connection: Connection, table: str, columns: Iterable[str], values: Iterable[tuple[Any, ...]]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in values:
            copy.write_row(row)
