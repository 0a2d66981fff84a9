"""The rendered overlays, as the tests read them: documents by kind, pods with what they run, and their environment."""

import base64
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.deploy.kubectl import ROOT, render

Document = dict[str, Any]

OVERLAYS = ("local", "production")
SERVICES = ("inventory", "shipments", "orders", "webhooks")
PROCESSES = (*SERVICES, "gateway")
CARRIERS = ("sandbox",)
MADE_BY_CLOUDNATIVEPG = ("postgres-ca",)


@dataclass(frozen=True)
class Pod:
    """What a Deployment, StatefulSet or Job runs."""

    kind: str
    name: str
    replicas: int
    labels: Mapping[str, str]
    spec: Document

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]

    @property
    def main(self) -> Document:
        container: Document = self.spec["containers"][0]
        return container


@dataclass(frozen=True)
class Manifests:
    overlay: str
    documents: tuple[Document, ...]

    def of(self, kind: str) -> list[Document]:
        return [document for document in self.documents if document["kind"] == kind]

    def one(self, kind: str, name: str) -> Document:
        (found,) = [document for document in self.of(kind) if document["metadata"]["name"] == name]
        return found

    def pods(self) -> list[Pod]:
        kinds = ("Deployment", "StatefulSet", "Job")
        return [_pod(document) for document in self.documents if document["kind"] in kinds]

    def pod(self, name: str) -> Pod:
        (found,) = [pod for pod in self.pods() if pod.name == name]
        return found

    def config(self, prefix: str) -> Mapping[str, str]:
        """A generated ConfigMap, by its name without the hash."""
        (found,) = [c for c in self.of("ConfigMap") if re.fullmatch(prefix + "-[a-z0-9]{10}", c["metadata"]["name"])]
        data: Mapping[str, str] = found["data"]
        return data

    def environment(self, container: Document) -> dict[str, str]:
        """What the process will find in its environment, with Secrets as made by make-secrets.sh."""
        variables: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            variables |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        for entry in container.get("env", ()):
            variables[entry["name"]] = _value(entry, variables)
        return variables


@cache
def manifests(overlay: str) -> Manifests:
    return Manifests(overlay, tuple(render(overlay)))


@cache
def secrets() -> Mapping[str, Mapping[str, str]]:
    """One run of make-secrets.sh: {name: {key: value}}."""
    return {document["metadata"]["name"]: document["stringData"] for document in make_secrets()}


def make_secrets() -> list[Document]:
    script = ROOT / "deploy/k8s/make-secrets.sh"
    done = subprocess.run([script], capture_output=True, text=True, check=True, timeout=10)
    return list(yaml.safe_load_all(done.stdout))


def decoded(key: str) -> bytes:
    return base64.b64decode(key, validate=True)


def _pod(document: Document) -> Pod:
    template = document["spec"]["template"]
    replicas = document["spec"].get("replicas", 1)
    labels = template["metadata"]["labels"]
    return Pod(document["kind"], document["metadata"]["name"], replicas, labels, template["spec"])


def _value(entry: Document, before: Mapping[str, str]) -> str:
    if "value" in entry:
        # Kubernetes expands $(NAME) from what stands above, and leaves the rest as it is.
        return re.sub(r"\$\((\w+)\)", lambda match: before.get(match[1], match[0]), entry["value"])
    source = entry["valueFrom"]
    if "fieldRef" in source:
        return "a-pod"
    reference = source["secretKeyRef"]
    return secrets()[reference["name"]][reference["key"]]
