"""`copytrader dead-letters list | retry | save`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from copytrader_core.errors import StoreError
from copytrader_core.settings import settings
from copytrader_core.store import dead_letters
from copytrader_core.store.postgres import connect
from ingest_worker.dead_letters import retry
from ingest_worker.scope import ScopeRules

app = typer.Typer(no_args_is_help=True, help="What could not be decoded: look at it, decode it again.")

Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID...]", help="these letters; all without any")]


@app.command("list")
def list_(ids: Ids = None) -> None:
    """Print what is wrong and how often, or, with ids, these letters: id, slot, signature, reason."""
    with connect(autocommit=True) as connection:
        if ids:
            for letter in dead_letters.letters(connection, ids):
                print(letter.id, letter.slot or "-", letter.sig or "-", letter.reason, sep="\t")
            return
        for group in dead_letters.groups(connection):
            slots = f"slots {group.first_slot} to {group.last_slot}" if group.first_slot is not None else "no slot"
            print(f"{group.n}\t{slots}\tfor instance {group.newest_id}\t{group.reason}")


@app.command("retry")
def retry_(ids: Ids = None) -> None:
    """Decode letters again with this version's decoder; what it can read lands, and its letter goes.

    May be repeated, killed, and run beside the worker. Exit status 1 if letters are left.
    """
    tried = events = left = 0
    with connect(autocommit=True) as connection:
        for done in retry(connection, ScopeRules(sample_fraction=settings().ingest.sample_fraction), ids):
            tried += 1
            events += done.n_events
            left += done.still is not None
            if done.still is not None:
                print(f"{done.letter.id}\tstays\t{done.still}")
    print(f"tried={tried} events={events} left={left}")
    if left:
        raise StoreError(f"{left} dead letter(s) cannot be decoded by this version either, for the reasons above")


@app.command()
def save(
    number: Annotated[int, typer.Argument(metavar="ID")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="`copytrader decode` reads it")],
) -> None:
    """Write a letter's bytes to a file, as they came."""
    with connect(autocommit=True) as connection:
        for letter in dead_letters.letters(connection, [number]):
            file.write_bytes(letter.raw)
            return
    raise StoreError(f"there is no dead letter {number}: `copytrader dead-letters list` names those that there are")
