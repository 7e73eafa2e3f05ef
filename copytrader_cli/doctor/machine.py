"""What the machine and the installation look like: Python, packages, bytecode, disks, keys and tokens."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from google.protobuf.internal import api_implementation

from copytrader_cli.doctor.finding import Finding, fail, ok, warn
from copytrader_core.errors import ConfigError
from copytrader_core.settings import Settings
from copytrader_core.solana.keys import credential_path, load_signer

__all__ = ["disks", "installation", "secrets"]

_LOCK: Final = Path(__file__).resolve().parents[2] / "requirements.lock"
_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_NEWEST_PYTHON: Final = (3, 13)
_GIB: Final = 2**30
# A busy day is some GB of rows and as much again while it is written into the lake.
_FAIL_BYTES: Final = 2 * _GIB
_WARN_BYTES: Final = 20 * _GIB


def installation(lock: Path = _LOCK) -> Iterator[Finding]:
    """Python's version, the packages against the lock file, protobuf's implementation, compiled bytecode."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] > _NEWEST_PYTHON:
        yield warn("python", version, "3.11 to 3.13 are tested: `make setup PYTHON=python3.13` in a fresh checkout")
    else:
        yield ok("python", version)
    yield _packages(lock)
    if api_implementation.Type() != "upb":
        yield fail(
            "protobuf",
            f"runs on its {api_implementation.Type()} implementation, too slow for the stream",
            "unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION and install a protobuf wheel",
        )
    if sys.dont_write_bytecode:
        yield warn(
            "bytecode",
            "is not kept: every Dagster command takes about three times as long",
            "unset PYTHONDONTWRITEBYTECODE (and start Python without -B)",
        )
    else:
        yield ok("bytecode", "is kept")


def _packages(lock: Path) -> Finding:
    if not lock.is_file():
        return ok("packages", f"copytrader {_version('copytrader') or 'from a folder'}, installed without a lock file")
    # A package may stand there several times, once for each range of Python versions.
    pinned: dict[str, list[str]] = {}
    for name, version in _PINNED.findall(lock.read_text()):
        pinned.setdefault(name, []).append(version)
    installed = {name: found for name in pinned if (found := _version(name)) is not None}
    other = [
        f"{name} {found} instead of {' or '.join(pinned[name])}"
        for name, found in installed.items()
        if found not in pinned[name]
    ]
    if other:
        shown = ", ".join(other[:5]) + (f" and {len(other) - 5} more" if len(other) > 5 else "")
        return warn("packages", f"not those of requirements.lock: {shown}", "run `make setup` after `rm -rf .venv`")
    return ok("packages", f"{len(installed)} as in requirements.lock")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def disks(settings: Settings) -> Iterator[Finding]:
    """Whether the state folder can be written, and the room where it and the lake are."""
    home = settings.home_path
    place = _existing(home)
    if not os.access(place, os.W_OK | os.X_OK):
        yield fail("home", f"{home} cannot be written by this user", f"chown {place}, or set COPYTRADER_HOME")
    else:
        yield ok("home", str(home) if home.exists() else f"{home}, not there yet")
    yield _room("disk", place)
    if settings.lake and "://" in settings.lake:
        yield ok("lake disk", f"{settings.lake} is not a disk of this machine")
    elif (lake := _existing(settings.lake_path)).stat().st_dev != place.stat().st_dev:
        yield _room("lake disk", lake)


def _room(check: str, place: Path) -> Finding:
    usage = shutil.disk_usage(place)
    found = f"{usage.free / _GIB:.0f} of {usage.total / _GIB:.0f} GiB free at {place}"
    advice = "make room, or drop days that the lake holds: `copytrader retention --keep-days 60 --dry-run` shows them"
    if usage.free < _FAIL_BYTES:
        return fail(check, found, advice)
    return warn(check, found, advice) if usage.free < _WARN_BYTES else ok(check, found)


def _existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    return next(one for one in (path, *path.parents) if one.exists())


def secrets(settings: Settings, more: Sequence[Path] = ()) -> Iterator[Finding]:
    """The wallet's key, and the files with tokens and URLs: who can read them. `more`: files named by options."""
    executor, ingest = settings.executor, settings.ingest
    yield _key(settings)
    named = [ingest.x_token_file, settings.rpc_url_file, executor.block_engine_uuid_file, *executor.rpc_url_files]
    named += [*(one.x_token_file for one in ingest.endpoints), *more]
    for path in dict.fromkeys(path.expanduser() for path in named if path is not None):
        yield _secret_file(path)
    for name in ("COPYTRADER_RPC_URL", "DATABASE_URL"):
        if re.search(r"api[-_]?key=|token=|://[^/@]*:[^/@]+@", os.environ.get(name, "")):
            yield warn("secrets", f"{name} holds a secret that children inherit", _BETTER[name])


_BETTER: Final = {
    "COPYTRADER_RPC_URL": "write the URL into a file of mode 600 and name it as rpc_url_file",
    "DATABASE_URL": "leave the password out: peer authentication on the local socket, or ~/.pgpass",
}


def _key(settings: Settings) -> Finding:
    path = settings.executor.key_file or credential_path()
    if path is None:
        return ok("wallet key", "none is named: paper trading only")
    try:
        signer = load_signer(path.expanduser())
    except ConfigError as error:
        return fail("wallet key", str(error), "live trading does not start like this; docs/live-trading.md")
    own = settings.executor.own_wallet
    if own is not None and own != signer.address:
        advice = "name the key of own_wallet, or correct own_wallet in copytrader.toml"
        return fail("wallet key", f"{path} is the key of {signer.address}, own_wallet is {own}", advice)
    return ok("wallet key", f"{path} is the key of {signer.address}, readable by its owner only")


def _secret_file(path: Path) -> Finding:
    try:
        status = path.stat()
        is_empty = not path.read_bytes().strip()
    except OSError as error:
        return fail("secret file", f"{path} cannot be read: {error.strerror}", "correct its path or its rights")
    if is_empty:
        return fail("secret file", f"{path} is empty", "write the token or URL into it")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        return warn("secret file", f"{path}: others may read it (mode {mode:o})", f"chmod 600 {path}")
    return ok("secret file", f"{path} is readable by its owner only")
