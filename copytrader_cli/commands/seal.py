"""`copytrader seal --from DAY --to DAY`."""

import sys

import typer

from copytrader_cli.days import FirstDay, LastDay, day_range
from copytrader_core.store import days
from copytrader_core.store.postgres import connect

app = typer.Typer(help="Declare days of raw_events complete.")


@app.command()
def seal(first: FirstDay, last: LastDay) -> None:
    """Declare days complete whose events were loaded by other means than the worker.

    May be repeated after late data: the day's count is brought up to date. A day that an open gap touches is sealed
    too, because this is your own word; a warning names the gap.
    """
    wanted = day_range(first, last)
    with connect(autocommit=True) as connection:
        for day in wanted:
            for start, end in days.open_gaps_touching(connection, day):
                print(f"warning: {day}: slots {start} to {end} are missing (ingest_gaps)", file=sys.stderr)
            sealed = days.seal(connection, day, "manual")
            print(f"{sealed.day} sealed: {sealed.n_events} events")
            if sealed.late_events:
                print(
                    f"warning: {day} was dropped after its snapshot had been verified; {sealed.late_events} events came"
                    " later: they lie in raw_events and are not in the lake",
                    file=sys.stderr,
                )
