"""Alert rules and dashboards ask only for what the programs tell; the rules fire when they must."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from executor.metrics import ExecutorMetrics
from ingest_worker.telemetry import Telemetry
from tests.conftest import unit_directives

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "copytrader.rules.yml"
CONFIG = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
BOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
_OF_SCRAPES = {"job", "instance"}
# Prometheus makes these itself: one for each target.
_OWN = {"up": frozenset[str]()}
_WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "offset", "bool"}
_IDENTIFIER = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


def exported() -> dict[str, frozenset[str]]:
    """Every sample name that the programs tell, with the names of its labels."""
    found = dict(_OWN)
    for told in (Telemetry(), ExecutorMetrics()):
        for name, collector in told.registry._names_to_collectors.items():
            labels = getattr(collector, "_labelnames", ())
            found[name] = frozenset(labels) | ({"le"} if name.endswith("_bucket") else frozenset())
        for family in text_string_to_metric_families(told.exposition().decode()):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, frozenset()) | frozenset(sample.labels)
    return found


EXPORTED = exported()


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def queries() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for path in BOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def metrics_of(query: str) -> set[str]:
    """The metrics that a query names: every identifier that is no function, keyword, label or duration."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", _GROUPING.sub(" ", query))
    bare = re.sub(r"\b\d[\w.]*", " ", bare)
    names = {found[0] for found in _IDENTIFIER.finditer(bare) if not bare[found.end() :].lstrip().startswith("(")}
    return names - _WORDS


def labels_of(query: str) -> set[str]:
    grouped = {label.strip() for found in _GROUPING.findall(query) for label in found.split(",") if label.strip()}
    return grouped | {label for _, inside in _SELECTOR.findall(query) for label, _, _ in _MATCHER.findall(inside)}


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_every_query_asks_for_metrics_and_labels_that_are_told(where: str, query: str) -> None:
    asked = metrics_of(query)
    assert asked, f"{where}: no metric found in {query}"
    assert asked <= EXPORTED.keys(), f"{where}: nobody tells {sorted(asked - EXPORTED.keys())}"
    told = _OF_SCRAPES.union(*(EXPORTED[name] for name in asked))
    assert labels_of(query) <= told, f"{where}: no such label {sorted(labels_of(query) - told)}"
    for name, inside in _SELECTOR.findall(query):
        assert {label for label, _, _ in _MATCHER.findall(inside)} <= EXPORTED[name] | _OF_SCRAPES


def test_a_metric_that_nobody_tells_would_be_seen() -> None:
    query = 'sum by (reason) (rate(copytrader_executor_exits_total{reason="x"}[5m])) / made_up_total > 2e9 offset 5m'
    assert metrics_of(query) == {"copytrader_executor_exits_total", "made_up_total"}
    assert labels_of(query) == {"reason"}


@pytest.mark.parametrize("query", [query for _, query in queries() if "state=" in query or "state!=" in query])
def test_states_that_are_asked_for_exist(query: str) -> None:
    executor = ExecutorMetrics()
    executor.set_live(state="ACTIVE", stream_age_s=0.0, loop_lag_s=0.0, open_positions=0)
    text = Telemetry().exposition().decode() + executor.exposition().decode()
    states = {
        (sample.name, sample.labels["state"])
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "state" in sample.labels
    }
    for name, inside in _SELECTOR.findall(query):
        assert all((name, value) in states for label, _, value in _MATCHER.findall(inside) if label == "state")


def test_jobs_that_are_asked_for_are_scraped_where_the_units_listen() -> None:
    jobs = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in CONFIG["scrape_configs"]}
    asked = {value for _, query in queries() for value in re.findall(r'job="([^"]+)"', query)}
    assert asked <= set(jobs)
    ingest = unit_directives(DEPLOY / "systemd" / "copytrader-ingest.service")["ExecStart"][0]
    assert f"--metrics-port {jobs['copytrader-ingest'].rpartition(':')[2]} " in ingest
    example = (DEPLOY / "systemd" / "executor.example.toml").read_text()
    assert f"metrics_port = {jobs['copytrader-executor'].rpartition(':')[2]}" in example


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"] and rule["annotations"]["action"]


def test_every_alert_is_tested_quiet_and_firing() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus" / "copytrader.tests.yml").read_text())["tests"]
    checked = [one for test in tests for one in test["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert {one["alertname"] for one in checked if one.get("exp_alerts")} == names
    assert {one["alertname"] for one in checked if not one.get("exp_alerts")} == names


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "copytrader.rules.yml"),
        ("test", "rules", "copytrader.tests.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_agrees(arguments: tuple[str, ...]) -> None:
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_understands_every_query_of_the_dashboards(tmp_path: Path) -> None:
    asked = [query for where, query in queries() if ":" in where]
    assert len(asked) > 20
    done = promtool("check", "rules", str(recorded(asked, tmp_path)))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_query_that_prometheus_does_not_understand_would_be_seen(tmp_path: Path) -> None:
    done = promtool("check", "rules", str(recorded(["sum by (x) (rate(up[5m])"], tmp_path)))
    assert done.returncode != 0 and "parse" in done.stdout + done.stderr


def recorded(asked: Sequence[str], folder: Path) -> Path:
    """Queries as recording rules: the one form in which promtool reads any. Grafana fills in its own names first."""
    path = folder / "boards.rules.yml"
    filled = [re.sub(r"\$__\w+", "5m", query) for query in asked]
    named = [{"record": f"asked:{number}", "expr": query} for number, query in enumerate(filled)]
    path.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": named}]}))
    return path


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (package prometheus): rules and queries are only parsed here")
    return subprocess.run(
        [program, *arguments], cwd=RULES.parent, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_one_that_grafana_takes(path: Path) -> None:
    board = json.loads(path.read_text())
    panels = board["panels"]
    assert board["uid"] and board["title"] and board["schemaVersion"] >= 36
    assert len({panel["id"] for panel in panels}) == len(panels)
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert panel["datasource"]["uid"] == source["uid"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not cells & taken, f"{panel['title']} covers another panel"
        taken |= cells
