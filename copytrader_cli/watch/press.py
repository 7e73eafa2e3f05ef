"""The red button, for the command line, the page and the phone alike. What it does is `executor.control`'s."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, Literal

import psycopg

from copytrader_cli.watch.look import known_url
from copytrader_core.errors import ConfigError, CopytraderError, StoreError
from copytrader_core.settings import Settings, settings
from copytrader_core.store.postgres import connect, database_url, plain_url
from executor.control import Control, set_state, write_control
from executor.postgres import told
from executor.wal import segments_of

__all__ = ["BUTTONS", "Button", "executor_folder", "has_journal", "press", "wish_of"]

_PATIENCE_SECONDS: Final = 3

Button = Literal["reduce", "halt", "flatten", "resume"]
BUTTONS: Final[tuple[Button, ...]] = ("reduce", "halt", "flatten", "resume")


def wish_of(button: Button, reason: str) -> Control:
    """What a button asks for. `reason` says who pressed it and why; it stands in the file, the row and the journal."""
    match button:
        case "reduce":
            return Control("REDUCING", False, reason)
        case "halt":
            return Control("HALTED", False, reason)
        case "flatten":
            return Control("REDUCING", True, reason)
        case "resume":
            return Control("ACTIVE", False, reason)


def press(control: Control, *, start: bool = False) -> str | None:
    """The file first, which needs nothing but the disk; then the row, if there is a database to be had.

    Returns a sentence on what could not be set, or None: executors on other machines hear of the row alone. With
    `start` this home is the executor's, and its own database is started if need be. Else a database that does not run
    is left alone, and where neither a journal is here nor a row can be set, StoreError says that nobody has heard.
    """
    folder = executor_folder()
    here = start or has_journal(folder)
    unwritten = _write_file(folder, control) if here else None
    problem = _set_row(control, start)
    if unwritten is not None and problem is not None:
        raise StoreError(f"nobody hears it: the file cannot be written ({unwritten}), nor the row be set ({problem})")
    if problem is not None and not here:
        raise StoreError(f"nobody hears it: no executor has its journal in {folder}, and no row can be set ({problem})")
    if not here and (folder / "control.json").exists():
        # A file that an executor has left behind here must not contradict the row.
        write_control(folder, control)
    if unwritten is not None:
        return f"It stands in Postgres, but not in the file ({unwritten}): who has no Postgres has not heard of it."
    if problem is not None:
        return f"It stands in the file, but not in Postgres ({problem}): other machines have not heard of it."
    return None


def executor_folder() -> Path:
    """Where the executor of this home has its files. Settings that cannot be read do not stand before a button."""
    try:
        return settings().home_path / "executor"
    except ConfigError as error:
        home = Path(os.environ.get("COPYTRADER_HOME") or Settings.model_fields["home"].default)
        print(f"{error}\nthe button is pressed in {home.expanduser().resolve()}", file=sys.stderr)
        return home.expanduser().resolve() / "executor"


def _write_file(folder: Path, control: Control) -> str | None:
    try:
        write_control(folder, control)
    except OSError as error:
        return str(error)
    return None


def has_journal(folder: Path) -> bool:
    """Whether an executor has its journal below `folder`, so that the file there is looked at."""
    return any(segments_of(one) for one in folder.glob("*/"))


def _set_row(control: Control, start: bool) -> str | None:
    try:
        url = _url() if start else known_url()
        if url is None:
            return "no database is known here"
        with connect(url, autocommit=True, patience_seconds=_PATIENCE_SECONDS) as connection:
            set_state(connection, control)
    except (CopytraderError, psycopg.Error, OSError) as error:
        return told(error)
    return None


def _url() -> str:
    """A database of somebody's own is not migrated here: a button must not wait for whoever does that."""
    given = settings().database_url
    return plain_url(given) if given else database_url()
