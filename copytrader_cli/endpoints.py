"""Which Yellowstone endpoints a command talks to: those of its options, else those of the settings."""

from __future__ import annotations

from pathlib import Path

from copytrader_core.errors import ConfigError
from copytrader_core.geyser.client import Endpoint, parse_endpoint
from copytrader_core.settings import settings

__all__ = ["endpoints_of"]


def endpoints_of(addresses: list[str], x_token: str | None, files: list[Path], tls: bool | None) -> list[Endpoint]:
    """The endpoints of the command line, or of the settings where it names none. Raises ConfigError."""
    configured = settings().ingest
    if not addresses and configured.endpoints:
        return [
            parse_endpoint(one.address, tls=one.tls, x_token=_token(x_token, one.x_token_file))
            for one in configured.endpoints
        ]
    addresses = addresses or [configured.endpoint]
    if len(files) not in (0, 1, len(addresses)):
        raise ConfigError(
            f"expected one --x-token-file, or one for each of the {len(addresses)} endpoints, found {len(files)}"
        )
    of_each = files if files else [configured.x_token_file]
    of_each = of_each * len(addresses) if len(of_each) == 1 else of_each
    wanted_tls = configured.tls if tls is None else tls
    return [
        parse_endpoint(address, tls=wanted_tls, x_token=_token(x_token, file))
        for address, file in zip(addresses, of_each, strict=True)
    ]


def _token(given: str | None, file: Path | None) -> str | None:
    return given if given is not None else _read_token(file) if file is not None else None


def _read_token(path: Path) -> str:
    try:
        token = path.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {path} cannot be read: {error}") from error
    if not token:
        raise ConfigError(f"the token file {path} is empty: it must hold the provider's token")
    return token
