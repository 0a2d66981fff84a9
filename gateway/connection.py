"""What aiohttp would answer by itself, before any middleware: in our words, and with nothing of what was sent.

aiohttp offers no hook for these answers, so three of its classes are extended here; tests/gateway/test_hostile_http.py
watches that they still are asked.
"""

from __future__ import annotations

from typing import Any

from aiohttp import http_exceptions, web

from chassis.errors import Fault
from chassis.ids import new_id
from chassis.logs import log
from gateway import problems
from gateway.middleware import stamp


class Runner(web.AppRunner):
    """An AppRunner whose connections refuse in our words."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        handle = made.request_handler

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await handle(request)
            except web.HTTPExpectationFailed as refusal:
                return _refuse(_NO_SUCH_EXPECTATION, refusal)

        return _Server(
            answer,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        response = _refuse(_fault(exc), exc)
        response.force_close()
        return response


_NO_SUCH_EXPECTATION = Fault("invalid_parameter", "The only expectation that is met is 100-continue.")


def _refuse(fault: Fault, cause: BaseException | None) -> web.Response:
    request_id = new_id("req")
    if fault.code == "internal_error":
        log.error("request.failed", request_id=request_id, exc_info=cause)
    else:
        # A line is enough: what is not HTTP is noise, and no defect of ours.
        log.info("request.unreadable", request_id=request_id, cause=type(cause).__name__)
    response = problems.respond(fault, request_id)
    stamp(response, request_id)
    return response


def _fault(error: Any) -> Fault:
    match error:
        case http_exceptions.LineTooLong():
            return Fault("invalid_parameter", "The request line or a header is too long.")
        case http_exceptions.InvalidURLError():
            return Fault("invalid_parameter", "The target of the request cannot be read.")
        case http_exceptions.HttpProcessingError():
            return Fault(
                "invalid_parameter",
                "The request is not HTTP/1.1: see its request line, its Host, its headers, its framing.",
            )
        case _:
            return Fault("internal_error", "Something went wrong on our side.")
