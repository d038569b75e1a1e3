"""Slugs that posts had before: they lead to their post, and stay reserved for it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import pytest

from services.chassis.database.pool import Database, Reader
from services.chassis.errors import Problem
from services.contracts.posts import EditPost
from services.posts import commands, former_slugs, queries
from tests.integration.test_posts_commands import ADMIN, ANONYMOUS, AUTHOR, OTHER, create, events, refused


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


async def rename(db: Database, post: dict[str, Any], slug: str) -> dict[str, Any]:
    return (await commands.edit_post(db, AUTHOR, UUID(post["id"]), EditPost(slug=slug))).representation


async def test_a_former_slug_leads_to_its_post_which_may_take_it_back(db: Database) -> None:
    post = await create(db, slug="one", publish=True)
    renamed = await rename(db, post, "two")
    assert (renamed["slug"], renamed["version"], renamed["revision"], renamed["edited_at"]) == ("two", 2, 1, None)
    assert (await events(db))[-1]["type"] == "edited"
    await rename(db, post, "three")
    for slug in ("one", "two", "three"):
        assert (await queries.post(db, ANONYMOUS, slug))["slug"] == "three"
    assert (await rename(db, post, "one"))["slug"] == "one"
    assert (await queries.post(db, ANONYMOUS, "two"))["slug"] == "one"
    async with db.reader() as reader:
        former = {row["slug"] for row in await reader.fetch("select slug from former_slugs")}
    assert former == {"two", "three"}


async def test_nobody_else_gets_a_former_slug(db: Database) -> None:
    post = await create(db, slug="mine", publish=True)
    await rename(db, post, "moved")
    other = await create(db, slug="other", who=OTHER)
    taking = commands.edit_post(db, OTHER, UUID(other["id"]), EditPost(slug="mine"))
    for attempt in (create(db, slug="mine", who=OTHER), create(db, slug="mine", who=ADMIN), taking):
        problem = await refused(attempt)
        assert (problem.kind, problem.errors[0].field) == ("invalid", "slug")
    assert (await create(db, title="Mine"))["slug"] == "mine-2"
    await commands.withdraw_post(db, AUTHOR, UUID(post["id"]))
    assert (await refused(create(db, slug="mine", who=OTHER))).kind == "invalid"


async def test_a_slug_that_was_never_public_is_free(db: Database) -> None:
    draft = await create(db, slug="idea")
    await rename(db, draft, "better")
    assert (await refused(queries.post(db, AUTHOR, "idea"))).kind == "not-found"
    assert (await create(db, slug="idea", who=OTHER))["slug"] == "idea"


async def test_a_former_slug_shows_a_withdrawn_post_to_nobody_else(db: Database) -> None:
    post = await create(db, slug="old", publish=True)
    await rename(db, post, "new")
    await commands.withdraw_post(db, AUTHOR, UUID(post["id"]))
    for caller in (ANONYMOUS, OTHER):
        assert (await refused(queries.post(db, caller, "old"))).kind == "not-found"
    for caller in (AUTHOR, ADMIN):
        assert (await queries.post(db, caller, "old"))["slug"] == "new"


async def test_a_slug_that_becomes_reserved_after_the_look_up_stays_so(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up, missed = former_slugs.taken, 1

    async def miss_once(reader: Reader, slugs: Sequence[str], by_others_than: UUID | None = None) -> set[str]:
        nonlocal missed
        missed -= 1
        return set() if missed >= 0 else await look_up(reader, slugs, by_others_than)

    await rename(db, await create(db, slug="wanted", publish=True), "left")
    other = await create(db)
    monkeypatch.setattr(former_slugs, "taken", miss_once)
    assert (await refused(create(db, slug="wanted", who=OTHER))).kind == "invalid"
    missed = 1
    assert (await create(db, title="Wanted"))["slug"] == "wanted-2"
    missed = 1
    assert (await refused(rename(db, other, "wanted"))).kind == "invalid"


async def test_posts_that_swap_or_want_the_same_slug_never_share_one(db: Database) -> None:
    posts = [await create(db, slug=f"p{number}", publish=number % 2 == 0) for number in range(4)]
    wanted = ["p1", "p0", "same", "same"]
    done = await asyncio.gather(
        *(rename(db, post, slug) for post, slug in zip(posts, wanted, strict=True)), return_exceptions=True
    )
    assert all(isinstance(one, (dict, Problem)) for one in done), done
    assert sum(isinstance(one, dict) and one["slug"] == "same" for one in done) == 1
    async with db.reader() as reader:
        shared = await reader.fetch("select slug from posts join former_slugs using (slug)")
    assert [dict(row) for row in shared] == []


@pytest.mark.parametrize("slug", ["A B", "", "x" * 201, "01936f6e-0000-7000-8000-000000000001"])
async def test_what_is_no_slug_is_refused(db: Database, slug: str) -> None:
    post = await create(db)
    with pytest.raises((Problem, ValueError)):
        await rename(db, post, slug)
