"""No secret lies in the manifests; every one they refer to is made by the script, at random, and told to operators."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.kubectl import ROOT
from tests.deploy.manifests import MADE_BY_CLOUDNATIVEPG, Manifests, decoded, make_secrets, secrets

SECRET_NAMES = re.compile(r"PASSWORD|SECRET|KEY|TOKEN")


def test_the_manifests_hold_no_secret(k8s: Manifests) -> None:
    assert k8s.of("Secret") == []
    for pod in k8s.pods():
        for container in pod.containers:
            for entry in container["env"]:
                if SECRET_NAMES.search(entry["name"]):
                    assert entry.keys() == {"name", "valueFrom"}, entry["name"]
                    assert entry["valueFrom"].keys() == {"secretKeyRef"}, entry["name"]


def test_no_url_carries_a_password_of_its_own() -> None:
    for file in _files():
        for password in re.findall(r"://[^:/\s\"]+:([^@\s]+)@", file.read_text()):
            assert re.fullmatch(r"\$\(\w+\)", password), file.name


def test_every_secret_referred_to_is_made_by_the_script(k8s: Manifests) -> None:
    for name, key in _references(k8s):
        if name not in MADE_BY_CLOUDNATIVEPG:
            assert secrets()[name][key]


def test_a_secret_stays_with_the_process_it_is_for(k8s: Manifests) -> None:
    for pod in k8s.pods():
        for entry in pod.main["env"]:
            reference = entry.get("valueFrom", {}).get("secretKeyRef", {})
            if reference.get("name", "").startswith("database-") and pod.name not in ("migrate", "postgres"):
                assert reference["name"] == f"database-{pod.name}"
            if reference.get("name") == "nats-passwords" and pod.name != "nats":
                assert reference["key"] == pod.name


def test_two_runs_of_the_script_have_nothing_in_common() -> None:
    def values() -> set[str]:
        return {value for d in make_secrets() for key, value in d["stringData"].items() if key != "username"}

    first, second = values(), values()

    assert len(first) == len(second) == 11 + 5 + 3
    assert not first & second


def test_passwords_stand_in_urls_and_in_nats_conf_as_they_are() -> None:
    passwords = [made["password"] for made in secrets().values() if "password" in made]

    for password in [*passwords, *secrets()["nats-passwords"].values()]:
        assert re.fullmatch(r"[a-z][a-z0-9]{40,}", password)


def test_keys_are_32_bytes() -> None:
    assert {len(decoded(key)) for key in secrets()["application-keys"].values()} == {32}


def test_the_operators_page_names_every_secret() -> None:
    page = (ROOT / "docs/operations.md").read_text()

    for document in make_secrets():
        name = document["metadata"]["name"]
        shown = re.sub(r"^database-(?!superuser)\w+", "database-<name>", name)
        assert f"`{shown}`" in page, shown


def _references(k8s: Manifests) -> Iterator[tuple[str, str]]:
    for pod in k8s.pods():
        for container in pod.containers:
            for entry in container["env"]:
                reference = entry.get("valueFrom", {}).get("secretKeyRef")
                if reference:
                    yield reference["name"], reference["key"]
        for volume in pod.spec["volumes"]:
            if "secret" in volume:
                yield from ((volume["secret"]["secretName"], item["key"]) for item in volume["secret"]["items"])


def _files() -> list[Path]:
    return [file for file in (ROOT / "deploy").rglob("*") if file.is_file()]
