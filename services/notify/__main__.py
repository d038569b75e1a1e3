"""Composition root of notify: `python -m services.notify api|relay|consumer|mailer|all|migrate`.

With a folder: `backup`, `restore` and `verify`.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from services.chassis.backup.restore import Backed, CatchUp
from services.chassis.backup.roles import one_shots
from services.chassis.client.client import ServiceClient
from services.chassis.client.connection_pool import ConnectionPool, Transport
from services.chassis.database.migrations import all_applied, migrate
from services.chassis.database.pool import Database
from services.chassis.database.sessions import direct_url
from services.chassis.http.monitoring import monitoring
from services.chassis.http.server import serve
from services.chassis.identity import Signer, Verifier
from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.chassis.messaging.consumer import Consumer
from services.chassis.messaging.history import read_history
from services.chassis.messaging.partition_operations import PartitionOperations
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.retention import Pruner
from services.chassis.runtime import process
from services.chassis.runtime.process import Health, Role
from services.chassis.runtime.settings import load
from services.contracts.topics import NOTIFY, SUBSCRIPTIONS
from services.notify import handlers, rescheduling
from services.notify.api import create_api
from services.notify.delivery import Delivery
from services.notify.fan_outs import FanOuts
from services.notify.mailer import Mailer, measuring
from services.notify.message import MessageBuilder
from services.notify.moderation import ModerationMails
from services.notify.restoring import apply_history
from services.notify.settings import NotifySettings
from services.notify.tokens import Tokens
from services.notify.upstreams import Upstreams

PACKAGES = ("services.chassis", "services.notify")


@asynccontextmanager
async def compose(
    settings: NotifySettings,
    wanted: Collection[str],
    health: Health,
    transport: Callable[[], Transport] = ConnectionPool,
) -> AsyncIterator[list[Role]]:
    """Build the wanted roles of notify.

    Args:
        transport: makes the way to the other services.
    """
    settings.require("notify_signing_key", "notify_secret")
    url = settings.notify_database_url
    db = await Database.connect(url, name="notify", size=settings.database_pool_size, pooler=settings.database_pooler)
    health.add("database", db.answers)
    health.add("migrations", partial(all_applied, db, PACKAGES))
    signer = Signer(settings.notify_signing_key, "notify")
    pool = transport()
    upstreams = Upstreams(
        people=ServiceClient(settings.people_url, "people", signer, connections=pool),
        comments=ServiceClient(settings.comments_url, "comments", signer, connections=pool),
        posts=ServiceClient(settings.posts_url, "posts", signer, connections=pool),
    )
    tokens = Tokens(settings.notify_secret, settings.sender.domain, settings.other_secrets)
    smtp: Smtp | None = None
    mailer: Mailer | None = None
    roles = [
        monitoring(health.ready, settings.host, settings.notify_metrics_port),
        Role("retention", Pruner(db, settings).run),
        Role("backlog", measuring(db).run),
    ]
    if "relay" in wanted:
        relay = Relay(db, _direct_url(settings), Producer(settings), settings)
        health.add("relay", relay.ready)
        roles.append(Role("relay", relay.run, stops_last=True))
    if "mailer" in wanted:
        smtp = Smtp(load(SmtpSettings))
        mailer = _mailer(db, upstreams, tokens, smtp, settings)
        roles.append(Role("mailer", mailer.run))
        settle = timedelta(seconds=settings.notify_settle_seconds)
        moderation = ModerationMails(db, upstreams, settle, mailer.wake)
        roles.append(Role("mails to moderators", moderation.periodic().run))
    if "consumer" in wanted:
        fan_outs = FanOuts(db, mailer.wake if mailer is not None else None)
        event_handlers = handlers.build(settings.notify_settle_seconds, fan_outs.expect)
        event_handlers.on_applied = fan_outs.committed
        roles.append(Role("notifications of followers", fan_outs.run))
        consumer = Consumer("notify", SUBSCRIPTIONS["notify"], event_handlers, db, settings)
        health.add("consumer", consumer.ready)
        roles.append(Role("consumer", consumer.run))
    if "api" in wanted:
        verifier = Verifier(settings.verification_keys, "notify")
        group = PartitionOperations(db, "notify", settings)
        app = create_api(db, upstreams, tokens, verifier=verifier, ready=health.ready, consumer=group)
        roles.append(serve(app, settings.host, settings.notify_port, drain_seconds=settings.drain_seconds))
    try:
        yield roles
    finally:
        if smtp is not None:
            await smtp.close()
        await pool.close()
        await db.close()


def _mailer(db: Database, upstreams: Upstreams, tokens: Tokens, smtp: Smtp, settings: NotifySettings) -> Mailer:
    delivery = Delivery(
        db,
        upstreams,
        MessageBuilder(sender=settings.sender, public_url=settings.public_url, tokens=tokens),
        smtp,
        first_retry=timedelta(seconds=settings.notify_retry_seconds),
        give_up=timedelta(days=settings.notify_give_up_days),
    )
    connections, poll_seconds = settings.notify_mail_connections, settings.notify_poll_seconds
    return Mailer(db, upstreams, delivery, connections=connections, poll_seconds=poll_seconds)


def _direct_url(settings: NotifySettings) -> str:
    pooler = settings.database_pooler
    return direct_url("notify", settings.notify_database_url, settings.notify_database_direct_url, pooler)


def backed_up(settings: NotifySettings) -> Backed:
    """Return what is backed up and restored here."""
    return Backed(
        "notify",
        lambda: _direct_url(settings),
        PACKAGES,
        SUBSCRIPTIONS["notify"],
        release_leases=rescheduling.release_leases,
    )


CATCH_UP = CatchUp(NOTIFY, read_history, apply_history)


def main() -> None:
    """Run the role named on the command line."""
    settings = load(NotifySettings)
    process.main(
        "notify",
        settings,
        roles=("api", "relay", "consumer", "mailer"),
        compose=partial(compose, settings),
        migrate=lambda: migrate(_direct_url(settings), PACKAGES),
        one_shots=one_shots(backed_up(settings), settings, CATCH_UP),
    )


if __name__ == "__main__":
    main()
