"""kubernetes/: valid by Kubernetes' own schemas, locked down, and pointing at what is there."""

import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
from deploy_files import COMPOSE, DEPLOY, KUSTOMIZATION, PINNED, manifests, named, objects, pods, probes

from streamrec.clock import SystemClock
from streamrec.serving.app import create_app
from streamrec.serving.scorer import Scorer
from streamrec.store.memory import MemoryStore

PODS = {workload["metadata"]["name"]: (workload, pod, container) for workload, pod, container in pods()}
Pod = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


@pytest.fixture(params=PODS)
def pod(request: pytest.FixtureRequest) -> Pod:
    return PODS[request.param]


#: The oldest that is still supported when this was written, and the newest that the schemas know.
@pytest.mark.parametrize("version", ["1.34", "1.37"])
@pytest.mark.parametrize(
    "document", manifests(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}"
)
def test_kubernetes_own_schemas_accept_it(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_refuse_a_misspelt_key() -> None:
    document = named("Deployment", "streamrec-scorer")
    document["spec"]["replica"] = document["spec"].pop("replicas")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, "1.34", strict=True)


def test_kustomize_takes_every_file_but_the_template() -> None:
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert set(KUSTOMIZATION["resources"]) == files - {"kustomization.yaml", "secret.example.yaml"}
    (image,) = KUSTOMIZATION["images"]
    assert COMPOSE["services"]["scorer"]["image"] == f"{image['name']}:{image['newTag']}"


def test_kubectl_builds_it() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on this machine")
    command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("namespace: streamrec") >= len(objects("Deployment"))


def test_how_many_run() -> None:
    replicas = {name: workload["spec"]["replicas"] for name, (workload, _, _) in PODS.items()}
    assert replicas["streamrec-learner"] == 1
    assert replicas["streamrec-joiner"] >= 2
    assert replicas["streamrec-scorer"] >= 2
    learner = PODS["streamrec-learner"][0]["spec"]
    assert learner["strategy"] == {"type": "Recreate"}  # never two on purpose


def test_images_are_pinned(pod: Pod) -> None:
    for container in [*pod[1]["initContainers"], *pod[1]["containers"]]:
        assert PINNED.fullmatch(container["image"])


def test_locked_down(pod: Pod) -> None:
    _, spec, _ = pod
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*spec["initContainers"], *spec["containers"]]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
    labels = named("Namespace", "streamrec")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_requests_and_limits(pod: Pod) -> None:
    for container in [*pod[1]["initContainers"], *pod[1]["containers"]]:
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert {*requests} == {*limits} == {"cpu", "memory"}
        assert requests["memory"] == limits["memory"]  # more than was asked for is taken away under pressure


def test_probes_ask_for_what_is_there(pod: Pod) -> None:
    workload, _, container = pod
    ports = {port["name"] for port in container["ports"]}
    app = create_app(Scorer(MemoryStore("probes"), "m", SystemClock()))
    answered = {
        "streamrec-scorer": {getattr(route, "path", "") for route in app.routes},
        "streamrec-learner": {"/metrics", "/healthz", "/readyz"},  # streamrec/metrics.py
        "streamrec-joiner": {"/metrics", "/healthz"},
    }
    for kind, get in probes(container):
        assert get["port"] in ports, kind
        assert get["path"].partition("?")[0] in answered[workload["metadata"]["name"]], kind


def test_a_scorer_whose_store_is_away_stays_in_the_service() -> None:
    asked = dict(probes(PODS["streamrec-scorer"][2]))
    assert asked["readinessProbe"]["path"] == "/readyz?memory=true"  # else it says no while the store is away
    assert asked["livenessProbe"]["path"] == "/healthz"


def test_a_learner_that_waits_or_is_cut_off_is_not_ready_and_is_left_alive() -> None:
    asked = dict(probes(PODS["streamrec-learner"][2]))
    assert asked["readinessProbe"]["path"] == "/readyz"
    assert asked["livenessProbe"]["path"] == asked["startupProbe"]["path"] == "/healthz"


def test_a_disruption_leaves_somebody(pod: Pod) -> None:
    workload, _, _ = pod
    labels, replicas = workload["spec"]["template"]["metadata"]["labels"], workload["spec"]["replicas"]
    budget = named("PodDisruptionBudget", workload["metadata"]["name"])["spec"]
    assert budget["selector"]["matchLabels"] == labels == workload["spec"]["selector"]["matchLabels"]
    least = budget["minAvailable"] if "minAvailable" in budget else replicas - budget["maxUnavailable"]
    assert least < replicas  # or no node could ever be drained
    assert least > 0 or replicas == 1


def test_services_find_their_pods() -> None:
    assert objects("Service")
    for service in objects("Service"):
        selector = service["spec"]["selector"]
        (found,) = [p for p in PODS.values() if p[0]["spec"]["template"]["metadata"]["labels"] == selector]
        ports = {port["name"] for port in found[2]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_mounts_and_volumes_are_the_same(pod: Pod) -> None:
    _, spec, container = pod
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    for volume in spec["volumes"]:
        if "configMap" in volume:
            assert named("ConfigMap", volume["configMap"]["name"])
        else:
            assert volume["emptyDir"]["sizeLimit"]


def test_prometheus_is_told_the_port_of_metrics(pod: Pod) -> None:
    workload, _, container = pod
    annotations = workload["spec"]["template"]["metadata"]["annotations"]
    (port,) = container["ports"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    assert annotations["prometheus.io/path"] == "/metrics"


def test_the_pod_outlives_the_worker_s_end(pod: Pod) -> None:
    assert pod[1]["terminationGracePeriodSeconds"] > 5  # DESIGN: SIGTERM ends a worker in 5 s
