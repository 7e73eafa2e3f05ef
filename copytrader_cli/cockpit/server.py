"""Serves the cockpit until it is stopped: where it listens, its token, and the refusal to listen where others could."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from copytrader_cli.cockpit.app import cockpit_app
from copytrader_cli.cockpit.live import Hub
from copytrader_cli.watch.look import Looker
from copytrader_cli.watch.secret_file import new_token, read_secret
from copytrader_core.errors import ConfigError
from copytrader_core.service import Service

__all__ = ["TOKEN_FILE", "Options", "cockpit_token", "demand_loopback", "serve"]

TOKEN_FILE: Final = "cockpit.token"  # noqa: S105 -- a file's name
_LEAST_TOKEN: Final = 24
_GRACE_SECONDS: Final = 3


@dataclass(frozen=True, slots=True)
class Options:
    """How to serve: `allow_hosts` are further names for Host, `new_token` ends every session there is."""

    mode: str
    host: str
    port: int
    actions: bool
    allow_hosts: Sequence[str] = ()
    allow_remote: bool = False
    new_token: bool = False


def demand_loopback(host: str, allow_remote: bool) -> None:
    """Raises ConfigError for an address that other machines could reach, unless that is asked for by name."""
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise ConfigError(f"--host {host}: give an IP address of this machine, such as 127.0.0.1") from None
    if not loopback and not allow_remote:
        raise ConfigError(
            f"--host {host}: other machines could reach the cockpit there, and it speaks no TLS."
            " Leave it on 127.0.0.1 and go through `ssh -L 8420:127.0.0.1:8420 MACHINE`;"
            " if the network is private and you mean it, add --allow-remote and --allow-host NAME"
        )


def cockpit_token(home: Path, *, fresh: bool) -> tuple[str, bool]:
    """The token in the home folder, and whether it was made just now: there was none, or `fresh` asks for another."""
    path = home / TOKEN_FILE
    if fresh or not path.exists():
        return new_token(path), True
    token = read_secret(path, "cockpit's token")
    if len(token) < _LEAST_TOKEN:
        raise ConfigError(f"{path}: this token is too short to be safe: make one with --new-token")
    return token, False


def serve(home: Path, options: Options) -> None:
    """Serves until SIGINT or SIGTERM. Raises ConfigError where it must not or cannot listen."""
    demand_loopback(options.host, options.allow_remote)
    token, made = cockpit_token(home, fresh=options.new_token)
    listening = _listen(options.host, options.port)
    port = listening.getsockname()[1]
    hub = Hub(Looker(options.mode, home / "executor"))
    app = cockpit_app(hub, token, _names(options, port), options.mode, actions=options.actions)
    config = uvicorn.Config(
        app,
        log_config=None,
        # Addresses are not logged: the first one holds the token.
        access_log=False,
        server_header=False,
        ws="none",
        proxy_headers=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=30,
    )

    def started() -> None:
        _say(options, port, token if made else None, home)
        Service.from_environment().ready(f"cockpit on port {port}")

    _Server(config, hub, started).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Ends the open pages' streams first: a server waits for them otherwise."""

    def __init__(self, config: uvicorn.Config, hub: Hub, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._hub = hub
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tells where it is once it is there, and can be ended well."""
        await super().startup(sockets)
        self._tell()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C or SIGTERM."""
        self._hub.close()
        self.should_exit = True
        signal.signal(sig, signal.SIG_DFL)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"port {port} of {host} cannot be had ({error.strerror}): choose another with --port"
        ) from None
    return listening


def _names(options: Options, port: int) -> set[str]:
    """What a Host header may say."""
    here = {"127.0.0.1", "localhost", "[::1]"}
    if options.host not in ("0.0.0.0", "::", "localhost"):  # noqa: S104 -- no name of anything, therefore left out
        here.add(f"[{options.host}]" if ":" in options.host else options.host)
    names = {f"{name}:{port}" for name in here} | ({*here} if port == 80 else set())
    for name in options.allow_hosts:
        names |= {name, f"{name}:{port}"}
    return names


def _say(options: Options, port: int, token: str | None, home: Path) -> None:
    where = f"http://{f'[{options.host}]' if ':' in options.host else options.host}:{port}/"
    buttons = "with buttons" if options.actions else "read-only (--actions gives it buttons)"
    # Where the output is kept, in a service's journal or a file, the token must not stand in it.
    secret = f"?token={token}" if token and sys.stdout.isatty() else ""
    print(f"cockpit of the {options.mode} executor: {where}{secret}", flush=True)
    print(f"{buttons}; its token is in {home / TOKEN_FILE}", flush=True)
