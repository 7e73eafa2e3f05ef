"""`copytrader cockpit`."""

from __future__ import annotations

import logging
import os
from typing import Annotated, Literal

import typer

from copytrader_cli.cockpit.server import Options, serve
from copytrader_core.redaction import RedactSecrets
from copytrader_core.settings import settings

app = typer.Typer()


@app.command()
def cockpit(
    mode: Annotated[Literal["paper", "live"], typer.Option(help="which executor's journal")] = "paper",
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 for any free one; default 8420")] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    actions: Annotated[bool, typer.Option("--actions", help="reduce, halt, flatten and resume from the page")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="a name under which a tunnel or proxy reaches it")
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="listen where other machines can reach it, without TLS")
    ] = False,
    new_token: Annotated[bool, typer.Option("--new-token", help="make a new token; every session ends")] = False,
) -> None:
    """Open the cockpit: one page that shows how everything stands, and has the red button with --actions."""
    os.environ.setdefault("PGCONNECT_TIMEOUT", "5")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactSecrets())
    config = settings()
    wanted = config.cockpit
    serve(
        config.home_path,
        Options(
            mode=mode,
            host=host,
            port=wanted.port if port is None else port,
            actions=actions or wanted.actions,
            allow_hosts=[*wanted.allow_hosts, *(allow_host or ())],
            allow_remote=allow_remote,
            new_token=new_token,
        ),
    )
