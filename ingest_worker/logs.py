"""The worker's log lines: `event key=value ...` for people, or a JSON document a line for machines. No secret passes.

A message is written as `event key=value key='text'`; the JSON form takes the same message apart.
"""

from __future__ import annotations

import ast
import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TextIO

__all__ = ["LogFormat", "configure"]

_FIELD = re.compile(r"(?<!\S)([a-z][a-z0-9_]*)=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S*)")
_EVENT = re.compile(r"[a-z][a-z0-9_]*(?=$|[\s:])")
_RESERVED = frozenset({"at", "level", "logger", "message", "event", "traceback"})
_HIDDEN = "***"
# Shorter ones would blot out words of the log that are no secret.
_MIN_SECRET_LENGTH = 6


class LogFormat(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


def configure(form: LogFormat, *, secrets: Iterable[str | None] = (), stream: TextIO | None = None) -> None:
    """Sends every log line of the process to `stream` (standard error) in one form, with `secrets` blotted out."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter((_JsonFormatter if form is LogFormat.JSON else _TextFormatter)(_Blotter(secrets)))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class _Blotter:
    """Replaces secrets in a text, also as they look in a repr or a JSON document."""

    def __init__(self, secrets: Iterable[str | None]) -> None:
        whole = sorted({s for s in secrets if s and len(s) >= _MIN_SECRET_LENGTH}, key=len, reverse=True)
        looks = [look for s in whole for look in (s, repr(s)[1:-1], json.dumps(s)[1:-1], s.replace("'", "\\'"))]
        self._pattern = re.compile("|".join(map(re.escape, looks))) if looks else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(_HIDDEN, text) if self._pattern else text


class _TextFormatter(logging.Formatter):
    """`TIME LEVEL LOGGER event key=value`; UTC, like every other time of the platform."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, blot: _Blotter) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self.converter = time.gmtime
        self._blot = blot

    def format(self, record: logging.LogRecord) -> str:
        return self._blot(super().format(record))


class _JsonFormatter(_TextFormatter):
    """One document a line: at, level, logger, event, message, the fields of the message, the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        # Blotted before it is escaped: escaping would change how a secret looks.
        message = self._blot(record.getMessage())
        event = _EVENT.match(message)
        document: dict[str, Any] = {
            "at": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "event": event[0] if event else None,
            "message": message,
        }
        for name, value in _FIELD.findall(message):
            document[name + "_" if name in _RESERVED else name] = _value(value)
        if record.exc_info:
            document["traceback"] = self._blot(self.formatException(record.exc_info))
        return json.dumps(document, ensure_ascii=False)


def _value(text: str) -> str | int | float:
    """A field's value: a quoted text without its quotes, a number as one."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else text
