"""Slots for dialogues: bounded, fair between two lines, and fewer for a while."""

import asyncio

import pytest

from services.chassis.mail import dialogue_slots
from services.chassis.mail.dialogue_slots import DialogueSlots


class Dialogues:
    """Dialogues that take slots and end when a test says so."""

    def __init__(self, slots: DialogueSlots) -> None:
        self.slots = slots
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, *names: str) -> None:
        """Begin dialogues; those whose names begin with `f` stand in the second line."""
        for name in names:
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._run(name))
        await self._passed()

    async def _run(self, name: str) -> None:
        async with self.slots.one(second_line=name.startswith("f")):
            self.begun.append(name)
            await self.ends[name].wait()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self._passed()

    async def cancel(self, *names: str) -> None:
        for name in names:
            self.tasks[name].cancel()
        await self._passed()

    async def _passed(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(dialogue_slots, "time", clock)
    return clock


async def test_only_so_many_run_at_once_and_the_others_in_their_order() -> None:
    dialogues = Dialogues(DialogueSlots(2))
    await dialogues.begin("a", "b", "c", "d")
    assert dialogues.begun == ["a", "b"]
    await dialogues.end("b")
    assert dialogues.begun == ["a", "b", "c"]
    await dialogues.begin("e")
    await dialogues.end("a")
    assert dialogues.begun == ["a", "b", "c", "d"]


async def test_the_first_line_goes_first_but_the_second_one_gets_every_fourth_slot() -> None:
    dialogues = Dialogues(DialogueSlots(1))
    await dialogues.begin("now", "f1", "f2", "f3", *(f"a{number}" for number in range(6)))
    for _ in range(9):
        await dialogues.end(dialogues.begun[-1])
    assert dialogues.begun == ["now", "a0", "a1", "a2", "f1", "a3", "a4", "a5", "f2", "f3"]


async def test_who_leaves_a_line_takes_no_slot() -> None:
    dialogues = Dialogues(DialogueSlots(1))
    await dialogues.begin("a", "b", "f", "c")
    await dialogues.cancel("b", "f")
    await dialogues.end("a")
    assert dialogues.begun == ["a", "c"]
    await dialogues.end("c")
    await dialogues.begin("d")
    assert dialogues.begun == ["a", "c", "d"]


async def test_who_is_cancelled_in_the_moment_of_a_free_slot_takes_none() -> None:
    dialogues = Dialogues(DialogueSlots(1))
    await dialogues.begin("a", "b", "c")
    dialogues.ends["a"].set()
    dialogues.tasks["b"].cancel()
    await dialogues.end("a")
    assert dialogues.begun == ["a", "c"]


async def test_a_slot_given_to_who_is_cancelled_in_the_same_moment_goes_on_to_the_next() -> None:
    dialogues = Dialogues(DialogueSlots(1))
    await dialogues.begin("a", "b", "c")
    dialogues.ends["a"].set()
    await asyncio.sleep(0)  # `a` has ended and its slot is given, but `b` has not run yet
    assert dialogues.begun == ["a"]
    await dialogues.cancel("b")
    assert dialogues.begun == ["a", "c"]


async def test_fewer_run_for_a_while_after_a_refusal(clock: Clock) -> None:
    slots = DialogueSlots(3, lowered_seconds=60.0)
    dialogues = Dialogues(slots)
    await dialogues.begin("a", "b", "c", "d")
    slots.lower(2)
    await dialogues.end("a")
    assert dialogues.begun == ["a", "b", "c"], "two run, and no third one begins"
    await dialogues.end("b")
    assert dialogues.begun == ["a", "b", "c", "d"]
    slots.lower(0)
    assert slots.limit == 1, "one may always run"
    slots.lower(2)
    assert slots.limit == 1, "a refusal allows no more than an earlier one"
    clock.now += 61
    assert slots.limit == 3
    await dialogues.begin("e", "f")
    assert dialogues.begun[-1] == "e"
