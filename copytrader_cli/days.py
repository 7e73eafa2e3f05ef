"""Days as command line options: `--from DAY --to DAY`, YYYY-MM-DD in UTC, both ends included."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from copytrader_core.errors import StoreError
from copytrader_core.store import days

FirstDay = Annotated[str, typer.Option("--from", metavar="DAY", help="first day, YYYY-MM-DD (UTC)")]
LastDay = Annotated[str, typer.Option("--to", metavar="DAY", help="last day, YYYY-MM-DD (UTC)")]


def day_range(first: str, last: str) -> list[date]:
    """Every day of the range. Raises typer.BadParameter (wrong usage) for what is no day or runs backwards."""
    try:
        return days.days_between(one_day(first, "--from"), one_day(last, "--to"))
    except StoreError as error:
        raise typer.BadParameter(str(error), param_hint="--from / --to") from error


def one_day(text: str, option: str) -> date:
    """The day that `option` names. Raises typer.BadParameter for anything but YYYY-MM-DD."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise typer.BadParameter(f"expected a day as YYYY-MM-DD, found {text!r}", param_hint=option)
    return parsed
