"""Secrets that lie in files: read only where nobody else can read them. The wallet's key has its own reader.

Their texts are kept out of every log from the moment that they are read.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from copytrader_core.errors import ConfigError
from copytrader_core.redaction import register_secret

__all__ = ["credential", "new_token", "read_secret"]

_MAX_BYTES: Final = 4_096
_TOKEN_BYTES: Final = 32


def credential(name: str, path: Path | None) -> Path | None:
    """The file at `path`, else the service manager's credential `name`; None where there is neither."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    given = Path(folder) / name if folder else None
    return path or (given if given is not None and given.exists() else None)


def read_secret(path: Path, what: str) -> str:
    """The one line in `path`. ConfigError where it is missing, empty, or others could read or change it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path}: the {what} cannot be read ({error.strerror}): check the path") from None
    try:
        _check_rights(os.fstat(handle), path, what)
        text = os.read(handle, _MAX_BYTES).decode("utf-8", "replace").strip()
    finally:
        os.close(handle)
    if not text or len(text.split()) != 1:
        raise ConfigError(f"{path}: expected the {what} in one line and nothing else")
    register_secret(text)
    return text


def new_token(path: Path) -> str:
    """Writes a fresh random token into `path`, which its owner alone can read, and returns it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.unlink(missing_ok=True)
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, token.encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    staged.replace(path)
    register_secret(token)
    return token


def _check_rights(status: os.stat_result, path: Path, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: the {what} must be in a regular file")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path}: the file with the {what} belongs to user {status.st_uid}: chown it to this user")
    # A credential of root's is granted by an access list, whose mask shows as group bits.
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    granted = folder is not None and path.parent == Path(folder) and status.st_uid == 0
    if status.st_mode & (0o037 if granted else 0o077):
        raise ConfigError(
            f"{path}: others may read or change the {what} (mode {status.st_mode & 0o777:o}): chmod 600 {path}"
        )
