"""Creates shipments at a pace that does not depend on the answers, for some seconds; a process of its own.

    python -m bench.pacer URL SECONDS PER_SECOND SKUS TAG API_KEYS_FILE

Prints one line of JSON. A time runs from the moment at which a request was due, so that whoever is late is seen to be.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from bench.lines import percentiles

TIMEOUT = aiohttp.ClientTimeout(total=30.0)
ACCEPTED = 202
QTY_MAX = 3
SHIP_TO = {
    **{"name": "Ada Lovelace", "line1": "1 Shoreline Dr", "city": "Seattle", "state": "WA"},
    **{"postal": "98101", "country": "US"},
}


@dataclass
class Tally:
    sent: int = 0
    accepted: int = 0
    answer_ms: list[float] = field(default_factory=list)


async def main(url: str, seconds: float, per_second: int, skus: int, tag: str, api_keys: Sequence[str]) -> None:
    tally = Tally()
    # No bound on connections: a request that waits for one would not be sent when it is due.
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector, timeout=TIMEOUT) as session:
        started = time.monotonic()
        async with asyncio.TaskGroup() as sending:
            for number in range(round(seconds * per_second)):
                due = started + number / per_second
                await asyncio.sleep(due - time.monotonic())
                request = _request(f"{tag}-{number}", skus, random.choice(api_keys))  # noqa: S311 - any will do
                sending.create_task(_send(session, request, due, tally))
                tally.sent += 1
            took_s = time.monotonic() - started + 1 / per_second
    print(json.dumps(_told(tally, took_s)))


async def _send(session: aiohttp.ClientSession, request: Mapping[str, Any], due: float, tally: Tally) -> None:
    try:
        async with session.post("/v1/shipments", **request) as response:
            await response.read()
            tally.accepted += response.status == ACCEPTED
    except (aiohttp.ClientError, TimeoutError):
        return  # sent and not accepted: an error
    tally.answer_ms.append((time.monotonic() - due) * 1000)


def _request(key: str, skus: int, api_key: str) -> Mapping[str, Any]:
    line = {"sku": f"SKU-{random.randint(1, skus)}", "qty": random.randint(1, QTY_MAX)}  # noqa: S311 - any will do
    return {
        "headers": {"Authorization": f"Bearer {api_key}", "Idempotency-Key": key},
        "json": {"order_id": key, "ship_to": SHIP_TO, "line_items": [line]},
    }


def _told(tally: Tally, took_s: float) -> dict[str, float]:
    p50_ms, p99_ms = percentiles(tally.answer_ms)
    return {
        "sent": tally.sent,
        "accepted": tally.accepted,
        "seconds": took_s,
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
    }


if __name__ == "__main__":
    url_, seconds_, per_second_, skus_, tag_, file = sys.argv[1:]
    api_keys_ = Path(file).read_text().split()
    uvloop.run(main(url_, float(seconds_), int(per_second_), int(skus_), tag_, api_keys_))
