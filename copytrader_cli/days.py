"""Days as command line options: `--from DAY --to DAY`, YYYY-MM-DD in UTC, both ends included."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Final

import typer

FirstDay = Annotated[str, typer.Option("--from", metavar="DAY", help="first day, YYYY-MM-DD (UTC)")]
LastDay = Annotated[str, typer.Option("--to", metavar="DAY", help="last day, YYYY-MM-DD (UTC)")]
_MOST: Final = 5 * 366


def day_range(first: str, last: str) -> list[date]:
    """Every day of the range. Raises typer.BadParameter (wrong usage) for what is no day, runs backwards or is absurdly
    long.
    """
    begin, end = one_day(first, "--from"), one_day(last, "--to")
    count = (end - begin).days + 1
    if not 1 <= count <= _MOST:
        problem = f"the range {begin} to {end} has {count} days, expected 1 to {_MOST}"
        raise typer.BadParameter(problem, param_hint="--from / --to")
    return [begin + timedelta(days=offset) for offset in range(count)]


def one_day(text: str, option: str) -> date:
    """The day that `option` names. Raises typer.BadParameter for anything but YYYY-MM-DD."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise typer.BadParameter(f"expected a day as YYYY-MM-DD, found {text!r}", param_hint=option)
    return parsed
