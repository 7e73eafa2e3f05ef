"""`copytrader db url | stop | roles | backup | restore`."""

from pathlib import Path

import typer

from copytrader_core.settings import settings
from copytrader_core.store.backup import backup as write_backup
from copytrader_core.store.backup import prune
from copytrader_core.store.backup import restore as restore_backup
from copytrader_core.store.postgres import connect, database_url, embedded, unmigrated_url
from copytrader_core.store.roles import apply_roles, members

app = typer.Typer(no_args_is_help=True, help="Start, find or stop the database.")


@app.command()
def url() -> None:
    """Start the embedded Postgres if no DATABASE_URL is set, migrate, print the URL."""
    print(database_url())


@app.command()
def stop() -> None:
    """Stop the embedded Postgres. Its data stays."""
    if settings().database_url:
        print("DATABASE_URL names your own Postgres: nothing to stop")
    elif embedded().stop():
        print("stopped")
    else:
        print("was not running")


@app.command()
def roles() -> None:
    """Make the programs' roles, give each exactly its rights, and list their logins. For the owner of the tables.

    A login gets the rights of its program by `GRANT copytrader_ingest TO login`.
    """
    url = database_url()
    apply_roles(url)
    with connect(url) as connection:
        for role, logins in members(connection).items():
            print(f"{role}: {', '.join(logins) or 'no login yet'}")


@app.command()
def backup(
    target: Path = typer.Argument(..., metavar="FILE", help="the file to write, or a folder: the time names the file"),
    keep: int = typer.Option(0, "--keep", min=0, metavar="N", help="delete older backups in the folder, 0: none"),
) -> None:
    """Write the whole database, as of one moment, to one file; the programs may go on meanwhile.

    The lake and the executor's journal are files beside it: copy them as files (docs/operations.md).
    """
    path = write_backup(database_url(), target)
    print(f"{path}: {path.stat().st_size:,} bytes")
    if target.is_dir():
        for old in prune(target, keep):
            print(f"{old}: deleted, {keep} newer ones are kept")


@app.command()
def restore(source: Path = typer.Argument(..., metavar="FILE", help="what `copytrader db backup` has written")) -> None:
    """Restore a backup into an empty database, all or nothing, and bring it up to date."""
    version = restore_backup(unmigrated_url(), source)
    print(f"restored {source}, schema version {version}")
