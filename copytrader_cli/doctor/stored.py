"""What is stored: the database, the lake, the executor's journal. Nothing is started, migrated or repaired."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg

from copytrader_cli.doctor.finding import Finding, fail, ok, one_line, warn
from copytrader_core.errors import CopytraderError
from copytrader_core.settings import Settings
from copytrader_core.store.migrations import newest_version
from copytrader_core.store.postgres import embedded, plain_url
from copytrader_core.store.roles import ROLES
from executor.control import read_control
from executor.journal_view import JournalView, writer_of

__all__ = ["database", "journals", "lake"]

_OLDEST_SERVER: Final = 150_000
_GIB: Final = 2**30
_LEAST_BYTES: Final = 2 * _GIB
_IS_OWNER: Final = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'schema_info'::regclass"
_GROUPS: Final = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND pg_has_role(oid, 'USAGE') ORDER BY 1"


def database(settings: Settings) -> Iterator[Finding]:
    """Reachable, new enough, migrated, by whom, and what stands open in it."""
    given = settings.database_url
    try:
        url = plain_url(given) if given else embedded().last_url()
        if url is None:
            yield warn("database", "none yet", "`copytrader db url` starts the embedded one, or set DATABASE_URL")
            return
        connection = psycopg.connect(url, autocommit=True, connect_timeout=5, options="-c timezone=UTC")
    except CopytraderError as error:
        yield fail("database", one_line(error), "set DATABASE_URL to a Postgres of version 15 or newer")
        return
    except psycopg.Error as error:
        if given:
            yield fail("database", f"cannot be reached: {one_line(error)}", "start it, or correct DATABASE_URL")
        else:
            yield warn("database", "the embedded one does not run", "`copytrader db url` starts it")
        return
    with connection:
        version = connection.info.server_version
        if version < _OLDEST_SERVER:
            yield fail("database", f"Postgres {version // 10_000}", "version 15 or newer is needed")
            return
        yield ok("database", f"Postgres {version // 10_000}{'' if given else ', embedded'}")
        yield from _content(connection, is_embedded=not given)


def _content(connection: psycopg.Connection[Any], *, is_embedded: bool) -> Iterator[Finding]:
    try:
        schema = _schema(connection)
        yield schema
        yield _room(connection)
        if schema.level != "ok":
            return
        yield _role(connection, is_embedded=is_embedded)
        yield from _ingestion(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        advice = "as the owner of the tables: `copytrader db roles`, then GRANT copytrader_reader TO this role"
        yield fail("database role", one_line(error), advice)


def _schema(connection: psycopg.Connection[Any]) -> Finding:
    found = connection.execute("SELECT to_regclass('schema_info')").fetchone()
    if found == (None,):
        return fail("schema", "the database is empty", "`copytrader db url` as the owner builds it")
    version = int((connection.execute("SELECT version FROM schema_info").fetchone() or (0,))[0])
    if version < newest_version():
        advice = "`copytrader db url` as the owner brings it up to date"
        return fail("schema", f"version {version}, this code needs {newest_version()}", advice)
    if version > newest_version():
        return fail("schema", f"version {version} is newer than this code ({newest_version()})", "update copytrader")
    return ok("schema", f"version {version}")


def _role(connection: psycopg.Connection[Any], *, is_embedded: bool) -> Finding:
    if is_embedded:
        return ok("database role", "the embedded server has one user")
    if connection.execute(_IS_OWNER).fetchone() == (True,):
        advice = "`copytrader db roles`, and a login for each program (SECURITY.md)"
        return warn("database role", f"{connection.info.user} owns the tables: it may do everything", advice)
    groups = [name for (name,) in connection.execute(_GROUPS, (list(ROLES),))]
    return ok("database role", f"{connection.info.user} in {', '.join(groups) or 'no role of ours'}")


def _room(connection: psycopg.Connection[Any]) -> Finding:
    size = int((connection.execute("SELECT pg_database_size(current_database())").fetchone() or (0,))[0])
    held = f"{size / _GIB:.1f} GiB of data"
    try:
        row = connection.execute("SELECT current_setting('data_directory')").fetchone()
        free = shutil.disk_usage(str(row[0] if row else "")).free
    except (psycopg.errors.InsufficientPrivilege, OSError):
        return ok("database disk", f"{held}; the room on its disk cannot be seen from here")
    found = f"{held}, {free / _GIB:.0f} GiB free"
    if free < _LEAST_BYTES:
        return fail("database disk", found, "make room: Postgres stops when its disk is full")
    return ok("database disk", found)


def _ingestion(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    gaps, letters, drift = connection.execute(
        "SELECT (SELECT count(*) FROM ingest_gaps WHERE filled_at IS NULL), (SELECT count(*) FROM ingest_dead_letters),"
        " (SELECT count(*) FROM protocol_drift)"
    ).fetchone() or (0, 0, 0)
    if gaps:
        yield warn("gaps", f"{gaps} open", "`copytrader backfill --all --since DATE` fills them")
    if letters:
        yield warn("dead letters", f"{letters} could not be decoded", "`copytrader dead-letters` says why")
    if drift:
        yield warn("drift", f"{drift} kinds of transactions that were not expected", "docs/operations.md, drift")
    if not (gaps or letters or drift):
        yield ok("ingestion", "no open gap, no dead letter, no drift")


def lake(settings: Settings) -> Iterator[Finding]:
    """The newest snapshot of each asset can be read, and the chain of round trips is whole."""
    # Arrow takes a second to import: only where there is something to read.
    location = settings.lake_location
    if "://" not in location and not settings.lake_path.exists():
        yield ok("lake", f"{location} is empty")
        return
    import pyarrow as pa

    from copytrader_assets import checks
    from copytrader_assets.lake import Lake
    from copytrader_assets.schemas import OPEN_POSITIONS

    try:
        found = Lake.at(location)
        newest = {name: found.days(name)[-1] for name in _assets(found) if found.days(name)}
        for name, day in newest.items():
            if not found.snapshot(name, day).content_hash:
                advice = f"`copytrader materialize --from {day} --to {day}` writes it again"
                yield fail("lake", f"{name} {day} carries no content hash: not written by this platform", advice)
                return
        last = newest.get(OPEN_POSITIONS.name)
        broken = checks.first_break(found, last) if last else None
    except (CopytraderError, pa.ArrowException, OSError, ValueError) as error:
        yield fail("lake", f"{location} cannot be read: {one_line(error)}", "restore the file, or materialize its day")
        return
    if broken is not None:
        yield warn("lake", broken[1], f"`copytrader materialize --from {broken[0]} --to {last}`")
        return
    yield ok("lake", f"{len(newest)} assets at {location}, the newest day is {max(newest.values(), default='none')}")


def _assets(found: Any) -> list[str]:
    return sorted(folder.name for folder in found.root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def journals(settings: Settings) -> Iterator[Finding]:
    """The executor's journals read to their end, and whether trading is allowed."""
    home = settings.home_path / "executor"
    for mode in ("paper", "live"):
        yield _journal(home / mode, mode)
    control = read_control(home)
    if control.state != "ACTIVE":
        advice = "`copytrader executor resume` when the reason is gone"
        yield warn("trading", f"{control.state}: {control.reason or 'no reason was given'}", advice)


def _journal(folder: Path, mode: str) -> Finding:
    check = f"{mode} journal"
    view = JournalView(folder)
    try:
        if not view.exists:
            return ok(check, "none yet")
        view.refresh()
    except (CopytraderError, OSError) as error:
        advice = "do not start the executor: restore the folder (docs/operations.md, restore)"
        return fail(check, one_line(error), advice)
    pid = writer_of(folder)
    return ok(check, f"{len(view.ledger.positions)} open positions, {f'process {pid} writes' if pid else 'at rest'}")
