"""Pictures that authors send, to be shown in posts or to stand for them."""

from uuid import UUID

from services.chassis.database import idempotency
from services.chassis.database.idempotency import CommandResult, Kept, Key
from services.chassis.database.pool import Database
from services.chassis.errors import not_found
from services.chassis.identity import Caller
from services.chassis.ids import new_id
from services.chassis.pictures.encoder import Encoder, Form
from services.contracts.links import image_path
from services.posts import image_rows
from services.posts.domain import post as rules

FORM = Form(most_width=2048)


async def add_image(
    db: Database, encoder: Encoder, caller: Caller, data: bytes, kind: str, key: Key | None = None
) -> CommandResult:
    """Store a picture, re-encoded. What would be refused or replayed is found before that, and again after it.

    Raises:
        Problem: `sign-in-required`, `forbidden`, those of `Encoder.encode` and those of the idempotency key.
    """
    person_id = caller.require_person()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return _replayed(kept)
        rules.require_author(caller)
    picture = await encoder.encode(data, kind, FORM, person_id)
    image_id = new_id()
    async with db.transaction() as tx:
        if (kept := await idempotency.lock_and_find(tx, key)) is not None:
            return _replayed(kept)
        await image_rows.insert(tx, image_id, person_id, picture.width, picture.height, picture.content)
        representation = {"id": str(image_id), "width": picture.width, "height": picture.height}
        result = CommandResult(201, representation, image_path(image_id))
        await idempotency.keep(tx, key, Kept(result.status, result.location, image_id, representation))
        return result


def _replayed(kept: Kept) -> CommandResult:
    assert kept.representation is not None
    return CommandResult(kept.status, kept.representation, kept.location, replayed=True)


async def content(db: Database, image_id: UUID) -> bytes:
    """Return the file of a picture.

    Raises:
        Problem: `not-found`.
    """
    async with db.reader() as reader:
        found = await image_rows.content_of(reader, image_id)
    if found is None:
        raise not_found()
    return found


async def size(db: Database, image_id: UUID) -> dict[str, int]:
    """Return width and height of a picture.

    Raises:
        Problem: `not-found`.
    """
    async with db.reader() as reader:
        found = await image_rows.size_of(reader, image_id)
    if found is None:
        raise not_found()
    return dict(found)
