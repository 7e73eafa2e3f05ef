"""What is inlined: styles, scripts and the vendored plot library; and the content policy that allows only these."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["policy", "script", "style"]

_HERE: Final = Path(__file__).parent
# The cockpit serves the very same files.
_VENDOR: Final = "../cockpit/static/vendor"
_SCRIPTS: Final = (
    f"{_VENDOR}/uplot.min.js",
    "static/drawing.js",
    "static/lines.js",
    "static/wallets.js",
    "static/page.js",
)
_STYLES: Final = (f"{_VENDOR}/uplot.min.css", "static/report.css")


@cache
def script() -> str:
    """The one script of the page: uPlot with its licence, and the page's own in a scope of its own."""
    library, *own = (_read(name) for name in _SCRIPTS)
    # The library's first comment is an address; in its place stands the whole licence, as the licence asks.
    library = f"/*! uPlot\n{_read(f'{_VENDOR}/uplot.LICENSE')}*/\n{library.partition('*/')[2].lstrip()}"
    body = "\n".join(own)
    return f'{library}\n(()=>{{"use strict";\n{body}}})();\n'


@cache
def style() -> str:
    """All rules."""
    return "".join(_read(name) for name in _STYLES)


def policy() -> str:
    """The content policy of the page: nothing is fetched from anywhere, and no script runs but the one by this hash."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    scripts, styles = f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'"
    return f"default-src 'none'; {scripts}; {styles}; base-uri 'none'; form-action 'none'"


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
