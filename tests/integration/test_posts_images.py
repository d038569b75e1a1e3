"""Pictures of posts: stored re-encoded, shown, used as covers, and gone when nothing shows them."""

import io
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from PIL import Image

from services.chassis.database import idempotency
from services.chassis.database.idempotency import Key
from services.chassis.database.pool import Database
from services.chassis.errors import Problem
from services.chassis.identity import Caller
from services.chassis.pictures.encoder import Encoder
from services.contracts.posts import CreatePost, EditPost
from services.posts import commands, image_rows, images, queries
from tests.hostile_pictures import PNG, plain, png

AUTHOR = Caller("gateway", uuid4(), frozenset({"author"}))
OTHER = Caller("gateway", uuid4(), frozenset({"author"}))
ADMIN = Caller("gateway", uuid4(), frozenset({"admin"}))
READER = Caller("gateway", uuid4(), frozenset({"reader"}))
ENCODER = Encoder()


@pytest.fixture
async def db(new_database: Callable[..., Awaitable[Any]]) -> Database:
    made: Database = await new_database("services.chassis", "services.posts")
    return made


async def stored(db: Database, who: Caller = AUTHOR) -> UUID:
    """Store a picture as if it had been re-encoded, a day ago."""
    image_id = uuid4()
    assert who.person_id is not None
    async with db.transaction() as tx:
        await image_rows.insert(tx, image_id, who.person_id, 4, 3, b"RIFF" + image_id.bytes)
    await age(db)
    return image_id


async def age(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.execute("update images set free_since = free_since - interval '25 hours'")


async def left_after_pruning(db: Database) -> set[UUID]:
    async with db.transaction() as tx:
        await image_rows.prune(tx)
    async with db.reader() as reader:
        return {row["id"] for row in await reader.fetch("select id from images")}


async def create(db: Database, who: Caller = AUTHOR, **fields: Any) -> dict[str, Any]:
    command = CreatePost.model_validate({"title": "A title", "body": "Text."} | fields)
    return (await commands.create_post(db, who, command)).representation


async def edit(db: Database, post: dict[str, Any], who: Caller = AUTHOR, **fields: Any) -> dict[str, Any]:
    command = EditPost.model_validate(fields)
    return (await commands.edit_post(db, who, UUID(post["id"]), command)).representation


async def refused(doing: Awaitable[object]) -> str:
    with pytest.raises(Problem) as refusal:
        await doing
    return ": ".join((refusal.value.kind, *(error.field for error in refusal.value.errors)))


async def test_a_picture_is_stored_re_encoded_once_for_each_key(db: Database) -> None:
    assert AUTHOR.person_id is not None
    key = Key(AUTHOR.person_id, "k", "POST", "/images", idempotency.digest("a picture"))
    first = await images.add_image(db, ENCODER, AUTHOR, plain(size=(4000, 20)), PNG, key)
    again = await images.add_image(db, ENCODER, AUTHOR, plain(size=(4000, 20)), PNG, key)
    assert (first.status, again.replayed, again.representation) == (201, True, first.representation)
    image_id = UUID(first.representation["id"])
    assert first.location == f"/images/{image_id}.webp"
    shown = Image.open(io.BytesIO(await images.content(db, image_id)))
    assert (shown.format, shown.size) == ("WEBP", (2048, 10))
    assert await images.size(db, image_id) == {"width": 2048, "height": 10}
    assert await left_after_pruning(db) == {image_id}


async def test_who_may_store_pictures_and_which(db: Database) -> None:
    assert await refused(images.add_image(db, ENCODER, READER, plain(), PNG)) == "forbidden"
    assert await refused(images.add_image(db, ENCODER, Caller("gateway"), plain(), PNG)) == "sign-in-required"
    assert await refused(images.add_image(db, ENCODER, AUTHOR, png(9000, 1), PNG)) == "invalid: "
    assert await refused(images.content(db, uuid4())) == await refused(images.size(db, uuid4())) == "not-found"
    assert await left_after_pruning(db) == set()


async def test_a_cover_is_ones_own_and_changes_the_version_alone(db: Database) -> None:
    mine, second, foreign = await stored(db), await stored(db), await stored(db, OTHER)
    post = await create(db, cover=str(mine), publish=True)
    assert post["cover"] == str(mine)
    changed = await edit(db, post, cover=str(second))
    assert (changed["cover"], changed["version"], changed["revision"], changed["edited_at"]) == (
        str(second),
        2,
        1,
        None,
    )
    assert (await edit(db, post, cover=str(second)))["version"] == 2
    assert (await edit(db, post, title="Another"))["cover"] == str(second)
    assert (await queries.published_posts(db, None, 5))["items"][0]["cover"] == str(second)
    by_admin = await edit(db, post, ADMIN, cover=str(mine))
    assert by_admin["cover"] == str(mine)
    assert (await edit(db, post, cover=None))["cover"] is None
    for wrong in (foreign, uuid4()):
        assert await refused(create(db, cover=str(wrong))) == "invalid: cover"
        assert await refused(edit(db, post, cover=str(wrong))) == "invalid: cover"
    async with db.reader() as reader:
        types = [row["type"] for row in await reader.fetch("select type from outbox order by id")]
    assert [name.split(".")[3] for name in types] == ["published", "edited", "edited", "edited", "edited"]


async def test_only_what_nothing_shows_goes_and_not_before_a_day(db: Database) -> None:
    cover, shown, former, unused = [await stored(db) for _ in range(4)]
    body = f"![a](https://site.example/images/{former}.webp)"
    post = await create(db, cover=str(cover), body=body, publish=True)
    await edit(db, post, body=f"![b](/images/{str(shown).upper()}.webp) and again /images/{shown}.webp")
    async with db.transaction() as tx:
        await image_rows.insert(tx, fresh := uuid4(), uuid4(), 1, 1, b"new")
    assert await left_after_pruning(db) == {cover, shown, former, fresh}
    await edit(db, post, cover=None)
    assert await left_after_pruning(db) == {cover, shown, former, fresh}, "taking it away can be undone"
    await age(db)
    assert await left_after_pruning(db) == {shown, former}
    assert unused not in await left_after_pruning(db)


async def test_what_a_draft_does_not_show_any_more_stays_for_a_day(db: Database) -> None:
    shown, former = await stored(db), await stored(db)
    post = await create(db, body=f"![a](/images/{former}.webp)")
    await edit(db, post, body=f"![a](/images/{shown}.webp)")
    assert await left_after_pruning(db) == {shown, former}
    await age(db)
    assert await left_after_pruning(db) == {shown}


async def test_a_post_that_is_being_stored_keeps_its_pictures(db: Database) -> None:
    image_id = await stored(db)
    async with db.transaction() as writing:
        await image_rows.hold_shown(writing, f"![a](/images/{image_id}.webp)")
        assert await left_after_pruning(db) == {image_id}
    assert await left_after_pruning(db) == set()


async def test_the_index_answers_whether_a_picture_is_shown(db: Database) -> None:
    async with db.transaction() as tx:
        await tx.execute("set local enable_seqscan = off")
        query = "select from revisions where position('/images/' in body) > 0 and image_ids(body) @> array[$1::uuid]"
        plan = "\n".join(row[0] for row in await tx.fetch(f"explain {query}", uuid4()))
    assert "revisions_images" in plan
