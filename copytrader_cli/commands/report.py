"""`copytrader report`."""

from __future__ import annotations

import datetime as dt
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from copytrader_assets.lake import Lake
from copytrader_cli.report.backtest_facts import walked
from copytrader_cli.report.collect import collect
from copytrader_cli.report.html import page
from copytrader_cli.report.truth import compare, read_planted
from copytrader_core.settings import settings
from copytrader_core.store.postgres import connect

app = typer.Typer()


@app.command()
def report(
    open_: Annotated[bool, typer.Option("--open", help="show it in the browser")] = False,
    truth: Annotated[Path | None, typer.Option(help="truth file of a planted market: learned against planted")] = None,
    out: Annotated[Path | None, typer.Option(help="where to write it; default HOME/report.html")] = None,
    walk: Annotated[bool, typer.Option(help="walk the newest days where no backtest has been kept")] = True,
) -> None:
    """Write the HTML report: one file that needs nothing else, not even a network."""
    planted = read_planted(truth) if truth else None
    config = settings()
    lake = Lake.at(config.lake_location)
    with connect() as connection:
        facts = collect(lake, connection, config)
    found = walked(config.home_path, lake, config, walk=walk)
    path = out or config.home_path / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.partial")
    document = page(facts, dt.datetime.now(dt.UTC), compare(facts, planted) if planted else None, found)
    staged.write_text(document, encoding="utf-8")
    staged.replace(path)
    print(path)
    if open_:
        webbrowser.open(path.resolve().as_uri())
