"""Lines of texts that wait to be rendered."""

import asyncio
import threading
import time
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from services.chassis.errors import Problem
from services.chassis.runtime.context import Context, bound
from services.chassis.text import render_queue
from services.chassis.text.render_queue import RenderQueue
from tests.waiting import eventually

ANN, BOB = uuid4(), uuid4()


class Work:
    """Texts that are rendered until they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []
        self._gate = threading.Event()

    def of(self, name: str) -> Callable[[], str]:
        def work() -> str:
            self.begun.append(name)
            assert self._gate.wait(20)
            self.done.append(name)
            return name

        return work

    def let_go(self) -> None:
        self._gate.set()


def long(queue: RenderQueue, work: Callable[[], str], owner: UUID | None) -> asyncio.Task[str]:
    return asyncio.create_task(queue.run(work, owner, in_thread=True))


async def refused(task: asyncio.Task[str]) -> Problem:
    with pytest.raises(Problem) as refusal:
        await task
    return refusal.value


async def test_one_text_of_each_person_is_rendered_at_a_time() -> None:
    queue, work = RenderQueue(), Work()
    tasks = [long(queue, work.of(f"ann {number}"), ANN) for number in range(5)]
    await eventually(lambda: work.begun == ["ann 0"])
    tasks.append(long(queue, work.of("bob"), BOB))
    await eventually(lambda: len(work.begun) == 2)
    assert work.begun == ["ann 0", "bob"]
    work.let_go()
    assert await asyncio.gather(*tasks) == [*(f"ann {number}" for number in range(5)), "bob"]
    assert [name for name in work.done if name != "bob"] == [f"ann {number}" for number in range(5)]


async def test_a_text_that_nobody_waits_for_leaves_its_line() -> None:
    queue, work = RenderQueue(), Work()
    first = long(queue, work.of("first"), ANN)
    await eventually(lambda: work.begun == ["first"])
    with bound(Context(deadline=time.monotonic() + 0.05)):
        late = [long(queue, work.of("late"), ANN) for _ in range(3)]
    last = long(queue, work.of("last"), ANN)
    for task in late:
        assert (await refused(task)).headers["Retry-After"] == "1"
    work.let_go()
    assert list(await asyncio.gather(first, last)) == ["first", "last"]
    assert work.begun == ["first", "last"]


async def test_a_text_that_takes_too_long_keeps_its_turn_until_it_is_done() -> None:
    queue, work = RenderQueue(), Work()
    with bound(Context(deadline=time.monotonic() + 0.05)):
        slow = long(queue, work.of("slow"), ANN)
    assert (await refused(slow)).kind == "unavailable"
    next_one = long(queue, work.of("next"), ANN)
    other = long(queue, work.of("other"), BOB)
    await eventually(lambda: "other" in work.begun)
    assert work.begun == ["slow", "other"]
    work.let_go()
    assert list(await asyncio.gather(next_one, other)) == ["next", "other"]


async def test_a_cancelled_text_gives_its_turn_away() -> None:
    queue, work = RenderQueue(), Work()
    tasks = [long(queue, work.of(str(number)), ANN) for number in range(4)]
    await eventually(lambda: work.begun == ["0"])
    tasks[1].cancel()
    tasks[0].cancel()
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    work.let_go()
    assert await asyncio.gather(*tasks[2:]) == ["2", "3"]


async def test_lines_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_queue, "MOST_OF_ONE", 3)
    monkeypatch.setattr(render_queue, "MOST_WAITING", 5)
    queue, work = RenderQueue(), Work()
    mine = [long(queue, work.of("ann"), ANN) for _ in range(4)]
    assert (await refused(mine[3])).kind == "unavailable"
    others = [long(queue, work.of("other"), None) for _ in range(3)]
    assert (await refused(others[2])).kind == "unavailable"
    work.let_go()
    await asyncio.gather(*mine[:3], *others[:2])
    assert await long(queue, work.of("again"), ANN) == "again", "nothing is left in the lines"
    assert not queue._lines


async def test_short_texts_of_one_person_let_others_in_between() -> None:
    queue, order = RenderQueue(), list[str]()

    def note(name: str) -> Callable[[], None]:
        return lambda: order.append(name)

    async def other() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            order.append("other")

    texts = (queue.run(note("text"), ANN, in_thread=False) for _ in range(3))
    await asyncio.gather(*texts, other())
    assert max(len(run) for run in "".join(name[0] for name in order).split("o")) == 1, order
    order.clear()
    await asyncio.gather(*(queue.run(note("text"), uuid4(), in_thread=False) for _ in range(3)), other())
    assert order[:3] == ["text"] * 3, "those of several people do not wait for each other"


async def test_an_error_is_passed_on_and_the_turn_too() -> None:
    queue = RenderQueue()

    def fail() -> str:
        raise ValueError("no")

    for in_thread in (False, True):
        with pytest.raises(ValueError, match="no"):
            await queue.run(fail, ANN, in_thread=in_thread)
        assert await queue.run(lambda: "yes", ANN, in_thread=in_thread) == "yes"
