"""Composition root of notify: `python -m services.notify api|relay|consumer|mailer|all|migrate`."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from services.chassis.client.client import ServiceClient
from services.chassis.client.connection_pool import ConnectionPool
from services.chassis.database.migrations import migrate
from services.chassis.database.pool import Database
from services.chassis.http.monitoring import monitoring
from services.chassis.http.server import serve
from services.chassis.identity import Signer, Verifier
from services.chassis.mail.smtp import Smtp
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.retention import Pruner
from services.chassis.runtime import process
from services.chassis.runtime.process import Health, Role
from services.contracts.topics import COMMENTS
from services.notify import api, handlers
from services.notify.delivery import Delivery
from services.notify.mailer import Mailer
from services.notify.message import MessageBuilder, domain_of
from services.notify.settings import NotifySettings
from services.notify.tokens import Tokens
from services.notify.upstreams import Upstreams

PACKAGES = ("services.chassis", "services.notify")


@asynccontextmanager
async def compose(settings: NotifySettings, wanted: Collection[str], health: Health) -> AsyncIterator[list[Role]]:
    url = settings.notify_database_url
    db = await Database.connect(url, name="notify", size=settings.database_pool_size)
    health.add("database", db.answers)
    signer = Signer(settings.notify_signing_key, "notify")
    connections = ConnectionPool()
    smtp = Smtp(settings)
    owners = Upstreams(
        people=ServiceClient(settings.people_url, "people", signer, connections=connections),
        comments=ServiceClient(settings.comments_url, "comments", signer, connections=connections),
        posts=ServiceClient(settings.posts_url, "posts", signer, connections=connections),
    )
    tokens = Tokens(settings.notify_secret, domain_of(settings.mail_from))
    roles = [
        monitoring(health.ready, settings.host, settings.notify_metrics_port),
        Role("retention", Pruner("notify", db, settings).run),
    ]
    if "relay" in wanted:
        roles.append(Role("relay", Relay(db, url, Producer(settings), settings).run, last=True))
    reactions = handlers.build(settings.notify_settle_seconds)
    if "mailer" in wanted:
        letters = MessageBuilder(mail_from=settings.mail_from, public_url=settings.public_url, tokens=tokens)
        courier = Delivery(
            db,
            owners,
            letters,
            smtp,
            first_retry=timedelta(seconds=settings.notify_retry_seconds),
            give_up=timedelta(days=settings.notify_give_up_days),
        )
        dialogues, poll = settings.notify_mail_connections, settings.notify_poll_seconds
        mailer = Mailer(db, owners, courier, connections=dialogues, poll_seconds=poll)
        reactions.applied = mailer.wake
        roles.append(Role("mailer", mailer.run))
    if "consumer" in wanted:
        consumer = Consumer("notify", [COMMENTS], reactions, db, settings)
        health.add("consumer", consumer.ready)
        roles.append(Role("consumer", consumer.run))
    if "api" in wanted:
        verifier = Verifier(settings.verification_keys, "notify")
        app = api.build(db, owners, tokens, verifier, health.ready)
        roles.append(serve(app, settings.host, settings.notify_port, drain_seconds=settings.drain_seconds))
    try:
        yield roles
    finally:
        await smtp.close()
        await connections.close()
        await db.close()


def main() -> None:
    settings = NotifySettings()
    process.main(
        "notify",
        settings,
        roles=("api", "relay", "consumer", "mailer"),
        compose=partial(compose, settings),
        migrate=lambda: migrate(settings.notify_database_url, PACKAGES),
    )


if __name__ == "__main__":
    main()
