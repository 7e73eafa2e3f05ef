"""The executor's SQL, read once from `sql/executor.sql`. No connection is made here."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from copytrader_core.files import data_dir

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@lru_cache(maxsize=1)
def _statements() -> dict[str, bytes]:
    parts = _NAME.split((data_dir("sql") / "executor.sql").read_text())
    return {name: text.strip().encode() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def statement(name: str) -> bytes:
    """The statement that stands under `name`."""
    return _statements()[name]
