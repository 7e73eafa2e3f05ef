"""The red button, for the command line, the page and the phone alike. What it does is `executor.control`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import psycopg

from copytrader_cli.watch.look import known_url
from copytrader_core.errors import CopytraderError, StoreError
from copytrader_core.settings import settings
from copytrader_core.store.postgres import connect, database_url
from executor.control import Control, set_state, write_control
from executor.wal import segments_of

__all__ = ["BUTTONS", "Button", "has_journal", "press", "wish_of"]

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

    Returns why the row could not be set, None if it was: executors on other machines hear of the row alone. With
    `start` this home is the executor's, and its own database is started if need be. Else a database that does not run
    is left alone, and where neither a journal is here nor a row can be set, StoreError says that nobody has heard.
    """
    folder = settings().home_path / "executor"
    here = start or has_journal(folder)
    if here:
        write_control(folder, control)
    problem = _set_row(control, start)
    if problem is not None and not here:
        raise StoreError(f"nobody hears it: no executor has its journal in {folder}, and no row can be set ({problem})")
    if not here and (folder / "control.json").exists():
        # A file that an executor has left behind here must not contradict the row.
        write_control(folder, control)
    return problem


def has_journal(folder: Path) -> bool:
    """Whether an executor has its journal below `folder`, so that the file there is looked at."""
    return any(segments_of(one) for one in folder.glob("*/"))


def _set_row(control: Control, start: bool) -> str | None:
    try:
        url = database_url() if start else known_url()
        if url is None:
            return "no database is known here"
        with connect(url, autocommit=True) as connection:
            set_state(connection, control)
    except (CopytraderError, psycopg.Error, OSError) as error:
        return " ".join(str(error).split())
    return None
