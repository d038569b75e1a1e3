"""What people have of their own is asked for once in half a minute, whatever others write meanwhile."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from services.chassis.identity import Caller
from services.gateway.composition.own_comments import OwnComments
from services.gateway.composition.upstreams import Upstreams

ANNA, BEN = "01936f6e-0000-7000-8000-00000000000a", "01936f6e-0000-7000-8000-00000000000b"
POST, OTHER_POST = "01936f6e-0000-7000-8000-0000000000a1", "01936f6e-0000-7000-8000-0000000000a2"
CALLER = Caller("gateway", UUID(ANNA), frozenset({"reader"}))


class Comments:
    """Stands for comments, which answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun, self.open = asyncio.Event(), asyncio.Event()

    async def get(self, *_: object) -> dict[str, Any]:
        self.asked += 1
        self.begun.set()
        await self.open.wait()
        return {"texts": []}


@pytest.mark.parametrize(
    ("person_id", "post_id", "questions"), [(BEN, POST, 1), (ANNA, OTHER_POST, 1), (ANNA, POST, 2)]
)
async def test_only_a_change_there_makes_an_answer_on_its_way_too_old(
    person_id: str, post_id: str, questions: int
) -> None:
    comments, own = Comments(), OwnComments()
    upstreams = cast(Upstreams, SimpleNamespace(comments=comments))
    asking = asyncio.create_task(own.below(upstreams, CALLER, POST, 0.0))
    await comments.begun.wait()
    own.forget(person_id, post_id)
    comments.open.set()
    assert await asking == ()
    assert await own.below(upstreams, CALLER, POST, 0.0) == ()
    assert comments.asked == questions


async def test_of_two_questions_at_once_the_later_one_is_remembered() -> None:
    comments, own = Comments(), OwnComments()
    upstreams = cast(Upstreams, SimpleNamespace(comments=comments))
    asking = [asyncio.create_task(own.below(upstreams, CALLER, POST, 0.0)) for _ in range(2)]
    await comments.begun.wait()
    comments.open.set()
    await asyncio.gather(*asking)
    await own.below(upstreams, CALLER, POST, 0.0)
    assert comments.asked == 2
    assert own._asking == {}
