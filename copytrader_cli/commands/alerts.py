"""`copytrader alerts`."""

from __future__ import annotations

import logging
import os
from typing import Annotated, Literal

import typer
import uvloop

from copytrader_cli.alerts.service import run, send_test
from copytrader_core.errors import CopytraderError
from copytrader_core.redaction import RedactSecrets
from copytrader_core.settings import settings

app = typer.Typer()


@app.command()
def alerts(
    mode: Annotated[Literal["paper", "live"], typer.Option(help="which executor is followed")] = "paper",
    test: Annotated[bool, typer.Option("--test", help="send one message to every receiver and end")] = False,
) -> None:
    """Send what happens to a phone or a webhook, and take orders from the phone; in the foreground."""
    os.environ.setdefault("PGCONNECT_TIMEOUT", "5")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactSecrets())
    if not test:
        uvloop.run(run(settings(), mode))
        return
    said = uvloop.run(send_test(settings()))
    print("\n".join(said))
    if any(not line.endswith(": sent") for line in said):
        raise CopytraderError("not every receiver could be reached")
