"""The leaders' section: where the page's script puts ranking and plots, and words where there is nothing to rank."""

from __future__ import annotations

from typing import Final

from copytrader_cli.report.collect import ReportFacts
from copytrader_cli.report.parts import empty, lead, legend

__all__ = ["ranking"]

_LINES: Final = (("wallet", "wallet, at the same stake"), ("copy", "if I had followed"))


def ranking(facts: ReportFacts, left_out: int) -> str:
    """The section; `left_out` wallets have no row."""
    if not facts.leaders:
        return empty(
            "No fingerprints yet.", "copytrader wallets import FILE.db", "copytrader materialize --from DAY --to DAY"
        )
    more = (
        f'<p class="more">{left_out:,} more: <code>copytrader sql "FROM wallet_patterns"</code></p>' if left_out else ""
    )
    rows = '<div class="card flush ranks"><div id="ranking"></div></div>'
    if facts.value.as_of is None:
        words = (
            "How each tracked wallet trades, by leader score; rows with few trades are faint. Choose one for its page."
        )
        nothing = empty(
            "What copying them is worth is not known: no day has been replayed yet.",
            "copytrader materialize --from DAY --to DAY",
        )
        return lead(words, "Tables wallet_patterns and trades.") + nothing + rows + more
    slots, size = facts.value.reference
    words = (
        f"What a copy of {size / 1e9:g} SOL landing {slots} slots late returns, landed or not: drawn together over all "
        "leaders and corrected for selection; lines are 90 % intervals, faint rests on few copies. Choose a row."
    )
    comes_from = f"Table copy_value as of {facts.value.as_of}; lines from copies and trades."
    return (
        lead(words, comes_from)
        + '<div class="two gap"><div class="card"><h3>Value of a copy over slots late</h3><div id="decays"></div></div>'
        '<div class="card"><h3>Capacity: the largest copy that pays, SOL</h3><div id="capacities"></div></div></div>'
        + legend(*_LINES)
        + rows
        + more
    )
