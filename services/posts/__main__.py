"""Composition root of posts: `python -m services.posts api|relay|all|migrate`."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

from services.chassis import process
from services.chassis.database import Database
from services.chassis.identity import Verifier
from services.chassis.janitor import Janitor
from services.chassis.migrating import migrate
from services.chassis.process import Health, Role
from services.chassis.producer import Producer
from services.chassis.relay import Relay
from services.chassis.serving import http
from services.chassis.web import create_app
from services.posts.api import routes
from services.posts.settings import PostsSettings

PACKAGES = ("services.chassis", "services.posts")


@asynccontextmanager
async def compose(settings: PostsSettings, wanted: Collection[str], health: Health) -> AsyncIterator[list[Role]]:
    url = settings.posts_database_url
    db = await Database.connect(url, name="posts", size=settings.database_pool_size)
    health.add("database", db.answers)
    roles = [Role("janitor", Janitor("posts", db, settings).run)]
    if "relay" in wanted:
        roles.append(Role("relay", Relay(db, url, Producer(settings), settings).run, last=True))
    if "api" in wanted:
        verifier = Verifier(settings.verification_keys, "posts")
        app = create_app(title="Posts", service="posts", verifier=verifier, ready=health.ready)
        app.include_router(routes(db))
        roles.append(http(app, settings.host, settings.posts_port, settings.drain_seconds))
    try:
        yield roles
    finally:
        await db.close()


def main() -> None:
    settings = PostsSettings()
    process.main(
        "posts",
        settings,
        metrics_port=settings.posts_metrics_port,
        roles=("api", "relay"),
        compose=partial(compose, settings),
        migrate=lambda: migrate(settings.posts_database_url, PACKAGES),
    )


if __name__ == "__main__":
    main()
