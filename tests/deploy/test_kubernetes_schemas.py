"""Every document against the schemas of Kubernetes, unknown fields refused."""

import kubernetes_validate
import pytest

from tests.deploy.manifests import Manifests, make_secrets

VERSION = "1.34"
# Their schemas come with CloudNativePG, not with Kubernetes: test_kubernetes_postgres.py asserts what we use of them.
WITHOUT_SCHEMA = {("postgresql.cnpg.io/v1", "Cluster"), ("postgresql.cnpg.io/v1", "Database")}


def test_every_document_is_what_the_api_server_accepts(k8s: Manifests) -> None:
    for document in k8s.documents:
        if (document["apiVersion"], document["kind"]) not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(document, VERSION, strict=True)


def test_the_schemas_catch_a_mistake(k8s: Manifests) -> None:
    service = k8s.one("Service", "inventory")
    wrong = service | {"spec": service["spec"] | {"ports": [{"port": "50051"}]}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_the_secrets_the_script_makes_are_accepted_too() -> None:
    for document in make_secrets():
        kubernetes_validate.validate(document, VERSION, strict=True)


def test_nothing_is_named_twice_and_everything_lies_in_our_namespace(k8s: Manifests) -> None:
    names = [(document["kind"], document["metadata"]["name"]) for document in k8s.documents]

    assert len(names) == len(set(names))
    assert {d["metadata"].get("namespace") for d in k8s.documents if d["kind"] != "Namespace"} == {"skutrail"}
