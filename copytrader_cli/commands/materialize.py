"""`copytrader materialize --from DAY --to DAY`."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from copytrader_assets.instance import prepare_environment
from copytrader_core.errors import CopytraderError

app = typer.Typer()


@app.command()
def materialize(
    first: Annotated[dt.datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="first day (UTC)")],
    last: Annotated[dt.datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="last day (UTC)")],
) -> None:
    """Compute every asset for a range of days in one run, recorded where the Dagster UI shows it."""
    prepare_environment()
    # Dagster costs seconds to import: not before the options are known to be right.
    from copytrader_assets.jobs import materialize_here

    outcome = materialize_here(first.date(), last.date())
    for asset, days in outcome.materialized.items():
        print(f"{asset}: {days} day(s)")
    if outcome.failures:
        raise CopytraderError("\n".join(outcome.failures))
    print(f"done, run {outcome.run_id}")
