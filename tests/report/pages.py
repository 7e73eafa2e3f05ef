"""How the tests write a report and read what is in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from copytrader_cli.main import cli


def written(*options: str) -> str:
    """The page that `copytrader report` writes."""
    result = CliRunner().invoke(cli, ["report", *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Path(result.output.strip()).read_text(encoding="utf-8")


def facts(page: str) -> dict[str, Any]:
    """What the page's script draws from."""
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert found
    values: dict[str, Any] = json.loads(found[1])
    return values


def section(page: str, name: str) -> str:
    """A section's HTML."""
    found = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
    assert found, name
    return found[0]


def words(html: str) -> str:
    """Without tags."""
    return re.sub(r"\s+", " ", re.sub("<.*?>", " ", html))


def tiles(page: str) -> dict[str, tuple[str, str]]:
    """Number and note of each tile by its name."""
    found = re.findall(r'<div class="tile"><span>(.*?)</span><b>(.*?)</b><small>(.*?)</small>', page)
    return {name: (re.sub("<.*?>", "", value), note) for name, value, note in found}
