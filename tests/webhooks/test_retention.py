"""What has ended long ago is forgotten, with its attempts and its event; what is pending never is."""

from datetime import timedelta

from services.webhooks import store
from services.webhooks.store import RETENTION
from tests.webhooks.building import an_event
from tests.webhooks.house import House
from tests.webhooks.receiving import receiving


async def purge(house: House, *, limit: int = 100) -> tuple[int, int]:
    now = house.clock()
    deliveries = await house.database.run(lambda tx: store.purge_deliveries(tx, now, limit))
    return deliveries, await house.database.run(lambda tx: store.purge_events(tx, now, limit))


async def test_ended_deliveries_are_forgotten_after_the_retention_and_pending_ones_are_not(house: House) -> None:
    async with receiving() as receiver:
        await house.subscribe(receiver.url)
        for _ in range(2):
            await house.announce(an_event())
        sender = house.make_sender()
        await sender.send_due()
        await sender.finish()
    await house.announce(an_event())

    house.clock.advance(RETENTION - timedelta(minutes=1))
    assert (await purge(house))[0] == 0
    house.clock.advance(timedelta(minutes=2))

    assert await purge(house, limit=1) == (1, 1)
    assert await purge(house) == (1, 1)
    assert await purge(house) == (0, 0)
    assert await house.rows("SELECT status FROM delivery") == [("pending",)]
    assert await house.rows("SELECT count(*) FROM attempt") == [(0,)]
    assert await house.rows("SELECT count(*) FROM event") == [(1,)]
