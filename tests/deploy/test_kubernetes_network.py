"""Who may talk to whom: exactly what the settings say, and nothing else."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.webhooks.addresses import CLOSED, SEALED, Guard
from tests.deploy.manifests import CARRIERS, PROCESSES, Document, Manifests, manifests
from tests.deploy.network import Labels, allows_address, allows_edge, is_closed

POSTGRES = {"cnpg.io/cluster": "postgres"}
PORTS = (4222, 5432, 6222, 8080, 8090, 8222, 50051)


def test_every_pod_is_closed_in_both_directions(k8s: Manifests) -> None:
    policies = k8s.of("NetworkPolicy")

    for labels in _pods(k8s).values():
        assert is_closed(policies, labels, "Ingress")
        assert is_closed(policies, labels, "Egress")


def test_the_edges_are_those_which_the_settings_use(k8s: Manifests) -> None:
    policies, pods = k8s.of("NetworkPolicy"), _pods(k8s)

    allowed = {
        (source, target, port)
        for source in pods
        for target in pods
        for port in PORTS
        if allows_edge(policies, pods[source], pods[target], port)
    }

    among_themselves = {("nats", "nats", 6222)}
    if k8s.overlay == "production":
        among_themselves.add(("postgres", "postgres", 5432))
    assert allowed == set(_edges_in_settings(k8s)) | among_themselves


def test_every_pod_may_ask_for_names(k8s: Manifests) -> None:
    names = k8s.one("NetworkPolicy", "names")

    (rule,) = names["spec"]["egress"]
    assert names["spec"]["podSelector"] == {}
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {("UDP", 53), ("TCP", 53)}


def test_the_gateway_is_open_to_the_world_on_its_port_alone(k8s: Manifests) -> None:
    policies, pods = k8s.of("NetworkPolicy"), _pods(k8s)
    stranger = {"app.kubernetes.io/name": "ingress-controller"}
    inbound = k8s.one("NetworkPolicy", "gateway")["spec"]["ingress"]

    assert inbound == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]
    for name, labels in pods.items():
        if name != "gateway":
            without_egress = [p for p in policies if p["spec"]["policyTypes"] != ["Egress"]]
            assert not any(allows_edge(without_egress, stranger, labels, port) for port in PORTS)


@pytest.mark.parametrize("text", ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111"])
def test_webhooks_reach_the_internet_and_nobody_else_does(k8s: Manifests, text: str) -> None:
    policies, pods = k8s.of("NetworkPolicy"), _pods(k8s)

    reaching = {n for n, labels in pods.items() if allows_address(policies, labels, ip_address(text), 8443)}

    assert reaching == {"webhooks"}


@pytest.mark.parametrize("network", [*CLOSED, *SEALED], ids=str)
def test_what_the_egress_guard_refuses_the_cluster_refuses_too(network: IPv4Network | IPv6Network) -> None:
    for address in (network[0], network[-1], network[network.num_addresses // 2]):
        assert not _webhooks_reach(address)


@settings(max_examples=300, deadline=None)
@given(st.ip_addresses())
def test_the_cluster_is_never_wider_than_the_egress_guard(address: IPv4Address | IPv6Address) -> None:
    assert not _webhooks_reach(address) or Guard().refusal(str(address)) is None


def _webhooks_reach(address: IPv4Address | IPv6Address) -> bool:
    production = manifests("production")
    return allows_address(production.of("NetworkPolicy"), production.pod("webhooks").labels, address, 443)


def _pods(k8s: Manifests) -> dict[str, Labels]:
    return {pod.name: pod.labels for pod in k8s.pods()} | ({"postgres": POSTGRES} if _has_cluster(k8s) else {})


def _has_cluster(k8s: Manifests) -> bool:
    return bool(k8s.of("Cluster"))


def _edges_in_settings(k8s: Manifests) -> Iterator[tuple[str, str, int]]:
    """Every URL and address in a pod's environment is a connection that the pod will make."""
    for name in (*PROCESSES, *CARRIERS, "migrate"):
        pod = k8s.pod(name)
        for container in pod.containers:
            for variable, value in k8s.environment(container).items():
                if variable.endswith(("_URL", "_ADDR")) and variable != "SKUTRAIL_PUBLIC_URL":
                    yield (name, *_target(k8s, value))


def _target(k8s: Manifests, url: str) -> tuple[str, int]:
    parts = urlsplit(url.replace("dns:///", "dns://"))
    assert parts.hostname
    assert parts.port
    if parts.hostname == "postgres-rw":
        return "postgres", parts.port
    service = k8s.one("Service", parts.hostname)
    return service["metadata"]["name"], _pod_port(k8s, service, parts.port)


def _pod_port(k8s: Manifests, service: Document, port: int) -> int:
    (target,) = [entry["targetPort"] for entry in service["spec"]["ports"] if entry["port"] == port]
    container = k8s.pod(service["metadata"]["name"]).main
    (number,) = [entry["containerPort"] for entry in container["ports"] if entry["name"] == target]
    assert isinstance(number, int)
    return number
