"""Composition root of posts: `python -m services.posts api|relay|publisher|consumer|all|migrate`.

With a folder: `backup`, `restore` and `verify`.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

from services.chassis.backup.restore import Backed, CatchUp
from services.chassis.backup.roles import one_shots
from services.chassis.database.migrations import all_applied, migrate
from services.chassis.database.pool import Database
from services.chassis.database.sessions import direct_url
from services.chassis.http.monitoring import monitoring
from services.chassis.http.server import serve
from services.chassis.identity import Verifier
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.history import read_history
from services.chassis.messaging.partition_operations import PartitionOperations
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.retention import Pruner
from services.chassis.runtime import process
from services.chassis.runtime.process import Health, Role
from services.chassis.runtime.settings import load
from services.contracts.topics import POSTS, SUBSCRIPTIONS
from services.posts import authors, image_rows
from services.posts.api import create_api
from services.posts.handlers import handlers
from services.posts.publisher import measuring, publishing
from services.posts.restoring import apply_history
from services.posts.settings import PostsSettings

PACKAGES = ("services.chassis", "services.posts")


@asynccontextmanager
async def compose(settings: PostsSettings, wanted: Collection[str], health: Health) -> AsyncIterator[list[Role]]:
    """Open the database, yield the wanted roles of posts, and close the database after them."""
    url = settings.posts_database_url
    db = await Database.connect(url, name="posts", size=settings.database_pool_size, pooler=settings.database_pooler)
    health.add("database", db.answers)
    health.add("migrations", partial(all_applied, db, PACKAGES))
    roles = [
        monitoring(health.ready, settings.host, settings.posts_metrics_port),
        Role("retention", Pruner(db, settings, more={"images": image_rows.prune}).run),
        Role("backlog", measuring(db).run),
    ]
    if "relay" in wanted:
        relay = Relay(db, _direct_url(settings), Producer(settings), settings)
        health.add("relay", relay.ready)
        roles.append(Role("relay", relay.run, stops_last=True))
    if "publisher" in wanted:
        roles.append(Role("publisher", publishing(db).run))
    if "consumer" in wanted:
        consumer = Consumer("posts", SUBSCRIPTIONS["posts"], handlers, db, settings)
        health.add("consumer", consumer.ready)
        roles += [Role("consumer", consumer.run), Role("erasing", authors.erasing(db).run)]
    if "api" in wanted:
        verifier, consumer_group = (
            Verifier(settings.verification_keys, "posts"),
            PartitionOperations(db, "posts", settings),
        )
        app = create_api(db, verifier=verifier, ready=health.ready, consumer=consumer_group)
        roles.append(serve(app, settings.host, settings.posts_port, drain_seconds=settings.drain_seconds))
    try:
        yield roles
    finally:
        await db.close()


def _direct_url(settings: PostsSettings) -> str:
    pooler = settings.database_pooler
    return direct_url("posts", settings.posts_database_url, settings.posts_database_direct_url, pooler)


def backed_up(settings: PostsSettings) -> Backed:
    """Return what is backed up and restored here."""
    return Backed("posts", lambda: _direct_url(settings), PACKAGES, SUBSCRIPTIONS["posts"])


CATCH_UP = CatchUp(POSTS, read_history, apply_history)


def main() -> None:
    """Run the role named on the command line."""
    settings = load(PostsSettings)
    process.main(
        "posts",
        settings,
        roles=("api", "relay", "publisher", "consumer"),
        compose=partial(compose, settings),
        migrate=lambda: migrate(_direct_url(settings), PACKAGES),
        one_shots=one_shots(backed_up(settings), settings, CATCH_UP),
    )


if __name__ == "__main__":
    main()
