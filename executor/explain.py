"""Why a signal was taken or refused: its journalled decision, taken again by the same policy, and what became of it.

Lines come from Postgres, or from the files where Postgres is away or behind. Nothing is decided here: `policy.record`
replays, and what it gives must be what was written, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from copytrader_core.errors import DataError
from copytrader_core.policy.record import canonical, checks, decision_document, decision_from, replay
from copytrader_core.policy.values import Check, Decision
from executor.journal_view import kept_lines
from executor.statements import statement

__all__ = ["Explained", "Found", "explain", "from_files", "from_tables"]

Line = Mapping[str, Any]
_SETTINGS: Final = ("RUN", "SETTINGS")


@dataclass(frozen=True, slots=True)
class Found:
    """A decision's line, the settings in force (None where their line is gone), and the lines about it, in order."""

    line: Line
    settings: Mapping[str, Any] | None
    story: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision taken again. `differences` names what is not as it was written: nothing, if all is well."""

    line: Line
    decision: Decision
    checks: tuple[Check, ...]
    """What the guards said, in the order of asking, up to the one that refused."""
    story: Sequence[Line]
    differences: tuple[str, ...]


def explain(found: Found) -> Explained:
    """Takes the decision again. Raises DataError where its settings are gone or this version cannot replay it."""
    if found.settings is None:
        raise DataError(
            f"the settings of run {found.line['run_id']} are in no file any more: start Postgres, which has them"
        )
    payload = found.line["payload"]
    try:
        decision = replay(payload["inputs"], found.settings)
        asked = checks(payload["inputs"], found.settings)
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(
            f"the decision of line {found.line['seq']} cannot be replayed by this version ({error}):"
            " use the version that wrote it"
        ) from error
    return Explained(found.line, decision, asked, found.story, _differences(payload["decision"], decision))


def from_tables(connection: psycopg.Connection[Any], sought: str) -> list[Found]:
    """Decisions on the leader signature, intent, or transaction of ours `sought`, oldest first."""
    cursor = connection.cursor(row_factory=dict_row)

    def rows(name: str, **values: Any) -> list[dict[str, Any]]:
        return cursor.execute(statement(name), values).fetchall()

    found = []
    for line in rows("explain_decisions", sought=sought):
        settings = rows("explain_settings", mode=line["mode"], row=line["row"])
        about = {name: line[name] for name in ("mode", "leader_sig", "mint")}
        found.append(Found(line, settings[0]["settings"] if settings else None, rows("explain_story", **about)))
    return found


def from_files(home: Path, sought: str) -> list[Found]:
    """The same from the journals of all modes below `home`."""
    return [one for folder in sorted(home.glob("*/")) for one in _in_journal(folder, sought)]


def _in_journal(folder: Path, sought: str) -> Iterator[Found]:
    about = {_subject(line) for line in kept_lines(folder) if _names(line, sought)} - {(None, None)}
    if not about:
        return
    settings: Mapping[str, Any] | None = None
    decisions: list[tuple[Line, Mapping[str, Any] | None]] = []
    story: list[Line] = []
    for line in kept_lines(folder):
        if line["kind"] in _SETTINGS and "settings" in line["payload"]:
            settings = line["payload"]["settings"]
        elif _subject(line) in about:
            if line["kind"] == "DECISION":
                decisions.append((line, settings))
            else:
                story.append(line)
    for line, in_force in decisions:
        yield Found(line, in_force, [one for one in story if _subject(one) == _subject(line)])


def _names(line: Line, sought: str) -> bool:
    return sought in (line["leader_sig"], line["intent_id"], *_signatures(line))


def _signatures(line: Line) -> Iterator[str]:
    for _, values in line["changes"] or ():
        payload = values.get("payload")
        for kept in (values.get("sig"), payload.get("signature") if isinstance(payload, Mapping) else None):
            if kept is not None:
                yield kept


def _subject(line: Line) -> tuple[str | None, str | None]:
    return line["leader_sig"], line["mint"]


def _differences(kept: Mapping[str, Any], again: Decision) -> tuple[str, ...]:
    """Empty if both are the same text; else which parts differ, and how."""
    was = decision_document(decision_from(kept))
    now = decision_document(again)
    if canonical(was) == canonical(now):
        return ()
    return tuple(_unlike("", was, now)) or ("the same values in another form",)


def _unlike(path: str, was: Any, now: Any) -> Iterable[str]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in sorted({*was, *now}):
            yield from _unlike(f"{path}.{name}" if path else name, was.get(name), now.get(name))
    elif canonical({"": was}) != canonical({"": now}):
        yield f"{path}: written {was!r}, now {now!r}"
