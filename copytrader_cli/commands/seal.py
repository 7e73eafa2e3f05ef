"""`copytrader seal --from DAY --to DAY`."""

import sys
from datetime import date

import typer

from copytrader_core.errors import StoreError
from copytrader_core.store import days
from copytrader_core.store.postgres import connect

app = typer.Typer(help="Declare days of raw_events complete.")


@app.command()
def seal(
    first: str = typer.Option(..., "--from", metavar="DAY", help="first day, YYYY-MM-DD (UTC)"),
    last: str = typer.Option(..., "--to", metavar="DAY", help="last day, YYYY-MM-DD (UTC)"),
) -> None:
    """Declare days complete whose events were loaded by other means than the worker.

    May be repeated after late data: the day's count is brought up to date. A day that an open gap touches is sealed
    too, because this is your own word; a warning names the gap.
    """
    wanted = _range(_day(first, "--from"), _day(last, "--to"))
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


def _day(text: str, option: str) -> date:
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise typer.BadParameter(f"expected a day as YYYY-MM-DD, found {text!r}", param_hint=option)
    return parsed


def _range(first: date, last: date) -> list[date]:
    try:
        return days.days_between(first, last)
    except StoreError as error:
        raise typer.BadParameter(str(error), param_hint="--from / --to") from error
