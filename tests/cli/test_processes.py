"""The table of processes: what each is told, and no more."""

from pathlib import Path

import pytest

from cli.local.children import Process
from cli.local.home import make_secrets, open_home
from cli.local.processes import (
    CHOICES,
    FOR_ALL,
    FOR_SHIPMENTS,
    FOR_THE_GATEWAY,
    FOR_THE_SERVICES,
    GATEWAY,
    SANDBOX,
    SERVICES,
    SHIPMENTS,
)
from cli.local.stack import Stack, choose_ports
from gateway.__main__ import GatewaySettings
from sandbox.__main__ import SandboxSettings
from services.shipments.__main__ import Settings


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    chosen = {name: f"chosen {name}" for name in CHOICES}
    return Stack(home=open_home(tmp_path), secrets=make_secrets(), ports=choose_ports(), chosen=chosen)


def test_what_was_chosen_reaches_the_processes_that_know_it(stack: Stack) -> None:
    def reached(process: Process) -> set[str]:
        return {name for name, value in process.environment(stack).items() if stack.chosen.get(name) == value}

    assert reached(GATEWAY) == {*FOR_ALL, *FOR_THE_GATEWAY}
    for service in SERVICES:
        own = FOR_SHIPMENTS if service is SHIPMENTS else ()
        assert reached(service) == {*FOR_ALL, *FOR_THE_SERVICES, *own}
    assert reached(SANDBOX) == {*FOR_ALL}


def test_a_scan_at_the_sandbox_is_seen_within_seconds_where_nothing_else_was_chosen(tmp_path: Path) -> None:
    plain = Stack(home=open_home(tmp_path), secrets=make_secrets(), ports=choose_ports())

    assert "SKUTRAIL_TRACK_EVERY_S" in CHOICES
    assert 0 < float(SHIPMENTS.environment(plain)["SKUTRAIL_TRACK_EVERY_S"]) <= 10
    assert Settings.model_fields["track_every_s"].default == 900


def test_the_gateway_is_told_nothing_that_it_does_not_read(stack: Stack) -> None:
    known = {f"SKUTRAIL_{name.upper()}" for name in GatewaySettings.model_fields}

    assert GATEWAY.environment(stack).keys() <= known


def test_the_sandbox_is_told_nothing_that_it_does_not_read(stack: Stack) -> None:
    known = {f"SKUTRAIL_{name.upper()}" for name in SandboxSettings.model_fields}

    assert SANDBOX.environment(stack).keys() <= known


def test_shipments_buys_where_the_sandbox_sells(stack: Stack) -> None:
    address = SANDBOX.environment(stack)["SKUTRAIL_SANDBOX_LISTEN"]

    assert SHIPMENTS.environment(stack)["SKUTRAIL_CARRIER_URL"] == f"http://{address}"
