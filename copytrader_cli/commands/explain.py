"""`copytrader explain SIG-OR-INTENT`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from copytrader_cli.amounts import sol
from copytrader_cli.executor_status import perhaps_connected
from copytrader_core.errors import DataError
from copytrader_core.policy.values import ACCEPTED
from copytrader_core.settings import settings
from executor.explain import Explained, Found, explain, from_files, from_tables

app = typer.Typer()

_PATTERN = (
    *("sample_trades", "win_rate", "avg_entry_sol", "p50_hold_ms", "p90_hold_ms", "p50_target_x", "p90_target_x"),
    *("slippage_pctl_95", "typical_exit_style"),
)
_TOLD = ("code", "reason", "waiting", "why", "error", "attempt", "slots_late", "pnl_lamports", "cost_lamports")


@app.command(name="explain")
def explain_command(
    sought: str = typer.Argument(..., metavar="SIG-OR-INTENT", help="the leader's signature, or an intent id of ours"),
) -> None:
    """Tell why a signal was taken or refused: replayed from the journal and compared byte for byte."""
    found, away = _find(sought.strip())
    if not found:
        where = f"the journal's files (the database is not there: {away})" if away else "the journal"
        raise DataError(
            f"no decision on {sought} is in {where}: give the signature of a leader's buy, an intent id, or a"
            " signature of our own; `copytrader executor status --json` lists the last ones"
        )
    console = Console()
    different = False
    for one in found:
        explained = explain(one)
        different = different or bool(explained.differences)
        _print(console, explained)
    if different:
        raise DataError("the decision taken again is not the one that was written: see the differences above")


def _find(sought: str) -> tuple[list[Found], str | None]:
    """The decisions, and why there is no database if there is none. Postgres may be a moment behind the files."""
    with perhaps_connected() as (connection, away):
        found = from_tables(connection, sought) if connection is not None else []
    return found or from_files(settings().home_path / "executor", sought), away


def _print(console: Console, explained: Explained) -> None:
    line, decision = explained.line, explained.decision
    inputs = line["payload"]["inputs"]
    colour = "green" if decision.code == ACCEPTED else "yellow"
    console.print(f"[bold {colour}]{decision.code}[/] in {line['mode']} mode, run {line['run_id']}, line {line['seq']}")
    console.print(_signal(line, inputs))
    if inputs["pattern"]:
        console.print(_numbers("the leader's pattern", {name: inputs["pattern"].get(name) for name in _PATTERN}))
    console.print(_guards(explained))
    console.print(_plans(explained))
    console.print(_story(explained))
    if explained.differences:
        for difference in explained.differences:
            console.print(f"[red]differs[/] {escape(difference)}")
    else:
        console.print("taken again by this version: the same, byte for byte")


def _signal(line: Mapping[str, Any], inputs: Mapping[str, Any]) -> Table:
    signal = inputs["signal"]
    market = signal["market"] or {}
    facts = {
        "leader": signal["leader"],
        "coin": signal["mint"],
        "signature": signal["sig"],
        "slot": f"{signal['slot']}, decided in {inputs['now']['slot']}",
        "decided at": _when(inputs["now"]["ts_ns"]),
        "leader spent": sol(-signal["size_lamports"]),
        "market": f"{market['venue']}, as of slot {market['slot']}" if market else "not known",
        "release": line["release_id"],
        "latency": f"{line['payload'].get('latency_us')} us",
    }
    return _numbers("signal", facts)


def _guards(explained: Explained) -> Table:
    table = Table("guard", "", "numbers", title="guards, in the order of asking")
    for check in explained.checks:
        numbers = ", ".join(f"{name} {value}" for name, value in check.numbers.items())
        table.add_row(check.code, "passed" if check.passed else "[yellow]refused[/]", escape(numbers))
    if not explained.checks:
        table.add_row("", "none was asked", "")
    return table


def _plans(explained: Explained) -> Table:
    decision = explained.decision
    guarded = {name for check in explained.checks for name in check.numbers}
    facts: dict[str, Any] = {name: value for name, value in decision.numbers.items() if name not in guarded}
    if decision.entry is not None:
        facts["spend"] = (
            f"{sol(-decision.entry.spend_lamports)}, and {sol(-decision.entry.network_lamports)} to send it"
        )
    if decision.exit is not None:
        facts |= {f"exit {name}": text for name, text in decision.exit.reasons.items()}
    facts["verdict"] = decision.code
    return _numbers("value, plans and verdict", facts)


def _story(explained: Explained) -> Table:
    table = Table("at", "slot", "what", "intent", "numbers", title="what became of it")
    if not explained.story:
        table.add_row("", "", "nothing was ordered", "", "")
    for line in explained.story:
        payload = line["payload"]
        told = ", ".join(f"{name} {payload[name]}" for name in _TOLD if payload.get(name) not in (None, ""))
        table.add_row(
            _when(line["at_ns"]), str(line["slot"]), line["kind"], (line["intent_id"] or "")[:12], escape(told)
        )
    return table


def _numbers(title: str, facts: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, title=title)
    for name, value in facts.items():
        table.add_row(name, "none" if value is None else escape(str(value)))
    return table


def _when(ts_ns: int) -> str:
    return dt.datetime.fromtimestamp(ts_ns / 1e9, tz=dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
