"""Composition root of people: `python -m services.people api|relay|mailer|all|migrate`.

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
from services.chassis.identity import Signer, Verifier
from services.chassis.mail.smtp import Smtp, SmtpSettings
from services.chassis.messaging.history import read_history
from services.chassis.messaging.producer import Producer
from services.chassis.messaging.relay import Relay
from services.chassis.messaging.retention import Pruner
from services.chassis.runtime import process
from services.chassis.runtime.process import Health, Role
from services.chassis.runtime.settings import load
from services.contracts.topics import PEOPLE
from services.people.api import create_api
from services.people.commands import sessions, sign_in
from services.people.commands.restoring import apply_history
from services.people.commands.starting import SignInRules
from services.people.mailer import Mailer, measuring
from services.people.message import SignInMessageBuilder
from services.people.settings import PeopleSettings
from services.people.store import sign_in as sign_in_rows
from services.people.tokens import Tokens

PACKAGES = ("services.chassis", "services.people")


@asynccontextmanager
async def compose(settings: PeopleSettings, wanted: Collection[str], health: Health) -> AsyncIterator[list[Role]]:
    if "api" in wanted or "mailer" in wanted:
        settings.require("people_signing_key")
    url = settings.people_database_url
    db = await Database.connect(url, name="people", size=settings.database_pool_size, pooler=settings.database_pooler)
    health.add("database", db.answers)
    health.add("migrations", partial(all_applied, db, PACKAGES))
    own_tables = {"sign_in_requests": sign_in.prune, "sessions": sessions.prune}
    smtp: Smtp | None = None
    own_key, other_key = settings.people_signing_key, settings.people_other_signing_key
    roles = [
        monitoring(health.ready, settings.host, settings.people_metrics_port),
        Role("retention", Pruner(db, settings, more=own_tables).run),
        Role("backlog", measuring(db).run),
    ]
    if "relay" in wanted:
        relay = Relay(db, _direct_url(settings), Producer(settings), settings)
        health.add("relay", relay.ready)
        roles.append(Role("relay", relay.run, stops_last=True))
    if "mailer" in wanted:
        smtp = Smtp(load(SmtpSettings))
        mailer = Mailer(
            db,
            SignInMessageBuilder(
                sender=settings.sender,
                public_url=settings.public_url,
                tokens=Tokens(own_key, other_key),
            ),
            smtp,
            limited=settings.rate_limits == "on",
            connections=settings.people_mail_connections,
            poll_seconds=settings.people_poll_seconds,
            drain_seconds=settings.drain_seconds / 2,
        )
        roles.append(Role("mailer", mailer.run))
    if "api" in wanted:
        signer, verifier = Signer(own_key, "people"), Verifier(settings.verification_keys, "people")
        rules = SignInRules(Tokens(own_key, other_key), settings.admins, settings.return_addresses)
        app = create_api(db, signer, rules, verifier=verifier, ready=health.ready)
        roles.append(serve(app, settings.host, settings.people_port, drain_seconds=settings.drain_seconds))
    try:
        yield roles
    finally:
        if smtp is not None:
            await smtp.close()
        await db.close()


def _direct_url(settings: PeopleSettings) -> str:
    pooler = settings.database_pooler
    return direct_url("people", settings.people_database_url, settings.people_database_direct_url, pooler)


def backed_up(settings: PeopleSettings) -> Backed:
    """Return what is backed up and restored here."""
    return Backed("people", lambda: _direct_url(settings), PACKAGES, release_leases=sign_in_rows.release_leases)


CATCH_UP = CatchUp(PEOPLE, read_history, apply_history)


def main() -> None:
    settings = load(PeopleSettings)
    process.main(
        "people",
        settings,
        roles=("api", "relay", "mailer"),
        compose=partial(compose, settings),
        migrate=lambda: migrate(_direct_url(settings), PACKAGES),
        one_shots=one_shots(backed_up(settings), settings, CATCH_UP),
    )


if __name__ == "__main__":
    main()
