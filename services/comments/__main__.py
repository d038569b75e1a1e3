"""Composition root of comments: `python -m services.comments api|relay|consumer|all|migrate`.

With a folder: `backup`, `restore` and `verify`.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
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
from services.comments.api import create_api
from services.comments.commands.restoring import apply_history
from services.comments.handlers import handlers
from services.comments.settings import CommentsSettings
from services.contracts.topics import COMMENTS, SUBSCRIPTIONS

PACKAGES = ("services.chassis", "services.comments")


@asynccontextmanager
async def compose(settings: CommentsSettings, wanted: Collection[str], health: Health) -> AsyncIterator[list[Role]]:
    """Build the wanted roles of comments."""
    url = settings.comments_database_url
    db = await Database.connect(url, name="comments", size=settings.database_pool_size, pooler=settings.database_pooler)
    health.add("database", db.answers)
    health.add("migrations", partial(all_applied, db, PACKAGES))
    roles = [
        monitoring(health.ready, settings.host, settings.comments_metrics_port),
        Role("retention", Pruner(db, settings).run),
    ]
    if "relay" in wanted:
        relay = Relay(db, _direct_url(settings), Producer(settings), settings)
        health.add("relay", relay.ready)
        roles.append(Role("relay", relay.run, stops_last=True))
    if "consumer" in wanted:
        consumer = Consumer("comments", SUBSCRIPTIONS["comments"], handlers, db, settings)
        health.add("consumer", consumer.ready)
        roles.append(Role("consumer", consumer.run))
    if "api" in wanted:
        verifier = Verifier(settings.verification_keys, "comments")
        window = timedelta(seconds=settings.comment_edit_window_seconds)
        hosts = settings.picture_hosts
        consumer_group = PartitionOperations(db, "comments", settings)
        app = create_api(
            db, window, verifier=verifier, ready=health.ready, picture_hosts=hosts, consumer=consumer_group
        )
        roles.append(serve(app, settings.host, settings.comments_port, drain_seconds=settings.drain_seconds))
    try:
        yield roles
    finally:
        await db.close()


def _direct_url(settings: CommentsSettings) -> str:
    pooler = settings.database_pooler
    return direct_url("comments", settings.comments_database_url, settings.comments_database_direct_url, pooler)


def backed_up(settings: CommentsSettings) -> Backed:
    """Return what is backed up and restored here."""
    return Backed("comments", lambda: _direct_url(settings), PACKAGES, SUBSCRIPTIONS["comments"])


CATCH_UP = CatchUp(COMMENTS, read_history, apply_history)


def main() -> None:
    """Run the role named on the command line."""
    settings = load(CommentsSettings)
    process.main(
        "comments",
        settings,
        roles=("api", "relay", "consumer"),
        compose=partial(compose, settings),
        migrate=lambda: migrate(_direct_url(settings), PACKAGES),
        one_shots=one_shots(backed_up(settings), settings, CATCH_UP),
    )


if __name__ == "__main__":
    main()
