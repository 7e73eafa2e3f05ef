"""`copytrader materialize --from DAY --to DAY`."""

from __future__ import annotations

import typer

from copytrader_assets.instance import prepare_environment
from copytrader_cli.days import FirstDay, LastDay, day_range
from copytrader_core.errors import CopytraderError

app = typer.Typer()


@app.command()
def materialize(first: FirstDay, last: LastDay) -> None:
    """Compute every asset for a range of days in one run, recorded where the Dagster UI shows it."""
    days = day_range(first, last)
    prepare_environment()
    # Dagster costs seconds to import: not before the options are known to be right.
    from copytrader_assets.jobs import materialize_here

    outcome = materialize_here(days[0], days[-1])
    for asset, number in outcome.materialized.items():
        print(f"{asset}: {number} day(s)")
    if outcome.failures:
        raise CopytraderError("\n".join(outcome.failures))
    print(f"done, run {outcome.run_id}")
