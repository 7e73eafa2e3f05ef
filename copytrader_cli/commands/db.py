"""`copytrader db url | stop`."""

import typer

from copytrader_core.settings import settings
from copytrader_core.store.postgres import database_url, embedded

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
