"""Which requests leave a line in the log: all that were refused, and of the others one in so many."""

import structlog

from tests.gateway.conftest import Door


async def test_of_what_went_well_one_in_so_many_is_logged_and_all_that_was_refused(quiet_door: Door) -> None:
    with structlog.testing.capture_logs() as lines:
        for path in ["/healthz"] * 7 + ["/nowhere"] * 2:
            await quiet_door.caller.get(path)

    assert [line["status"] for line in lines if line["event"] == "request"] == [200, 200, 200, 404, 404]
