"""NetworkPolicy as Kubernetes reads it, for pods of one namespace: an edge needs both ends to allow it."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

from tests.deploy.manifests import Document

Labels = Mapping[str, str]


def allows_edge(policies: Sequence[Document], source: Labels, target: Labels, port: int) -> bool:
    """Whether a pod may open a TCP connection to a port of another pod."""
    return _lets(policies, "Egress", source, target, port) and _lets(policies, "Ingress", target, source, port)


def allows_address(policies: Sequence[Document], source: Labels, address: IPv4Address | IPv6Address, port: int) -> bool:
    """Whether a pod may open a TCP connection to an address outside of the cluster."""
    rules = [rule for policy in _selecting(policies, "Egress", source) for rule in policy["spec"].get("egress", ())]
    blocks = [peer["ipBlock"] for rule in rules if _covers(rule, port) for peer in rule["to"] if "ipBlock" in peer]
    return any(_holds(block, address) for block in blocks)


def is_closed(policies: Sequence[Document], pod: Labels, direction: str) -> bool:
    """Whether a pod is under any policy of a direction: only then is what is not allowed refused."""
    return bool(_selecting(policies, direction, pod))


def _lets(policies: Sequence[Document], direction: str, pod: Labels, peer: Labels, port: int) -> bool:
    selecting = _selecting(policies, direction, pod)
    side = "to" if direction == "Egress" else "from"
    rules = [rule for policy in selecting for rule in policy["spec"].get(direction.lower(), ())]
    return not selecting or any(_covers(rule, port) and _admits(rule, side, peer) for rule in rules)


def _selecting(policies: Sequence[Document], direction: str, pod: Labels) -> list[Document]:
    return [
        policy
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and _matches(policy["spec"]["podSelector"], pod)
    ]


def _admits(rule: Document, side: str, pod: Labels) -> bool:
    if side not in rule:
        return True  # from anywhere, to anywhere
    return any("namespaceSelector" not in peer and _matches(peer.get("podSelector"), pod) for peer in rule[side])


def _covers(rule: Document, port: int) -> bool:
    return any(
        entry.get("protocol") == "TCP" and entry["port"] <= port <= entry.get("endPort", entry["port"])
        for entry in rule["ports"]
    )


def _matches(selector: Document | None, pod: Labels) -> bool:
    return selector is not None and selector.get("matchLabels", {}).items() <= pod.items()


def _holds(block: Document, address: IPv4Address | IPv6Address) -> bool:
    inside = address in ip_network(block["cidr"])
    return inside and not any(address in ip_network(hole) for hole in block.get("except", ()))
