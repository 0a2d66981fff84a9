"""skutrail parked, as an operator types it: what could not be handled is listed, mended and handed back."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chassis import parking
from chassis.consumer import POISON_DELIVERIES_MAX, Handler
from chassis.database import Database
from chassis.jetstream import ConsumerSpec
from cli.parked import app
from skutrail.v1 import events_pb2
from tests.chassis.conftest import Lane
from tests.chassis.probes import Admin, an_event, until
from tests.chassis.test_consumer import Reader, all_acked, broken, consuming, deliver_in_vain, raising

COMMAND = "from cli.parked import app; app()"


@dataclass(frozen=True)
class Ended:
    code: int | None
    out: str
    err: str


@dataclass(frozen=True)
class Operator:
    home: Path

    async def types(self, *arguments: str, **environment: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND, *arguments),
            env={**os.environ, "SKUTRAIL_HOME": str(self.home), **environment},
            stdout=PIPE,
            stderr=PIPE,
        )
        out, err = await process.communicate()
        return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def operator(tmp_path: Path, database_url: str, nats_url: str) -> Operator:
    """In front of a home whose stack runs: orders on our database, the other services nowhere."""
    running = {"nats_url": nats_url, "databases": {"orders": database_url}}
    (tmp_path / "stack.json").write_text(json.dumps(running))
    return Operator(tmp_path)


async def park(database: Database, event: events_pb2.Event, consumer: str, error: str = "ValueError: no") -> None:
    subject, payload = f"skutrail.{event.type}", event.SerializeToString()
    work = partial(parking.park, consumer=consumer, event_id=event.id, subject=subject, payload=payload, error=error)
    await database.run(work)


async def waiting(database: Database) -> list[str]:
    return [event.event_id for event in await database.run(lambda tx: parking.waiting(tx, 10))]


async def test_a_parked_event_is_listed_handed_back_and_handled_once(
    operator: Operator, database: Database, lane: Lane
) -> None:
    spec, bystander = lane.consumer("orders"), lane.consumer("webhooks")
    event, elsewhere = an_event(lane.type()), Reader()
    await lane.declare(spec, bystander)
    await lane.publish(event)
    await deliver_in_vain(lane, spec, POISON_DELIVERIES_MAX - 1)
    async with consuming(lane.nats_url, spec, {event.type: Reader(then=raising(broken))}, database):
        await until(lambda: all_acked(lane, spec))

    listed = await operator.types("list", "--service=orders")
    released = await operator.types("release", "orders", event.id)

    [line] = listed.out.splitlines()
    assert all(part in line for part in ("orders", spec.name, event.id, event.type, "ZeroDivisionError: no number"))
    assert (released.code, released.out) == (0, "")
    assert f"{event.id} is handed back to {spec.name}." in released.err
    mended = Reader()
    async with (
        consuming(lane.nats_url, spec, {event.type: mended}, database),
        consuming(lane.nats_url, bystander, {event.type: elsewhere}, database),
    ):
        await until(lambda: all_acked(lane, spec))
        await until(lambda: all_acked(lane, bystander))
    assert mended.seen == [event.id]
    assert elsewhere.seen == [event.id]  # when it was announced; what was released for another is not for it
    assert await waiting(database) == []


@pytest.mark.parametrize("is_readable", [True, False])
async def test_an_event_that_fails_again_is_listed_again_under_its_own_id(
    database: Database, lane: Lane, is_readable: bool
) -> None:
    spec, event = lane.consumer("orders"), an_event(lane.type())
    await lane.declare(spec)
    await lane.publish_raw(event.SerializeToString() if is_readable else b"\xff", message_id=event.id)
    await _let_it_fail(spec, {event.type: Reader(then=raising(broken))}, database, lane)

    [parked] = await database.run(lambda tx: parking.find(tx, event.id))
    await parking.release(database, lane.js, parked)
    assert await waiting(database) == []
    await _let_it_fail(spec, {event.type: Reader(then=raising(broken))}, database, lane)

    assert await waiting(database) == [event.id]


async def test_an_event_that_several_consumers_parked_is_released_for_the_one_that_is_named(
    operator: Operator, database: Database, lane: Lane, admin: Admin
) -> None:
    labels, stock = lane.consumer("labels"), lane.consumer("stock")
    event = an_event(lane.type())
    await lane.declare(labels, stock)
    await park(database, event, labels.name)
    await park(database, event, stock.name)

    named = await operator.types("release", "orders", event.id, f"--consumer={stock.name}")

    assert named.code == 0
    left = await admin.rows("SELECT consumer FROM parked_event WHERE released_at IS NULL")
    assert left == [(labels.name,)]


async def test_in_a_pod_the_database_and_nats_are_those_of_its_settings(
    operator: Operator, database: Database, lane: Lane, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    labels, event = lane.consumer("labels"), an_event(lane.type())
    await lane.declare(labels)
    await park(database, event, labels.name)
    pod = {"SKUTRAIL_HOME": str(tmp_path / "none"), "SKUTRAIL_DATABASE_URL": database_url}

    listed = await operator.types("list", "--service=orders", **pod)
    released = await operator.types("release", "orders", event.id, **pod, SKUTRAIL_NATS_URL=nats_url)

    assert event.id in listed.out
    assert (released.code, await waiting(database)) == (0, [])


async def test_what_cannot_be_released_stays_parked_and_the_operator_is_told_why(
    operator: Operator, database: Database, lane: Lane
) -> None:
    event, twice = an_event(lane.type()), an_event(lane.type())
    await park(database, event, "labels")
    await park(database, twice, "labels")
    await park(database, twice, "stock")

    tries = {
        ("release", "orders", event.id, "--nats-url=nats://127.0.0.1:1"): "NATS did not take it",
        ("release", "orders", twice.id): "is parked by labels, stock. Choose one by --consumer.",
        ("release", "orders", event.id): "There is no consumer labels any more.",
    }
    ended = await asyncio.gather(*(operator.types(*arguments) for arguments in tries))

    for told, reason in zip(ended, tries.values(), strict=True):
        assert (told.code, told.out) == (1, ""), told
        assert reason in told.err
        assert "Traceback" not in told.err
    assert sorted(await waiting(database)) == sorted([event.id, twice.id, twice.id])


def test_what_is_mistyped_is_told_in_one_line(tmp_path: Path) -> None:
    tries = {
        ("list",): "No stack runs in",
        ("list", "--database-url=postgresql://x"): "Say by --service whose database that is.",
        ("release", "stock", "evt_1"): "There is no service stock.",
    }

    for arguments, reason in tries.items():
        told = CliRunner().invoke(app, arguments, env={"SKUTRAIL_HOME": str(tmp_path)})

        assert (told.exit_code, told.stdout) == (1, "")
        assert told.stderr.startswith(f"skutrail: {reason}")


async def _let_it_fail(spec: ConsumerSpec, handlers: Mapping[str, Handler], database: Database, lane: Lane) -> None:
    await deliver_in_vain(lane, spec, POISON_DELIVERIES_MAX - 1)
    async with consuming(lane.nats_url, spec, handlers, database):
        await until(lambda: all_acked(lane, spec))
