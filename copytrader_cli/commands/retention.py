"""`copytrader retention --keep-days N [--dry-run]`."""

import typer

from copytrader_core.errors import StoreError
from copytrader_core.settings import settings
from copytrader_core.store.postgres import connect

app = typer.Typer(help="Drop old days of raw_events that the lake holds.")


@app.command()
def retention(
    keep_days: int = typer.Option(..., "--keep-days", min=1, metavar="N", help="newest days to keep in Postgres"),
    dry_run: bool = typer.Option(False, "--dry-run", help="compare and report, drop nothing"),
) -> None:
    """Drop the days of raw_events before the newest N, each one only if it equals its snapshot in the lake.

    A day goes when it is sealed, materialized, and when Postgres and the Parquet file have the same number of events
    and the same content, computed by either side from its own values. Exit status 1 if an old day had to stay.
    """
    from copytrader_assets.lake import Lake
    from copytrader_assets.retention import late_days, retire

    kept = 0
    with connect(autocommit=True) as connection:
        for outcome in retire(connection, Lake.at(settings().lake_location), keep_days, dry_run=dry_run):
            kept += outcome.done == "kept"
            print(outcome, flush=True)
        for late in late_days(connection):
            print(f"{late.day} was dropped, but {late.late_events} events came later: they are not in the lake")
    if kept:
        raise StoreError(f"{kept} day(s) older than {keep_days} days were kept, for the reasons above")
