"""Text from outside (wallet names, coin names, reasons) made fit to be shown.

Not here: escaping, which is where HTML is made.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any, Final

__all__ = ["as_script_json", "clean"]

_LONGEST: Final = 40


def clean(text: str, longest: int = _LONGEST) -> str:
    """One line of at most `longest` characters, without invisible or stacking ones: it cannot turn or cover others."""
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(
        " " if c.isspace() else c for c in composed if c.isspace() or unicodedata.category(c)[0] not in "CZM"
    )
    words = " ".join(kept.split())
    return words if len(words) <= longest else words[: longest - 1] + "…"


def as_script_json(value: Any) -> str:
    """JSON that may stand inside a <script> element: nothing in it can end the element. NaN is no JSON: ValueError."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign, code in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(sign, code)
    return text
