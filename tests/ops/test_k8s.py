"""Kubernetes' files without a cluster: shape, commands, settings; one worker, one executor, and nothing open."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from copytrader_assets.lake_root import lake_root
from copytrader_cli.main import cli
from copytrader_core.settings import Settings
from tests.ops.commands import parsed

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "k8s"
VALUES = yaml.safe_load((FOLDER / "values.yaml").read_text())
DOCUMENTS: list[dict[str, Any]] = [
    one
    for name in ("config", "ingest", "executor", "network")
    for one in yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text())
]
README = (FOLDER / "README.md").read_text()
_DAGSTER = {"dagster", "dagster-user-deployments"}


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in DOCUMENTS if one["kind"] == kind}


PODS = {name: one["spec"]["template"] for kind in ("Deployment", "StatefulSet") for name, one in of_kind(kind).items()}
CONTAINERS = [
    (f"{name}/{container['name']}", container)
    for name, pod in PODS.items()
    for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"])
]


def test_every_document_is_one_and_lies_in_the_namespace() -> None:
    for one in DOCUMENTS:
        assert one["apiVersion"] and one["metadata"]["name"]
        assert one["kind"] == "PriorityClass" or one["metadata"]["namespace"] == "copytrader"


def test_there_is_one_worker_and_one_executor_and_never_two_for_a_moment() -> None:
    ingest = of_kind("Deployment")["copytrader-ingest"]["spec"]
    assert ingest["replicas"] == 1 and ingest["strategy"] == {"type": "Recreate"}
    executor = of_kind("StatefulSet")["copytrader-executor"]["spec"]
    assert executor["replicas"] == 1
    (claim,) = executor["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    home = of_kind("ConfigMap")["copytrader-stream"]["data"]["COPYTRADER_HOME"]
    mounts = {
        mount["name"]: mount["mountPath"] for mount in executor["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    assert mounts[claim["metadata"]["name"]] == home, "the journal must outlive the pod"


@pytest.mark.parametrize("name", sorted(PODS))
def test_selectors_and_volumes_fit(name: str) -> None:
    kind = "Deployment" if name in of_kind("Deployment") else "StatefulSet"
    spec = of_kind(kind)[name]["spec"]
    labels = PODS[name]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    volumes = {one["name"] for one in (*PODS[name]["spec"]["volumes"],)}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    for container in (*PODS[name]["spec"].get("initContainers", []), *PODS[name]["spec"]["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


@pytest.mark.parametrize(("name", "container"), CONTAINERS, ids=[name for name, _ in CONTAINERS])
def test_containers_may_do_little(name: str, container: dict[str, Any]) -> None:
    allowed = container["securityContext"]
    assert allowed["allowPrivilegeEscalation"] is False and allowed["readOnlyRootFilesystem"] is True
    assert allowed["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"]["limits"]["memory"] and re.search(r":\d+\.\d+\.\d+", container["image"])
    pod = PODS[name.partition("/")[0]]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", sorted(PODS))
def test_they_run_commands_and_settings_that_exist(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (container,) = PODS[name]["spec"]["containers"]
    parsed(cli, container["args"])
    monkeypatch.chdir(tmp_path)
    given = dict(of_kind("ConfigMap")["copytrader-stream"]["data"])
    given |= {one["name"]: one["value"] for one in container.get("env", [])}
    for key, value in given.items():
        monkeypatch.setenv(key, value)
    told = Settings()
    for key in given:
        section, _, field = key.removeprefix("COPYTRADER_").lower().partition("__")
        assert not field or field in getattr(told, section).model_fields_set, f"{key} sets nothing"


def test_the_executor_is_on_paper_until_somebody_says_live() -> None:
    (container,) = PODS["copytrader-executor"]["spec"]["containers"]
    assert container["args"][container["args"].index("--mode") + 1] == "paper"


def test_no_secret_stands_in_the_files_and_each_is_explained() -> None:
    text = "".join(path.read_text() for path in FOLDER.glob("*.yaml"))
    assert not re.search(r"kind: Secret|password: \S|:[^/@\s]+@", text)
    named = set(re.findall(r"secretRef: \{name: ([\w-]+)\}|secretName: ([\w-]+)", text))
    named |= {(one["name"], "") for one in VALUES["dagster-user-deployments"]["deployments"][0]["envSecrets"]}
    named.add((VALUES["global"]["postgresqlSecretName"], ""))
    assert all(f"`{one or other}`" in README for one, other in named)


def test_the_lake_is_an_object_store_and_no_folder_of_a_pod() -> None:
    lake = of_kind("ConfigMap")["copytrader-assets"]["data"]["COPYTRADER_LAKE"]
    assert "://" in lake and not lake.startswith(("file", "local"))
    assert lake_root("memory://lake"), "fsspec is how the lake is reached"
    assert VALUES["dagster-user-deployments"]["deployments"][0]["envConfigMaps"] == [{"name": "copytrader-assets"}]


def test_runs_are_pods_and_the_instance_is_the_projects() -> None:
    assert VALUES["runLauncher"]["type"] == "K8sRunLauncher"
    assert VALUES["postgresql"]["enabled"] is False
    assert VALUES["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"
    local = yaml.safe_load((FOLDER.parents[1] / "dagster.yaml").read_text())
    runs = local["concurrency"]["runs"]
    queue = VALUES["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert queue["maxConcurrentRuns"] == runs["max_concurrent_runs"]
    limits = [{k: v for k, v in one.items() if k in ("key", "limit")} for one in runs["tag_concurrency_limits"]]
    assert all(limit in limits for limit in queue["tagConcurrencyLimits"])
    assert VALUES["telemetry"]["enabled"] is False and VALUES["ingress"]["enabled"] is False


def test_the_code_location_is_ours_in_a_pinned_image() -> None:
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    assert deployment["dagsterApiGrpcArgs"] == ["--module-name", "copytrader_assets.definitions"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", deployment["image"]["tag"])
    images = {container["image"] for _, container in CONTAINERS}
    assert images == {f"{deployment['image']['repository']}:{deployment['image']['tag']}"}


def test_nothing_is_open_that_is_not_named() -> None:
    policies = of_kind("NetworkPolicy")
    shut = policies["nothing-by-default"]["spec"]
    assert shut == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        for rule in policy["spec"].get("ingress", []):
            assert rule.get("from") and rule.get("ports"), f"{name} lets everybody in"


def test_only_those_with_a_login_reach_the_database() -> None:
    policies = of_kind("NetworkPolicy")
    (rule,) = policies["into-the-database"]["spec"]["ingress"]
    text = json.dumps(rule["from"])
    assert set(re.findall(r"dagster[\w-]*", text)) == _DAGSTER and "copytrader/database" in text
    assert all(pod["metadata"]["labels"]["copytrader/database"] == "yes" for pod in PODS.values())


def test_worker_and_executor_reach_no_private_address_but_the_database() -> None:
    policies = of_kind("NetworkPolicy")
    for name in ("stream", "validators"):
        for rule in policies[name]["spec"]["egress"]:
            for to in rule["to"]:
                assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} <= set(to["ipBlock"]["except"])
