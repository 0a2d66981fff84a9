"""The very configuration that the cluster mounts, given to a real nats-server."""

import asyncio
import re
import subprocess
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, StreamConfig

from cli.local.nats import binary
from cli.migrate import topology
from tests.deploy.broker import lay_out
from tests.deploy.kubectl import ROOT
from tests.deploy.manifests import SERVICES, Manifests, manifests

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def test_a_real_server_accepts_the_configuration(k8s: Manifests, tmp_path: Path) -> None:
    done = subprocess.run(
        [binary(), "-t", "-c", lay_out(k8s, tmp_path)],
        env=k8s.environment(k8s.pod("nats").main),
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )

    assert done.returncode == 0, done.stderr


def test_an_acknowledged_event_is_on_the_disk(k8s: Manifests) -> None:
    assert re.search(r"^\s*sync_interval: always$", k8s.config("nats-config")["nats.conf"], re.MULTILINE)


def test_the_store_ends_before_its_volume_does(k8s: Manifests) -> None:
    (claim,) = k8s.one("StatefulSet", "nats")["spec"]["volumeClaimTemplates"]

    assert _store_bytes(k8s) <= 0.8 * _bytes(claim["spec"]["resources"]["requests"]["storage"])


def test_all_streams_fit_into_the_store_when_they_are_full(k8s: Manifests) -> None:
    streams, _ = topology()

    # A server of the cluster holds at most one replica of each.
    assert sum(stream.bytes_max for stream in streams) <= _store_bytes(k8s)


def test_every_server_of_the_cluster_is_in_its_configuration(production: Manifests) -> None:
    text = production.config("nats-config")["cluster.conf"]
    replicas = production.pod("nats").replicas

    assert re.findall(r"nats://([\w.-]+):6222", text) == [f"nats-{n}.nats-routes" for n in range(replicas)]
    migrate = production.environment(production.pod("migrate").main)
    assert migrate["SKUTRAIL_STREAM_REPLICAS"] == str(replicas)


def test_the_server_has_time_for_its_lame_duck(k8s: Manifests) -> None:
    text = k8s.config("nats-config")["nats.conf"]
    seconds = [int(n) for n in re.findall(r"^lame_duck_\w+: (\d+)s$", text, re.MULTILINE)]

    assert len(seconds) == 2
    assert k8s.pod("nats").spec["terminationGracePeriodSeconds"] >= sum(seconds) + 10


async def test_a_process_announces_what_the_catalogue_says_and_nothing_else(server: str) -> None:
    for user in SERVICES:
        denied = await _denied(server, user, [f"skutrail.{kind}" for kind in _catalogue()])
        assert denied == {f"skutrail.{kind}" for kind, announcer in _catalogue().items() if announcer != user}


async def test_a_process_cannot_change_what_the_migration_declared(server: str) -> None:
    api = ["STREAM.CREATE.x", "STREAM.UPDATE.x", "STREAM.DELETE.x", "STREAM.PURGE.x", "CONSUMER.DELETE.x.y"]
    subjects = [f"$JS.API.{call}" for call in [*api, "CONSUMER.DURABLE.CREATE.x.y", "STREAM.MSG.DELETE.x"]]

    for user in SERVICES:
        assert await _denied(server, user, subjects) == set(subjects)


async def test_a_process_takes_an_event_and_acknowledges_it(server: str) -> None:
    admin = await _connect(server, "migrate")
    await admin.jetstream().add_stream(StreamConfig(name="taken", subjects=["skutrail.inventory.updated"]))
    await admin.jetstream().add_consumer("taken", ConsumerConfig(durable_name="webhooks"))

    inventory, webhooks = await _connect(server, "inventory"), await _connect(server, "webhooks")
    await inventory.jetstream().publish("skutrail.inventory.updated", b"entry", timeout=2)
    subscription = await webhooks.jetstream().pull_subscribe_bind("webhooks", "taken")
    (message,) = await subscription.fetch(1, timeout=2)
    await message.ack_sync(timeout=2)

    left = await admin.jetstream().consumer_info("taken", "webhooks")
    assert (left.num_pending, left.num_ack_pending) == (0, 0)
    for client in (admin, inventory, webhooks):
        await client.close()


async def test_nobody_is_let_in_without_a_password(server: str) -> None:
    host, _, port = server.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"CONNECT {}\r\nPING\r\n")
    async with asyncio.timeout(5):
        greeting, answer = await reader.readline(), await reader.readline()
    writer.close()
    await writer.wait_closed()

    assert greeting.startswith(b"INFO ")
    assert answer == b"-ERR 'Authorization Violation'\r\n"


async def _connect(server: str, user: str, errors: list[str] | None = None) -> Client:
    """A client with the URL that the user's pod is given, at this server's address."""
    local = manifests("local")
    url = local.environment(local.pod(user).main)["SKUTRAIL_NATS_URL"]

    async def note(error: Exception) -> None:
        assert errors is not None, error
        errors.append(str(error))

    return await nats.connect(url.replace("nats:4222", server.removeprefix("nats://")), error_cb=note)


async def _denied(server: str, user: str, subjects: list[str]) -> set[str]:
    errors: list[str] = []
    client = await _connect(server, user, errors)
    for subject in subjects:
        await client.publish(subject, b"")
    # The library's first ping overtakes what is still in its buffer: the second answer comes after every refusal.
    await client.flush()
    await client.flush()
    await client.close()
    refused = {match[1] for error in errors if (match := re.search(r'violation for publish to "([^"]+)"', error))}
    return {subject for subject in subjects if subject.lower() in refused}  # the library tells in lower case


def _catalogue() -> dict[str, str]:
    """The table in events.proto: {event type: who announces it}."""
    text = (ROOT / "proto/skutrail/v1/events.proto").read_text()
    rows = re.findall(r"^// ([a-z]+\.[a-z_]+)\s+\w+\s+([a-z]+)\s+(?:yes|no)", text, re.MULTILINE)
    assert len(rows) >= 12
    return dict(rows)


def _store_bytes(k8s: Manifests) -> int:
    found = re.search(r"^\s*max_file_store: (\w+)$", k8s.config("nats-config")["nats.conf"], re.MULTILINE)
    assert found
    return _bytes(found[1])


def _bytes(quantity: str) -> int:
    found = re.fullmatch(r"(\d+)([KMG]iB?)", quantity)
    assert found
    return int(found[1]) * UNITS[found[2]]
