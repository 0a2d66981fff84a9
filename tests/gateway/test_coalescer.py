"""Questions that share calls: who asks alone waits for nobody, and each is told its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from chassis.errors import Fault
from gateway import coalescer
from gateway.coalescer import MANY, Coalescer


class Service:
    """Answers a question with its double, once it is let go; remembers what each call carried."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.timeouts: list[float] = []
        self.go = asyncio.Event()
        self.go.set()
        self.fault: Exception | None = None

    async def __call__(self, questions: Sequence[int], timeout_s: float) -> Sequence[int]:
        self.calls.append(list(questions))
        self.timeouts.append(timeout_s)
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        return [2 * question for question in questions]


async def asked(one: Coalescer[int, int], *questions: int, tenant: str = "t") -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(one.ask(tenant, question)) for question in questions]
    await asyncio.sleep(0.01)
    return tasks


async def test_a_lone_question_goes_at_once() -> None:
    service = Service()

    assert await Coalescer(service).ask("t", 4) == 8
    assert service.calls == [[4]]


async def test_what_arrives_while_calls_are_under_way_shares_the_next() -> None:
    service = Service()
    service.go.clear()
    one = Coalescer(service)
    first = await asked(one, 1)

    later = await asked(one, *range(2, MANY))
    service.go.set()

    assert await asyncio.gather(*first, *later) == [2 * number for number in range(1, MANY)]
    assert service.calls == [[1], list(range(2, MANY))]


async def test_many_that_wait_have_a_second_call_and_no_third() -> None:
    service = Service()
    service.go.clear()
    one = Coalescer(service)
    first = await asked(one, 0)

    few, enough = await asked(one, *range(1, MANY)), await asked(one, MANY)
    assert service.calls == [[0], list(range(1, MANY + 1))]
    many = await asked(one, *range(100, 100 + 2 * MANY))
    assert len(service.calls) == 2
    service.go.set()

    await asyncio.gather(*first, *few, *enough, *many)
    assert service.calls[2:] == [list(range(100, 100 + 2 * MANY))]


async def test_a_call_that_fails_fails_those_that_share_it_and_nobody_else() -> None:
    service = Service()
    one = Coalescer(service)
    service.fault = Fault("unavailable", "away", retry_after_s=1)
    failed = await asyncio.gather(*await asked(one, 1, 2), return_exceptions=True)
    service.fault = None

    assert [fault.code for fault in failed if isinstance(fault, Fault)] == ["unavailable", "unavailable"]
    assert failed[0] is not failed[1]
    assert failed[0].facts == {"retry_after_s": 1}  # type: ignore[union-attr]
    assert await one.ask("t", 3) == 6


async def test_who_gives_up_leaves_the_others_their_answers() -> None:
    service = Service()
    service.go.clear()
    gone, staying = await asked(Coalescer(service), 1, 2)

    gone.cancel()
    service.go.set()

    assert await staying == 4


async def test_more_than_may_wait_is_refused_and_another_tenant_still_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalescer, "QUEUE_PER_TENANT_MAX", 3)
    service = Service()
    service.go.clear()
    one = Coalescer(service)
    under_way = await asked(one, 0)
    waiting = await asked(one, 1, 2, 3)

    with pytest.raises(Fault, match="unavailable"):
        await one.ask("t", 4)
    other = await asked(one, 5, tenant="other")
    service.go.set()

    assert (await asyncio.gather(*under_way, *waiting, *other))[-1] == 10


async def test_what_waited_long_has_less_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalescer, "SLOW_S", 5)
    service = Service()
    service.go.clear()
    one = Coalescer(service)
    tasks = [*await asked(one, 1), *await asked(one, 2)]
    await asyncio.sleep(0.2)
    service.go.set()
    await asyncio.gather(*tasks)

    assert service.timeouts[1] < service.timeouts[0] - 0.15


async def test_what_waited_too_long_is_told_so_and_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalescer, "WAIT_MAX_S", 0.05)
    service = Service()
    service.go.clear()
    one = Coalescer(service)
    [first], [late] = await asked(one, 1), await asked(one, 2)
    await asyncio.sleep(0.1)
    service.go.set()

    assert await first == 2
    with pytest.raises(Fault, match="unavailable"):
        await late
    assert service.calls == [[1]]


@pytest.mark.parametrize("broken", [asyncio.CancelledError(), ZeroDivisionError("no number")])
async def test_whatever_breaks_a_call_nobody_is_left_waiting(broken: BaseException) -> None:
    async def fail(_: Sequence[int], __: float) -> Sequence[int]:
        raise broken

    told = await asyncio.wait_for(asyncio.gather(*await asked(Coalescer(fail), 1, 2), return_exceptions=True), 2)

    assert [type(error) for error in told] == [RuntimeError, RuntimeError]


async def test_fewer_answers_than_questions_answer_nobody() -> None:
    async def forget(questions: Sequence[int], _: float) -> Sequence[int]:
        return questions[:-1]

    told = await asyncio.wait_for(asyncio.gather(*await asked(Coalescer(forget), 1, 2), return_exceptions=True), 2)

    assert [type(error) for error in told] == [RuntimeError, RuntimeError]


@pytest.mark.parametrize("slow_calls_max", [0, 8])
async def test_when_the_slow_calls_end_whoever_still_waits_is_served(
    monkeypatch: pytest.MonkeyPatch, slow_calls_max: int
) -> None:
    monkeypatch.setattr(coalescer, "SLOW_CALLS_MAX", slow_calls_max)
    service = Service()
    service.go.clear()
    one = Coalescer(service)
    tasks = [task for number in range(3) for task in await asked(one, number)]
    await asyncio.sleep(coalescer.SLOW_S * 3)
    service.go.set()

    assert await asyncio.wait_for(asyncio.gather(*tasks), 1) == [0, 2, 4]
    assert await asyncio.wait_for(one.ask("t", 5), 1) == 10


async def test_a_call_that_waits_for_something_holds_up_nobody_else() -> None:
    stuck = asyncio.Event()

    async def answer(questions: Sequence[int], _: float) -> Sequence[int]:
        if 0 in questions:
            await stuck.wait()
        return [2 * question for question in questions]

    one = Coalescer(answer)
    [waiting] = await asked(one, 0)

    told = await asyncio.wait_for(asyncio.gather(*await asked(one, *range(1, 9))), 1)
    again = await asyncio.wait_for(one.ask("t", 9), 1)
    is_waiting = not waiting.done()
    stuck.set()

    assert told == [2 * number for number in range(1, 9)]
    assert (again, is_waiting, await waiting) == (18, True, 0)
    assert await asyncio.wait_for(asyncio.gather(*await asked(one, 1, 2)), 1) == [2, 4]
