"""How pods run: confined, sized, probed, pinned, and given the time to leave."""

import re

from chassis import jetstream, process, rpc
from tests.deploy.kubectl import ROOT
from tests.deploy.manifests import CARRIERS, PROCESSES, SERVICES, Manifests, Pod

STOP_IN_FLIGHT_S = 5.0  # rpc.Server.stop waits this long for the last finally blocks
DATABASE_CANCEL_S = 10.0  # psycopg asks a silent server to cancel, then waits
SLACK_S = 10.0


def test_the_namespace_refuses_whatever_is_not_restricted(k8s: Manifests) -> None:
    labels = k8s.one("Namespace", "skutrail")["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_pod_meets_the_restricted_standard(k8s: Manifests) -> None:
    for pod in k8s.pods():
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True, pod.name
        assert context["runAsUser"] > 0, pod.name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, pod.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), pod.name
        for container in pod.containers:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, pod.name
            assert own["capabilities"] == {"drop": ["ALL"]}, pod.name


def test_our_image_runs_as_its_own_user(k8s: Manifests) -> None:
    for name in (*PROCESSES, *CARRIERS, "migrate"):
        assert k8s.pod(name).spec["securityContext"]["runAsUser"] == 10001


def test_roots_are_read_only_and_tmp_is_not(k8s: Manifests) -> None:
    for pod in k8s.pods():
        for container in pod.containers:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, pod.name
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]], pod.name


def test_no_pod_holds_credentials_for_the_cluster(k8s: Manifests) -> None:
    accounts = {account["metadata"]["name"] for account in k8s.of("ServiceAccount")}

    for pod in k8s.pods():
        assert pod.spec["serviceAccountName"] == pod.name
        assert pod.name in accounts
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False


def test_every_container_has_requests_and_limits(k8s: Manifests) -> None:
    for pod in k8s.pods():
        for container in pod.containers:
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} == container["resources"][kind].keys(), pod.name


def test_images_are_pinned(k8s: Manifests) -> None:
    images = {container["image"] for pod in k8s.pods() for container in pod.containers}
    images |= {cluster["spec"]["imageName"] for cluster in k8s.of("Cluster")}

    for image in images:
        assert re.search(r":[^:/@]*\d+\.\d[^:/@]*$|:local$|@sha256:[0-9a-f]{64}$", image), image


def test_production_runs_our_image_by_digest(production: Manifests) -> None:
    for name in (*PROCESSES, *CARRIERS, "migrate"):
        assert "@sha256:" in production.pod(name).main["image"]


def test_a_process_has_time_to_drain(k8s: Manifests) -> None:
    for name in PROCESSES:
        pod = k8s.pod(name)
        assert pod.spec["terminationGracePeriodSeconds"] >= _drain_s(pod) + SLACK_S


def test_the_operators_page_has_the_sum(k8s: Manifests) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    pod = k8s.pod("inventory")

    assert f"| together | {_drain_s(pod):.0f} |" in page
    assert f"| `terminationGracePeriodSeconds` | {pod.spec['terminationGracePeriodSeconds']} |" in page


def test_a_pod_serves_on_until_the_last_client_has_resolved_anew(k8s: Manifests) -> None:
    options = dict(rpc._CHANNEL_OPTIONS)

    for name in SERVICES:
        sleep_ms = k8s.pod(name).main["lifecycle"]["preStop"]["sleep"]["seconds"] * 1000
        assert sleep_ms > options["grpc.dns_min_time_between_resolutions_ms"]


def test_services_are_probed_under_the_names_that_they_answer(k8s: Manifests) -> None:
    for name in SERVICES:
        container = k8s.pod(name).main
        probes = {kind: container[kind + "Probe"]["grpc"] for kind in ("startup", "readiness", "liveness")}
        assert probes == {
            "startup": {"port": 50051, "service": rpc.STARTUP},
            "readiness": {"port": 50051, "service": rpc.READINESS},
            "liveness": {"port": 50051, "service": rpc.LIVENESS},
        }


def test_the_gateway_lives_and_is_ready_without_its_services(k8s: Manifests) -> None:
    container = k8s.pod("gateway").main

    assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


def test_the_sandbox_is_one_pod_that_is_gone_before_the_next_one_comes(k8s: Manifests) -> None:
    assert k8s.pod("sandbox").replicas == 1
    assert k8s.one("Deployment", "sandbox")["spec"]["strategy"] == {"type": "Recreate"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert k8s.pod("sandbox").main[probe]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_services_are_headless_so_that_clients_see_every_pod(k8s: Manifests) -> None:
    for name in SERVICES:
        assert k8s.one("Service", name)["spec"]["clusterIP"] == "None"
    assert k8s.one("Service", "gateway")["spec"]["type"] == "ClusterIP"


def test_every_service_leads_to_a_port_of_its_pods(k8s: Manifests) -> None:
    for service in k8s.of("Service"):
        pods = [pod for pod in k8s.pods() if service["spec"]["selector"].items() <= pod.labels.items()]
        assert len(pods) == 1, service["metadata"]["name"]
        named = {port["name"] for port in pods[0].main["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_a_replacement_is_ready_before_its_predecessor_leaves(k8s: Manifests) -> None:
    for name in PROCESSES:
        rolling = k8s.one("Deployment", name)["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_drained_node_takes_one_pod_of_a_kind_at_a_time(k8s: Manifests) -> None:
    budgets = {budget["metadata"]["name"]: budget["spec"] for budget in k8s.of("PodDisruptionBudget")}

    for name in (*PROCESSES, "nats"):
        assert budgets[name]["maxUnavailable"] == 1
        assert budgets[name]["selector"]["matchLabels"].items() <= k8s.pod(name).labels.items()


def test_replicas_are_spread_over_zones_and_machines(k8s: Manifests) -> None:
    for name in PROCESSES:
        pod = k8s.pod(name)
        spread = pod.spec["topologySpreadConstraints"]
        assert [rule["topologyKey"] for rule in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        for rule in spread:
            assert rule["labelSelector"]["matchLabels"].items() <= pod.labels.items()


def test_production_loses_no_process_with_a_machine(production: Manifests) -> None:
    for name in PROCESSES:
        assert production.pod(name).replicas >= 2
    assert production.pod("nats").replicas == 3


def test_only_the_processes_wait_for_the_migration(k8s: Manifests) -> None:
    def component(document: dict[str, dict[str, dict[str, str]]]) -> str | None:
        return document["metadata"].get("labels", {}).get("app.kubernetes.io/component")

    waiting = {(d["kind"], d["metadata"]["name"]) for d in k8s.documents if component(d) == "process"}

    assert waiting == {("Deployment", name) for name in PROCESSES}


def _drain_s(pod: Pod) -> float:
    """The longest that a process may take from the deletion of its pod."""
    sleep: float = pod.main["lifecycle"]["preStop"]["sleep"]["seconds"]
    calls = rpc.DRAIN_S + STOP_IN_FLIGHT_S
    return sleep + calls + process.WORKER_STOP_S + DATABASE_CANCEL_S + jetstream.CLOSE_S
