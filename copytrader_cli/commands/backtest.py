"""`copytrader backtest`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from copytrader_assets.lake import Lake
from copytrader_cli.amounts import sol
from copytrader_cli.backtest import KEPT, OWN, Backtest, DayResult, Drawn, walk_forward
from copytrader_cli.days import FirstDay, LastDay, day_range
from copytrader_core.records import Lateness
from copytrader_core.settings import settings

app = typer.Typer()


@app.command()
def backtest(
    first: FirstDay,
    last: LastDay,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="write everything as JSON here too; - is standard output"),
    ] = None,
    baselines: Annotated[bool, typer.Option(help="walk the seed's policy and everybody beside it")] = True,
    shadow: Annotated[bool, typer.Option(help="follow what was refused")] = True,
) -> None:
    """Walk the policy forward over recorded days: each by the release as of the day before.

    The executor's own decisions, orders and exits; our trades move the market, and every later trade of a coin is
    executed again on the moved reserves. The result is kept in HOME/backtest.json, where the report finds it.
    """
    console = Console(stderr=json_file == Path("-"))
    found = walk_forward(
        Lake.at(settings().lake_location),
        day_range(first, last),
        settings(),
        baselines=baselines,
        shadow=shadow,
        seen=lambda day: console.print(_line(day)),
    )
    _print(console, found)
    text = found.text() + "\n"
    kept = settings().home_path / KEPT
    _write(kept, text)
    console.print(f"kept for the report in {kept}", soft_wrap=True)
    if json_file == Path("-"):
        sys.stdout.write(text)
    elif json_file is not None:
        _write(json_file, text)


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a report may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.partial")
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)


def _line(day: DayResult) -> str:
    release = day.release or "no release as of the day before: nothing is followed"
    return (
        f"{day.day}  {day.events} trades, {day.signals} signals, {day.bought} bought, {day.sold} sold, "
        f"{sol(day.pnl_lamports)}  [dim]{release}[/dim]"
    )


def _print(console: Console, found: Backtest) -> None:
    table = Table("", "signals", "bought", "result", "deepest fall", title="walked forward")
    for name, account in found.accounts.items():
        style = "bold" if name == OWN else None
        table.add_row(
            *(name, str(sum(account.decisions.values())), str(len(account.trips)), sol(account.pnl_lamports)),
            sol(-account.max_drawdown_lamports),
            style=style,
        )
    console.print(table)
    if found.shadows:
        console.print(_guards(found))
    for one in found.drawn.values():
        console.print(_landing(one))
    console.print(f"decisions {found.hashes[OWN]}")


def _guards(found: Backtest) -> Table:
    """The shadow book: all that each guard refused, and what it alone did."""
    from copytrader_assets.analysis.shadow import audit

    heads = (
        "refused by",
        "signals",
        "followed",
        "would have brought",
        "95 % interval",
        "by it alone",
        "if lifted alone",
    )
    guards = Table(*heads, title="shadow book")
    for one in audit(found.shadows):
        interval = f"{sol(one.low_lamports)} to {sol(one.high_lamports)}"
        counts = (one.code, str(one.refused), str(one.followed), sol(one.pnl_lamports), interval)
        guards.add_row(*counts, str(one.alone), sol(one.alone_lamports))
    return guards


def _landing(one: Drawn) -> str:
    """What orders were drawn from, on how many days."""
    told = ", ".join(f"{side.lower()}s {_late(one.measured[side])}" for side in one.measured)
    where = "the settings" if one.as_of is None else f"our live orders up to {one.as_of}"
    return f"landing by {where} on {len(one.days)} days ({one.name}): {told}"


def _late(late: Lateness) -> str:
    counted = f" of {late.n_orders}" if late.n_orders else ""
    return f"{late.mean_slots:.1f} slots late, {late.lost_share:.1%}{counted} lost"
