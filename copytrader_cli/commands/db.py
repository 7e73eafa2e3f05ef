"""`copytrader db url | stop | roles`."""

import typer

from copytrader_core.settings import settings
from copytrader_core.store.postgres import connect, database_url, embedded
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
