"""A keyed write: validated, sent to the service that owns it, shown.

A valid body goes straight to the service, which claims the key in the transaction of the effect and replays there.
Only a body that is refused asks for the stored answer first: a finished key replays before validation, so that a
stricter release never breaks the retry of a request that an older one accepted (docs/decisions/0004). A key of the
caller's own is reserved in the register first, unless the owner is the one that keeps it (register.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiohttp import web
from google.protobuf.message import Message

from chassis import rpc
from chassis.errors import Fault, from_message
from gateway import register, validation
from gateway.call import Call
from gateway.upstream import Upstream
from gateway.validation import Request
from skutrail.v1 import common_pb2

Reply = TypeVar("Reply", bound=Message)
Replayed = bool


@dataclass(frozen=True)
class Write(Generic[Request, Reply]):
    """What a keyed POST is made of; called with a Call it is the handler."""

    model: type[Request]
    # Sends the valid request; raises the Fault that refuses it.
    send: Callable[[Call, Request], Awaitable[tuple[Reply, Replayed]]]
    # The message that the owner stores under the key, and how it is shown to this call.
    stored: type[Reply]
    show: Callable[[Call, Reply], web.Response]
    # The service that owns the write, and keeps the answers of its keys.
    owner: Callable[[Upstream], Any]

    async def __call__(self, call: Call) -> web.Response:
        try:
            request = validation.read(self.model, call.body)
        except Fault as refusal:
            return await self._replay(call, refusal)
        async with self._registered(call):
            reply, replayed = await self.send(call, request)
        return _marked(self.show(call, reply), replayed)

    def _registered(self, call: Call) -> AbstractAsyncContextManager[None]:
        # A key that was just made is nobody else's.
        must_register = call.has_own_key and not self._is_registrar(call)
        return register.holding_key(call) if must_register else nullcontext()

    async def _replay(self, call: Call, refusal: Fault) -> web.Response:
        """The stored answer of a finished key, or else the refusal."""
        if not call.has_own_key:  # a key that was just made has no past
            raise refusal
        question = common_pb2.LookUpAnswerRequest(tenant_id=call.tenant_id, idempotency=call.idempotency)
        answer: common_pb2.LookUpAnswerReply = await rpc.call(self.owner(call.upstream).LookUpAnswer, question)
        if answer.HasField("fault"):
            raise from_message(answer.fault)
        if answer.HasField("reply"):
            return _marked(self.show(call, self.stored.FromString(answer.reply)), True)
        if not self._is_registrar(call):
            await register.refuse_other_requests(call)
        raise refusal

    def _is_registrar(self, call: Call) -> bool:
        return self.owner(call.upstream) is call.upstream.inventory


@dataclass(frozen=True)
class RehearsedWrite(Write[Request, Reply]):
    """A write that `?dry_run=true` only rehearses: refused for the same faults, and nothing is written or kept.

    Its key is not looked at: what a dry run was asked under is free for the write itself, and what a write was answered
    is no answer to a dry run.
    """

    rehearse: Callable[[Call, Request], Awaitable[web.Response]]

    async def __call__(self, call: Call) -> web.Response:
        if call.query.dry_run:
            return await self.rehearse(call, validation.read(self.model, call.body))
        return await super().__call__(call)


def _marked(response: web.Response, replayed: bool) -> web.Response:
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response
