"""The red button, for the command line, the page and the phone alike. What it does is `executor.control`'s."""

from __future__ import annotations

from typing import Final, Literal

import psycopg

from copytrader_cli.watch.look import known_url
from copytrader_core.errors import CopytraderError
from copytrader_core.settings import settings
from copytrader_core.store.postgres import connect, database_url
from executor.control import Control, set_state, write_control

__all__ = ["BUTTONS", "Button", "press", "wish_of"]

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
    `start` this home's own database is started for it; else one that does not run is left alone.
    """
    write_control(settings().home_path / "executor", control)
    try:
        url = database_url() if start else known_url()
        if url is None:
            return "no database is known here"
        with connect(url, autocommit=True) as connection:
            set_state(connection, control)
    except (CopytraderError, psycopg.Error, OSError) as error:
        return " ".join(str(error).split())
    return None
