"""Lists: a page of rows, and the cursor behind which the next page begins.

A service is asked for what follows a position; here the position is sealed for the caller, bound to the tenant, the
route and the filters, and opened again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aiohttp import web
from google.protobuf.message import Message

from chassis.clock import utc_now
from gateway.call import Call, respond
from gateway.cursors import Cursors, Position
from gateway.requests import PageQuery

CURSORS = web.AppKey("CURSORS", Cursors)

Row = TypeVar("Row", bound=Message)
HasMore = bool


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """What the GET of a list is made of; called with a Call it is the handler. Its query is a PageQuery."""

    # Asks the service for at most `limit` rows behind the position; an empty one is the beginning.
    fetch: Callable[[Call, int, Position], Awaitable[tuple[Sequence[Row], HasMore]]]
    show: Callable[[Row], Mapping[str, Any]]
    # Where the walk goes on behind a row, in the fields of the service's request.
    position_of: Callable[[Row], Position]

    async def __call__(self, call: Call) -> web.Response:
        asked: PageQuery = call.query
        cursors, bound_to, now = call.http.app[CURSORS], _bound_to(call), utc_now()
        after = {} if asked.cursor is None else cursors.open(asked.cursor, bound_to=bound_to, now=now)
        rows, has_more = await self.fetch(call, asked.limit, after)
        behind = cursors.seal(self.position_of(rows[-1]), bound_to=bound_to, now=now) if has_more else None
        return respond(page([self.show(row) for row in rows], behind))


def page(data: Sequence[Mapping[str, Any]], next_cursor: str | None = None) -> dict[str, Any]:
    return {"data": data, "has_more": next_cursor is not None, "next_cursor": next_cursor}


def after_id(row: Any) -> Position:
    """The position of whatever has an id."""
    return {"after_id": row.id}


def _bound_to(call: Call) -> Mapping[str, str]:
    resource = call.http.match_info.route.resource
    assert resource is not None, "a call is only made of a route"
    filters = call.query.model_dump(mode="json", exclude={"limit", "cursor"}, exclude_none=True)
    # What lies within one object, such as the lines of an order, is walked there alone.
    within = dict(call.http.match_info)
    return {"tenant": call.tenant_id, "route": resource.canonical, **within, **filters}
