"""What is rendered when a post is written: nothing that would be refused or replayed anyhow."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.chassis.database.pool import Database
from services.chassis.text.renderer import render
from services.contracts.posts import CreatePost, EditPost
from services.posts import commands
from tests.integration.test_posts_commands import ADMIN, ANONYMOUS, AUTHOR, OTHER, READER, create, refused, request_key


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are rendered."""
    texts: list[str] = []

    async def recorded(source: str, *args: Any, **options: Any) -> str:
        texts.append(source)
        return await render(source, *args, **options)

    monkeypatch.setattr(commands, "render", recorded)
    return texts


async def test_a_post_that_is_refused_is_not_rendered(db: Database, rendered: list[str]) -> None:
    await create(db, slug="taken")
    rendered.clear()
    for kind, who, slug in (
        ("sign-in-required", ANONYMOUS, None),
        ("forbidden", READER, None),
        ("invalid", AUTHOR, "taken"),
        ("invalid", OTHER, "taken"),
        ("invalid", AUTHOR, "no slug"),
        ("invalid", AUTHOR, str(uuid4())),
    ):
        assert (await refused(create(db, who=who, slug=slug))).kind == kind
    assert rendered == []


async def test_an_edit_that_is_refused_is_not_rendered(db: Database, rendered: list[str]) -> None:
    post, draft = await create(db, publish=True), await create(db)
    rendered.clear()
    for kind, post_id, who, note, if_match in (
        ("sign-in-required", post["id"], ANONYMOUS, None, None),
        ("not-found", str(uuid4()), AUTHOR, None, None),
        ("not-found", draft["id"], OTHER, None, None),
        ("forbidden", post["id"], OTHER, None, None),
        ("forbidden", post["id"], READER, None, None),
        ("stale", post["id"], AUTHOR, None, '"9-x"'),
        ("stale", post["id"], ADMIN, None, '"9-x"'),
    ):
        edit = commands.edit_post(db, who, UUID(post_id), EditPost(body="Other text.", edit_note=note), None, if_match)
        assert (await refused(edit)).kind == kind
    same = EditPost(body=post["body"], edit_note="Nothing")
    assert (await refused(commands.edit_post(db, AUTHOR, UUID(post["id"]), same))).kind == "invalid"
    assert rendered == []


async def test_a_replay_is_not_rendered(db: Database, rendered: list[str]) -> None:
    create_key, edit_key = request_key("create"), request_key("edit", "/posts/1", "PATCH")
    command, edit = CreatePost(title="One", body="A *text*."), EditPost(body="Another *text*.")
    made = (await commands.create_post(db, AUTHOR, command, create_key)).representation
    post_id = UUID(made["id"])
    edited = await commands.edit_post(db, AUTHOR, post_id, edit, edit_key, f'"{made["version"]}-x"')
    rendered.clear()
    again = await commands.create_post(db, AUTHOR, command, create_key)
    assert (again.replayed, again.representation["id"]) == (True, made["id"])
    repeated = await commands.edit_post(db, AUTHOR, post_id, edit, edit_key, f'"{made["version"]}-x"')
    assert (repeated.replayed, repeated.representation) == (True, edited.representation)
    other = request_key("create", body="another")
    assert (await refused(commands.create_post(db, AUTHOR, command, other))).kind == "idempotency-key-reused"
    assert rendered == []


async def test_what_changes_while_a_text_is_rendered_is_seen(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    post = await create(db)
    sooner: list[Awaitable[Any]] = []

    async def overtaken(source: str, *args: Any, **options: Any) -> str:
        while sooner:
            await sooner.pop()
        return await render(source, *args, **options)

    monkeypatch.setattr(commands, "render", overtaken)
    sooner.append(create(db, slug="wanted"))
    assert (await refused(create(db, slug="wanted"))).kind == "invalid"
    sooner.append(commands.edit_post(db, AUTHOR, UUID(post["id"]), EditPost(body="Sooner.")))
    later = commands.edit_post(db, AUTHOR, UUID(post["id"]), EditPost(body="Later."), None, f'"{post["version"]}-x"')
    assert (await refused(later)).kind == "stale"
