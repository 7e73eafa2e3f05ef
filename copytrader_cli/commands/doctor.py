"""`copytrader doctor`: what is wrong with this set-up, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import typer

from copytrader_cli.doctor import machine, network, stored
from copytrader_cli.doctor.finding import Finding, fail, one_line, warn
from copytrader_cli.endpoints import endpoints_of
from copytrader_core.errors import ConfigError
from copytrader_core.geyser.client import Endpoint
from copytrader_core.settings import Settings, settings
from executor.outside import urls_from

app = typer.Typer(help="Check this set-up and say what to do.")


@app.command()
def doctor(
    endpoint: list[str] = typer.Option(None, metavar="HOST:PORT", help="Yellowstone endpoint; default: the settings'"),
    x_token_file: list[Path] = typer.Option(None, metavar="F", help="file that holds the provider's token"),
    tls: bool = typer.Option(None, "--tls/--no-tls", help="TLS; default: for every host but this machine"),
    rpc: list[str] = typer.Option(None, metavar="URL", help="RPC node; other users can see it: prefer rpc_url_file"),
    listen_seconds: float = typer.Option(8.0, min=0.5, help="how long to wait for a block"),
    as_json: bool = typer.Option(False, "--json", help="one JSON document for machines"),
) -> None:
    """Look at everything, change nothing: one line a check with ok, warn or fail, and what to do.

    Exit status 1 if anything fails.
    """
    files = x_token_file or []
    found = list(_look(endpoint or [], files, tls, rpc or [], listen_seconds))
    is_well = all(finding.level != "fail" for finding in found)
    if as_json:
        print(json.dumps({"ok": is_well, "checks": [finding.document() for finding in found]}, indent=2))
    else:
        for finding in found:
            print(finding)
    if not is_well:
        raise typer.Exit(1)


def _look(
    addresses: list[str], files: list[Path], tls: bool | None, nodes: list[str], listen_seconds: float
) -> Iterator[Finding]:
    yield from machine.installation()
    try:
        configured = settings()
    except ConfigError as error:
        yield fail("settings", one_line(error), "correct copytrader.toml or the variable; the rest was not looked at")
        return
    yield from machine.disks(configured)
    yield from machine.secrets(configured, files)
    yield from stored.database(configured)
    yield from stored.lake(configured)
    yield from stored.journals(configured)
    yield from _network(configured, addresses, files, tls, nodes, listen_seconds)


def _network(
    configured: Settings,
    addresses: list[str],
    files: list[Path],
    tls: bool | None,
    nodes: list[str],
    listen_seconds: float,
) -> Iterator[Finding]:
    most = configured.ingest.max_clock_offset_seconds
    checks = []
    try:
        found = _endpoints(configured, addresses, files, tls)
        checks += [network.stream(one, listen_seconds=listen_seconds, max_offset_seconds=most) for one in found]
    except ConfigError as error:
        yield fail("endpoint", one_line(error), "correct the endpoint in copytrader.toml or on the command line")
    else:
        if not checks:
            yield warn("endpoint", "none is configured", "`endpoint = HOST:PORT` under [ingest] in copytrader.toml")
    try:
        urls = nodes or _nodes(configured)
    except ConfigError as error:
        yield fail("rpc", one_line(error), "correct the file that holds the node's URL")
    else:
        checks += [network.node(url) for url in urls]
        if not urls:
            yield warn(
                "rpc", "no node is configured", "name a file with its URL as rpc_url_file, for backfill and live"
            )
    yield from asyncio.run(network.gather(*checks))


def _endpoints(configured: Settings, addresses: list[str], files: list[Path], tls: bool | None) -> list[Endpoint]:
    """None where nobody has named one: the default is a place for the local chain."""
    ingest = configured.ingest
    is_named = addresses or ingest.endpoints or "endpoint" in ingest.model_fields_set
    return endpoints_of(addresses, None, files, tls) if is_named else []


def _nodes(configured: Settings) -> list[str]:
    files = [*([configured.rpc_url_file] if configured.rpc_url_file else []), *configured.executor.rpc_url_files]
    given = [os.environ["COPYTRADER_RPC_URL"]] if configured.rpc_url else []
    return list(dict.fromkeys([*given, *urls_from(files)]))
