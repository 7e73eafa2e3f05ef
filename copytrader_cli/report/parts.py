"""Small pieces of HTML that every section uses."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from html import escape

__all__ = ["amount", "cell", "chip", "empty", "lead", "legend", "moment", "section", "table", "timeline"]


def section(name: str, title: str, body: str) -> str:
    """A titled part of the page that the navigation can reach."""
    return f'<section id="{name}"><h2>{title}</h2>{body}</section>'


def lead(shows: str, comes_from: str) -> str:
    """One line: what a section shows, and where its numbers come from. Both are HTML of our own."""
    return f'<p class="lead">{shows} <span class="from">{comes_from}</span></p>'


def legend(*lines: tuple[str, str]) -> str:
    """What the colours mean: (css class, words)."""
    keys = "".join(f'<span><i class="key {css}"></i>{escape(words)}</span>' for css, words in lines)
    return f'<p class="legend">{keys}</p>'


def timeline(name: str, label: str, tall: int = 260) -> str:
    """Where the page's own script draws the lines `name` of its values."""
    return (
        f'<div class="lines" data-lines="{name}" style="height:{tall}px" role="img" aria-label="{escape(label)}"></div>'
    )


def empty(what: str, *commands: str) -> str:
    """Why there is nothing to see, and what would change that."""
    todo = ", then ".join(f"<code>{escape(command)}</code>" for command in commands)
    return f'<p class="empty">{escape(what)}' + (f" Run {todo}.</p>" if todo else "</p>")


def chip(style: str | None) -> str:
    """An exit style in its colour."""
    return f'<span class="chip {escape(style)}">{escape(style.replace("_", " "))}</span>' if style else "–"


def cell(label: str, body: str, *, number: bool = False) -> str:
    """A table cell; `label` stands above it where the table is stacked."""
    return f'<td data-l="{escape(label)}"{" class=n" if number else ""}>{body}</td>'


def amount(text: str, value: float | None) -> str:
    """A gain or loss in its colour."""
    css = "up" if (value or 0) > 0 else "down" if (value or 0) < 0 else ""
    return f'<span class="{css}">{text}</span>'


def moment(ns: int | None) -> str:
    """Day and time, UTC."""
    return f"{dt.datetime.fromtimestamp(ns / 1e9, dt.UTC):%d %b %H:%M:%S}" if ns else "–"


def table(heads: Sequence[tuple[str, bool]], rows: Sequence[str]) -> str:
    """A table that becomes a stack of cards on a narrow screen; heads are (words, is a number)."""
    head = "".join(f"<th{' class=n' if number else ''}>{words}</th>" for words, number in heads)
    return (
        f'<div class="card flush scroll"><table class="stack"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
