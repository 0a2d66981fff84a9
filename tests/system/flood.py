"""As many movements as the machine carries: callers without a pause, on one hot SKU and on many, checked as they come.

A caller repeats a movement under its key until it is answered, sends some through two doors at once, and asks old keys
again. What the answers of one key say of each other is judged at once; the rest, when all is over, by serial.py.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.builders import WAREHOUSE, Body, eventually, movement
from tests.system.books import Place
from tests.system.keep_alive import KeepAlive, Reply
from tests.system.serial import ACCEPTED, Answered, Read

LEDGER = "/v1/inventory/ledger"
HOT, SPREAD = "SKU-HOT", tuple(f"SKU-{number:03}" for number in range(200))
# How often each is done; of the movements so many are sent twice at once, and so many name what they expect.
WEIGHTS = {"move": 85, "read": 6, "look": 2, "repeat": 6, "abuse": 1}
TWINS, CONDITIONS = 0.1, 0.2
AGAIN_S, ANSWERED_WITHIN_S = 0.1, 60.0
FAULTS_MAX = 20
_UNKNOWN = (503, 504)
_REFUSALS = ("insufficient_stock", "version_conflict")


@dataclass
class Flood:
    """What the callers of one tenant asked, and were told."""

    answered: list[Answered] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    looks: list[Body] = field(default_factory=list)
    """Entries that were read by their ids."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many answers of each kind there were."""
    faults: list[str] = field(default_factory=list)
    balances: dict[Place, int] = field(default_factory=dict)
    seqs: dict[Place, int] = field(default_factory=dict)
    """The last that callers heard of; by these they name what they expect."""
    is_ending: bool = False
    _awaited: list[tuple[float, asyncio.Future[float]]] = field(default_factory=list)

    def entries(self) -> dict[str, Body]:
        """The acknowledged entries, by id."""
        entries = (json.loads(one.body) for one in self.answered if one.status == ACCEPTED)
        return {entry["id"]: entry for entry in entries}

    def unknown(self) -> int:
        """How many questions were not answered: on a busy machine an answer may come too late."""
        return sum(count for kind, count in self.counts.items() if kind.startswith("unknown"))

    async def goes_on(self, answers: int, within_s: float = 30) -> None:
        """Waits until so many more movements were answered."""
        wanted = len(self.answered) + answers

        async def answered() -> int:
            return len(self.answered)

        await eventually(answered, lambda count: count >= wanted, within_s=within_s)

    async def success_after(self, instant: float, within_s: float) -> float:
        """When the first movement that was sent later was accepted."""
        success: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._awaited.append((instant, success))
        return await asyncio.wait_for(success, within_s)

    def note_success(self, began: float, ended: float) -> None:
        for instant, success in self._awaited:
            if began > instant and not success.done():
                success.set_result(ended)

    def blame(self, fault: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(fault)


@asynccontextmanager
async def flooding(doors: Sequence[str], api_key: str, *, seed: int, callers: int = 64) -> AsyncIterator[Flood]:
    """Work inside the block, through all doors (base URLs); behind it every movement has been answered."""
    flood = Flood()
    async with asyncio.TaskGroup() as tasks:
        for number in range(callers):
            near, far = (KeepAlive(doors[(number + step) % len(doors)], api_key) for step in (0, 1))
            caller = Caller(flood, f"{seed}-{number}", near, far)
            tasks.create_task(caller.run())
        try:
            yield flood
        finally:
            flood.is_ending = True


class Caller:
    def __init__(self, flood: Flood, name: str, near: KeepAlive, far: KeepAlive) -> None:
        self._flood, self._name, self._near, self._far = flood, name, near, far
        self._chance = random.Random(name)

    async def run(self) -> None:
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        try:
            for number in count():
                if self._flood.is_ending:
                    return
                [kind] = self._chance.choices(kinds, weights)
                if kind == "move" or not self._flood.answered:
                    await self._move(f"{self._name}-{number}")
                else:
                    await getattr(self, f"_{kind}")()
        finally:
            self._near.close()
            self._far.close()

    async def _move(self, key: str) -> None:
        sent = self._any_movement()
        is_twin = self._chance.random() < TWINS
        began = time.monotonic()
        doors = (self._near, self._far) if is_twin else (self._near,)
        replies = await asyncio.gather(*(self._answer(door, key, sent) for door in doors))
        answered = Answered(key, sent, began, time.monotonic(), replies[0].status, replies[0].body)
        self._judge(answered, replies)
        self._flood.answered.append(answered)

    async def _read(self) -> None:
        sku = self._any_sku()
        began = time.monotonic()
        reply = await _answered(self._get(f"/v1/inventory/balance?sku={sku}&warehouse={WAREHOUSE}"))
        self._flood.counts["read"] += 1
        self._flood.reads.append(Read((sku, WAREHOUSE), began, time.monotonic(), json.loads(reply.body)["balance"]))

    async def _look(self) -> None:
        """Reads one of the last entries by its id: that is what tells its seq."""
        earlier = self._chance.choice(self._flood.answered[-100:])
        if earlier.status == ACCEPTED:
            reply = await _answered(self._get(f"{LEDGER}/{json.loads(earlier.body)['id']}"))
            entry = json.loads(reply.body)
            self._flood.counts["look"] += 1
            self._flood.looks.append(entry)
            self._flood.seqs[earlier.place] = max(entry["seq"], self._flood.seqs.get(earlier.place, 0))

    async def _repeat(self) -> None:
        earlier = self._chance.choice(self._flood.answered)
        again = await self._answer(self._far, earlier.key, earlier.sent)
        self._flood.counts["repeat"] += 1
        if again != Reply(earlier.status, earlier.body, is_replayed=True):
            self._flood.blame(f"{earlier} was repeated with {again}")

    async def _abuse(self) -> None:
        """An old key for another movement."""
        earlier = self._chance.choice(self._flood.answered)
        refused = await self._answer(self._far, earlier.key, {**earlier.sent, "qty": earlier.sent["qty"] + 100})
        self._flood.counts["abuse"] += 1
        if (refused.status, refused.code) != (422, "idempotency_key_reused"):
            self._flood.blame(f"the key of {earlier} for another movement was answered with {refused}")

    async def _answer(self, door: KeepAlive, key: str, sent: Mapping[str, Any]) -> Reply:
        body = json.dumps(sent).encode()
        return await _answered(lambda: self._post(door, key, body))

    async def _post(self, door: KeepAlive, key: str, body: bytes) -> Reply | None:
        """None where it is to be tried again."""
        began = time.monotonic()
        reply = self._known(await door.post(LEDGER, body, key))
        if reply is not None and reply.code == "idempotency_key_in_use":
            self._flood.counts["in use"] += 1
            return None
        if reply is not None and reply.status == ACCEPTED:
            self._flood.note_success(began, time.monotonic())
        return reply

    def _get(self, path: str) -> Any:
        async def once() -> Reply | None:
            return self._known(await self._near.get(path))

        return once

    def _known(self, reply: Reply | None) -> Reply | None:
        if reply is None or reply.status in _UNKNOWN:
            self._flood.counts[f"unknown ({reply.status if reply else 'cut off'})"] += 1
            return None
        return reply

    def _judge(self, answered: Answered, replies: Sequence[Reply]) -> None:
        """Of one key: at most one first answer, and all of them the same, to the byte."""
        firsts = sum(not reply.is_replayed for reply in replies)
        if firsts > 1 or len({(reply.status, reply.body) for reply in replies}) > 1:
            self._flood.blame(f"{answered.sent} under one key was told {replies}")
        code = replies[0].code
        self._flood.counts[code or "accepted"] += 1
        self._flood.counts["twins"] += len(replies) - 1
        self._flood.counts["without a first answer"] += not firsts
        told = json.loads(answered.body)
        if answered.status == ACCEPTED:
            self._flood.balances[answered.place] = told["balance"]
        elif code not in _REFUSALS:
            self._flood.blame(f"{answered.sent} was told {replies}")
        elif code == "version_conflict" and "expected_seq" in answered.sent:
            self._flood.seqs[answered.place] = told["actual"]

    def _any_sku(self) -> str:
        return HOT if self._chance.random() < 0.5 else self._chance.choice(SPREAD)

    def _any_movement(self) -> Body:
        """In as much as out, so that there is often too little and seldom much."""
        chance = self._chance
        reason, lowest, highest = chance.choice(
            [("receipt", 1, 5), ("receipt", 1, 5), ("pick", 1, 7), ("adjustment", -4, -1), ("transfer", 1, 3)]
        )
        sent = movement(chance.randint(lowest, highest), self._any_sku(), reason=reason)
        place = sent["sku"], sent["warehouse"]
        if chance.random() < CONDITIONS:
            heard, name = chance.choice(
                [(self._flood.balances, "expected_balance"), (self._flood.seqs, "expected_seq")]
            )
            sent[name] = heard.get(place, 0)
        return sent


async def _answered(once: Any) -> Reply:
    """Asks until there is an answer."""
    reply: Reply | None = await eventually(
        once, lambda reply: reply is not None, within_s=ANSWERED_WITHIN_S, poll_s=AGAIN_S
    )
    assert reply is not None
    return reply
