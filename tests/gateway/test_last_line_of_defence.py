"""Whatever a handler raises: the caller is told that something went wrong, and the log is told what."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.metrics import Metrics
from gateway.middleware import LOGGED, METRICS, edge, one_in
from gateway.serving import serve
from tests.gateway.asking import Caller


async def _break(_: web.Request) -> web.Response:
    raise RuntimeError("postgresql://skutrail:secret@10.0.0.7/inventory")


async def test_a_defect_is_told_to_the_log_once_and_not_to_the_caller(session: aiohttp.ClientSession) -> None:
    app = web.Application(middlewares=[edge])
    app[METRICS] = Metrics()
    app[LOGGED] = one_in(1)
    app.router.add_get("/broken", _break)
    serving = await serve(app, host="127.0.0.1", port=0)

    with capture_logs() as lines:
        answer = await Caller(session, serving.url).get("/broken")
    await serving.stop()

    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"skutrail:" not in answer.body
    assert b"10.0.0.7" not in answer.body
    assert "Traceback" not in answer.body.decode()
    assert [line["event"] for line in lines] == ["request.failed", "request"]
    assert isinstance(lines[0]["exc_info"], RuntimeError)


async def test_noise_is_logged_in_a_line(session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture) -> None:
    serving = await serve(web.Application(), host="127.0.0.1", port=0)

    with capture_logs() as lines:
        answer = await Caller(session, serving.url).get("/", headers={"X": "x" * 9000})
    await serving.stop()

    assert answer.status == 400
    assert [(line["event"], line["cause"]) for line in lines] == [("request.unreadable", "LineTooLong")]
    assert not caplog.records
