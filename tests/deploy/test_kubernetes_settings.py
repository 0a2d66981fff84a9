"""What the manifests start and configure exists in the code: commands, settings, ports, addresses."""

import importlib
import importlib.util
import os
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest
import typer
from psycopg import pq

from chassis.config import ProcessSettings
from cli import migrate
from cli.main import app
from cli.provision import NAMES, ROLES
from gateway.client_address import parse_networks
from tests.deploy.kubectl import ROOT
from tests.deploy.manifests import PROCESSES, SERVICES, Document, Manifests, manifests

MODULES = {name: f"services.{name}" for name in SERVICES} | {"gateway": "gateway", "sandbox": "sandbox"}


def test_every_process_is_started_by_the_command_that_starts_it_anywhere(k8s: Manifests) -> None:
    for name, module in MODULES.items():
        assert k8s.pod(name).main["command"] == ["python", "-m", module]
        assert importlib.util.find_spec(f"{module}.__main__")


def test_the_jobs_run_commands_that_skutrail_has(k8s: Manifests) -> None:
    known = typer.main.get_group(app).commands.keys()

    for container in k8s.pod("migrate").containers:
        program, command = container["command"]
        assert program == "skutrail"
        assert command in known


@pytest.mark.parametrize("name", MODULES)
def test_a_process_accepts_its_settings(k8s: Manifests, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    container = k8s.pod(name).main

    _enter(k8s.environment(container), monkeypatch)
    settings = _settings_of(name)()

    assert settings


@pytest.mark.parametrize("name", MODULES)
def test_a_process_is_given_no_setting_that_it_does_not_read(k8s: Manifests, name: str) -> None:
    container = k8s.pod(name).main

    assert _own_variables(container) <= _variables_of(name)


def test_the_shared_settings_are_each_read_by_somebody(k8s: Manifests) -> None:
    libpq = {option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar}
    read = libpq.union(*(_variables_of(name) for name in MODULES))

    assert k8s.config("settings").keys() <= read


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_listens_where_its_pod_and_its_probes_say(k8s: Manifests, name: str) -> None:
    container = k8s.pod(name).main
    default_port = _settings_of(name).model_fields["grpc_listen"].default.rpartition(":")[2]

    assert k8s.environment(container)["SKUTRAIL_GRPC_LISTEN"] == f"0.0.0.0:{default_port}"
    assert container["ports"] == [{"name": "grpc", "containerPort": int(default_port)}]


def test_the_gateway_listens_where_its_pod_says(k8s: Manifests) -> None:
    container = k8s.pod("gateway").main
    environment = k8s.environment(container)
    default_port = _settings_of("gateway").model_fields["http_port"].default

    assert environment["SKUTRAIL_HTTP_HOST"] == "0.0.0.0"
    assert environment["SKUTRAIL_HTTP_PORT"] == str(default_port)
    assert container["ports"] == [{"name": "http", "containerPort": default_port}]


def test_the_sandbox_listens_where_its_pod_and_shipments_say(k8s: Manifests) -> None:
    container = k8s.pod("sandbox").main
    default_port = _settings_of("sandbox").model_fields["sandbox_listen"].default.rpartition(":")[2]

    assert k8s.environment(container)["SKUTRAIL_SANDBOX_LISTEN"] == f"0.0.0.0:{default_port}"
    assert container["ports"] == [{"name": "http", "containerPort": int(default_port)}]
    assert k8s.environment(k8s.pod("shipments").main)["SKUTRAIL_CARRIER_URL"] == f"http://sandbox:{default_port}"


def test_the_sandbox_writes_to_a_volume_of_its_own(k8s: Manifests) -> None:
    pod = k8s.pod("sandbox")
    file = PurePosixPath(k8s.environment(pod.main)["SKUTRAIL_SANDBOX_FILE"])

    (mount,) = [mount for mount in pod.main["volumeMounts"] if PurePosixPath(mount["mountPath"]) == file.parent]
    (volume,) = [volume for volume in pod.spec["volumes"] if volume["name"] == mount["name"]]
    assert "emptyDir" in volume


@pytest.mark.parametrize("overlay", ["local", "production"])
def test_all_gateways_share_their_rate_limits_in_their_own_database(overlay: str) -> None:
    k8s = manifests(overlay)
    environment = k8s.environment(k8s.pod("gateway").main)

    assert environment["SKUTRAIL_RATE_LIMIT_URL"] == environment["SKUTRAIL_DATABASE_URL"]


def test_the_proxies_of_production_are_written_as_the_gateway_reads_them(production: Manifests) -> None:
    assert parse_networks(production.config("settings")["SKUTRAIL_TRUSTED_PROXIES"]) == ()


def test_services_are_addressed_by_name_and_balanced_by_the_client(k8s: Manifests) -> None:
    for name in PROCESSES:
        for variable, address in k8s.environment(k8s.pod(name).main).items():
            if variable.endswith("_ADDR"):
                target = variable.removeprefix("SKUTRAIL_").removesuffix("_ADDR").lower()
                assert address == f"dns:///{target}:50051"


def test_the_migration_finds_what_it_needs(k8s: Manifests) -> None:
    owner_urls, nats_url = migrate.settings_from(k8s.environment(k8s.pod("migrate").main))[:2]

    for name in NAMES:
        assert re.fullmatch(
            rf"postgresql://skutrail_{name}_owner:p[0-9a-f]{{48}}@postgres-rw:5432/skutrail_{name}", owner_urls[name]
        )
    assert re.fullmatch(r"nats://migrate:p[0-9a-f]{48}@nats:4222", nats_url)


def test_the_migration_is_given_nothing_that_it_does_not_read(k8s: Manifests) -> None:
    known = {f"SKUTRAIL_{name.upper()}_OWNER_URL" for name in NAMES} | _named_in_the_commands()

    assert _own_variables(k8s.pod("migrate").main) <= known


def test_the_local_overlay_provisions_every_role_with_the_password_that_its_process_uses() -> None:
    local = manifests("local")
    (provision,) = local.pod("migrate").spec["initContainers"]
    given = local.environment(provision)

    assert given["SKUTRAIL_SUPERUSER_URL"].startswith("postgresql://postgres:p")
    assert {f"{role.upper()}_PASSWORD" for role in ROLES} <= given.keys()
    for name in PROCESSES:
        database_url = local.environment(local.pod(name).main)["SKUTRAIL_DATABASE_URL"]
        password = given[f"SKUTRAIL_{name.upper()}_PASSWORD"]
        assert database_url == f"postgresql://skutrail_{name}:{password}@postgres-rw:5432/skutrail_{name}"


@pytest.mark.parametrize("name", MODULES)
def test_the_page_for_operators_tells_every_setting_its_reader_and_its_default(name: str) -> None:
    told = _told_to_operators()

    for field, setting in _settings_of(name).model_fields.items():
        readers, default = told[f"SKUTRAIL_{field.upper()}"]
        assert {"all", name, "services" if name in SERVICES else "all"} & {*readers.split(", ")}, field
        written = "none" if setting.default == "" else f"`{setting.default}`"
        assert default == ("" if setting.is_required() else written), field


def _told_to_operators() -> Mapping[str, tuple[str, str]]:
    """Who reads a setting, and its default, by its name: the table at the end of the page."""
    page = (ROOT / "docs" / "operations.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `SKUTRAIL_")]
    return {name.strip(" `"): (readers.strip(), default.strip()) for _, name, readers, default, *_ in rows}


def _settings_of(name: str) -> type[ProcessSettings]:
    """The class of settings that a __main__ makes: the most special one it knows."""
    module = importlib.import_module(f"{MODULES[name]}.__main__")
    known = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, ProcessSettings)]
    return max(known, key=lambda settings: len(settings.__mro__))


def _variables_of(name: str) -> set[str]:
    return {f"SKUTRAIL_{field.upper()}" for field in _settings_of(name).model_fields}


def _own_variables(container: Document) -> set[str]:
    """The variables of the pod itself, without those that only stand in another one's value."""
    entries: list[dict[str, Any]] = container["env"]
    quoted = set(re.findall(r"\$\((\w+)\)", " ".join(entry.get("value", "") for entry in entries)))
    return {entry["name"] for entry in entries} - quoted


def _named_in_the_commands() -> set[str]:
    return {name for file in (ROOT / "cli").glob("*.py") for name in re.findall(r"SKUTRAIL_[A-Z_]+", file.read_text())}


def _enter(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SKUTRAIL_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
