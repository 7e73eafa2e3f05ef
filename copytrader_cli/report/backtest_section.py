"""The backtest: equity and drawdown beside the baselines and the wallets themselves, results by leader; the guards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from typing import Any

from copytrader_cli.backtest import EVERYBODY, SEED
from copytrader_cli.report import charts
from copytrader_cli.report.backtest_facts import LeaderResult, Walked, by_leader
from copytrader_cli.report.collect import ReportFacts, short
from copytrader_cli.report.guard_overlap import alone
from copytrader_cli.report.intervals import Estimate, Pair, in_both, pairs
from copytrader_cli.report.landing_section import landing
from copytrader_cli.report.lines import Line, drawdown, running_line
from copytrader_cli.report.measures import signed, sol
from copytrader_cli.report.parts import empty, lead, legend, timeline
from copytrader_cli.report.timelines import as_values
from copytrader_cli.report.words import clean

__all__ = ["backtest", "backtest_lines", "guards"]

_MOST_LEADERS = 20
_RUN = ("copytrader materialize --from DAY --to DAY", "copytrader backtest --from DAY --to DAY")
_BASELINES = ((SEED, "seed policy", "seed"), (EVERYBODY, "copy everybody", "everybody"))


def backtest_lines(found: Walked | None) -> dict[str, Any]:
    """The lines of the section by name."""
    if found is None:
        return {}
    wallets = running_line(_wallets(found))
    named = [("if I had followed (policy)", "copy", _line(found.document))]
    named += [(words, css, _line(found.document["baselines"].get(name, {}))) for name, words, css in _BASELINES]
    falls = [(words, css, drawdown([(0, 0), *line])[1:]) for words, css, line in named]
    equity = as_values([*named, ("wallets, same buys and stakes", "wallet", wallets)])
    lines = {"equity": equity, "drawdown": as_values(falls, falls=True)}
    return {name: values for name, values in lines.items() if values}


def _line(account: Mapping[str, Any]) -> Line:
    return [(at, lamports) for at, lamports in account.get("equity", ())]


def _wallets(found: Walked) -> list[tuple[int, int]]:
    """When our copy ended, and what the wallet made of the same buy at our stake."""
    return [
        (trip["close_ts_ns"], round(found.stake_x[key] * trip["cost_lamports"]))
        for trip in found.document["round_trips"]
        if trip["pnl_lamports"] is not None
        and (key := (trip["leader"], trip["mint"], trip["leader_sig"])) in found.stake_x
    ]


def backtest(facts: ReportFacts, found: Walked | None) -> str:
    """The section."""
    if found is None:
        return empty("No backtest has been kept, and no recorded day (tape) was walked for this report.", *_RUN)
    document = found.document
    days = f"{escape(document['from'])} to {escape(document['to'])}"
    if found.by_report:
        comes_from = f"No backtest was kept, so this report walked {days} itself with today's settings."
    else:
        comes_from = f"From HOME/backtest.json, {days}, as <code>copytrader backtest</code> wrote it."
    words = (
        "The executor's own decisions walked forward, each day by the release of the day before; our trades move the "
        "coin's reserves and every later trade is executed again."
    )
    if not backtest_lines(found):
        signals = sum(document["decisions"].values())
        return lead(words, comes_from) + empty(
            f"Nothing was bought from {document['from']} to {document['to']}: {signals:,} signals were judged, all "
            "were refused; the guards below say by what."
        )
    return lead(words, comes_from) + _tiles(document) + _plots(facts, found)


def _tiles(document: Mapping[str, Any]) -> str:
    rows = [("policy", document, len(document["round_trips"]))]
    for name, words, _ in _BASELINES:
        if name in document["baselines"]:
            account = document["baselines"][name]
            rows.append((words, account, account["bought"]))
    cells = "".join(
        f'<div class="tile"><span>{words}</span><b>{signed(account["pnl_lamports"] / 1e9)} <i>SOL</i></b>'
        f"<small>{bought} bought, deepest fall {sol(account['max_drawdown_lamports'] / 1e9)}</small></div>"
        if bought
        else f'<div class="tile"><span>{words}</span><b>–</b><small>bought nothing</small></div>'
        for words, account, bought in rows
    )
    same = [
        words
        for name, words, _ in _BASELINES
        if document["baselines"].get(name, {}).get("decision_hash") == document.get("decision_hash")
    ]
    note = f'<p class="more gap">As it is set, the policy decides exactly as: {" and ".join(same)}.</p>' if same else ""
    return f'<div class="tiles gap">{cells}</div>{note}'


def _plots(facts: ReportFacts, found: Walked) -> str:
    lines = (
        '<div class="card"><h3>Equity, SOL</h3>'
        + timeline("equity", "equity of the policy, the baselines and the wallets, in SOL")
        + '<h3 class="later">Drawdown, SOL below the highest equity before</h3>'
        + timeline("drawdown", "drawdown of the policy and the baselines, in SOL", 150)
        + "</div>"
    )
    results = by_leader(found)
    late = landing(found.document.get("landing", ()))
    return f'<div class="two">{lines}<div><div class="card">{_leaders(facts, results)}</div>{late}</div></div>'


def _leaders(facts: ReportFacts, results: list[LeaderResult]) -> str:
    rows = [
        Pair(
            name=clean(one.alias or "") or facts.names.get(one.leader) or short(one.leader),
            wallet=None if one.wallet_lamports is None else one.wallet_lamports / 1e9,
            copy=one.pnl_lamports / 1e9 if one.n_closed else None,
            weight=min(1.0, 0.35 + one.n_closed / 20),
        )
        for one in results
    ]
    shown = rows if len(rows) <= _MOST_LEADERS else rows[: _MOST_LEADERS // 2] + rows[-_MOST_LEADERS // 2 :]
    rest = len(rows) - len(shown)
    more = f'<p class="more">{rest} leaders between them are left out.</p>' if rest else ""
    return (
        "<h3>By leader, SOL</h3>"
        + legend(("wallet", "wallet, same buys and stakes"), ("copy", "if I had followed"))
        + pairs(shown, write=signed, label="results by leader: the wallet and its copies", width=380)
        + more
    )


def guards(facts: ReportFacts, found: Walked | None) -> str:
    """The shadow book: what each guard's refusals would have brought, in the backtest and in own trading."""
    words = (
        "Every refused buy is followed with the exits that it would have had. Left of zero a guard avoided losses, "
        "right of it gains were missed; lines are 95 % intervals over coins."
    )
    document = found.document if found else {}
    audits = [
        ("backtest", document.get("guards", []), document.get("guard_overlaps", [])),
        (
            f"own trading ({facts.mode})",
            [asdict(one) for one in facts.proof.guards],
            [asdict(one) for one in facts.proof.overlaps],
        ),
    ]
    told = lead(words, "Shadow books of the backtest above and of the days on which the executor ran (shadow_book).")
    cards = "".join(
        f'<div class="card"><h3>Avoided (−) or missed (+) in {where}, SOL</h3>'
        + in_both([_guard(one) for one in audited], write=signed, label=f"avoided or missed by each guard, {where}")
        + alone(audited, pairs_of)
        + "</div>"
        for where, audited, pairs_of in audits
        if audited
    )
    if not cards:
        return told + empty("No refused signal has been followed yet.", *_RUN)
    return told + f'<div class="halves">{cards}{_counts(facts, found)}</div>'


def _guard(one: Mapping[str, Any]) -> Estimate:
    """A guard of whose refusals none could be followed has no result, not a result of zero."""
    name = clean(str(one["code"])).replace("_", " ").lower()
    if not one["followed"]:
        return Estimate(name, None, None, None, f"0 of {one['refused']:,} followed", weight=0.6)
    value = one["pnl_lamports"] / 1e9
    missed = one["pnl_lamports"] > 0
    return Estimate(
        name,
        value,
        one["low_lamports"] / 1e9,
        one["high_lamports"] / 1e9,
        f"{signed(value)} of {one['followed']:,}",
        css="loss" if missed else "win",
        weight=min(1.0, 0.35 + one["followed"] / 30),
        title=f"{one['refused']} refused, {one['followed']} followed",
    )


def _counts(facts: ReportFacts, found: Walked | None) -> str:
    """How often each code was the answer in both, most frequent first."""
    walked, own = found.document["decisions"] if found else {}, facts.decisions.counts
    codes = sorted({*walked, *own}, key=lambda code: -(walked.get(code, 0) + own.get(code, 0)))[:24]
    rows = []
    for code in codes:
        n, m = walked.get(code, 0), own.get(code, 0)
        css = "copy" if code == "ACCEPTED" else "quiet"
        written = f"{n:,} · {m:,}" if found and own else f"{n + m:,}"
        rows.append((clean(str(code)).replace("_", " ").lower(), float(n + m), written, css))
    where = " and ".join(words for words, n in (("backtest", found), (f"own trading ({facts.mode})", own)) if n)
    plot = charts.bars(rows, width=380, label="decisions by code")
    return f'<div class="card"><h3>Decisions by code: {where}</h3>{plot}</div>'
