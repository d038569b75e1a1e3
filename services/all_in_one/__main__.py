"""Composition root of one process for everything: `python -m services.all_in_one [all|migrate]`.

Every role of every service runs in one event loop, composed by the service's own `compose` from its own settings. The
services know nothing of it: a call between them is the callee's application (`chassis/client/local_calls.py`), each
counts and logs under its own name, and a role that crashes starts again alone.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import copy_context
from dataclasses import replace
from functools import partial

from services.all_in_one.settings import Everything
from services.chassis.client.local_calls import LocalCalls, LocalService
from services.chassis.database.migrations import migrate
from services.chassis.runtime import process
from services.chassis.runtime.context import working_as
from services.chassis.runtime.process import Compose, Health, Role
from services.chassis.runtime.restarting import Restarting
from services.chassis.runtime.telemetry import tell_version
from services.comments import __main__ as comments
from services.gateway import __main__ as gateway
from services.notify import __main__ as notify
from services.people import __main__ as people
from services.posts import __main__ as posts

ROLES = ("api", "relay", "publisher", "consumer", "mailer")


def composers(settings: Everything, services: Mapping[str, LocalService]) -> dict[str, Compose]:
    """Return what composes each service; those that call others reach them in this process."""
    transport = partial(LocalCalls, services)
    return {
        "posts": partial(posts.compose, settings.posts),
        "comments": partial(comments.compose, settings.comments),
        "people": partial(people.compose, settings.people),
        "notify": partial(notify.compose, settings.notify, transport=transport),
        "gateway": partial(gateway.compose, settings.gateway, transport=transport),
    }


@asynccontextmanager
async def compose(settings: Everything, _: Collection[str], health: Health) -> AsyncIterator[list[Role]]:
    """Build every role of every service."""
    settings.check_ports()
    services: dict[str, LocalService] = {}
    roles: list[Role] = []
    async with AsyncExitStack() as entered:
        for name, build in composers(settings, services).items():
            with working_as(name):
                tell_version(name)
                own = Health(health)
                composed = await entered.enter_async_context(build(ROLES, own))
                restarting = [Restarting(role) for role in composed]
                own.add("roles", partial(_all_run, restarting))
                app = next(role.app for role in composed if role.name == "api")
                services[name] = LocalService(app, copy_context())
            roles += [
                replace(role, name=f"{name} {role.name}", run=partial(_work, name, again))
                for role, again in zip(composed, restarting, strict=True)
            ]
        yield roles


async def _all_run(roles: Collection[Restarting]) -> bool:
    return all(role.running for role in roles)


async def _work(service: str, role: Restarting, stop: asyncio.Event) -> None:
    """Run a role for its service."""
    with working_as(service):
        await role.run(stop)


async def migrate_all(settings: Everything) -> None:
    """Apply the migrations of every service."""
    for backed in (
        posts.backed_up(settings.posts),
        comments.backed_up(settings.comments),
        people.backed_up(settings.people),
        notify.backed_up(settings.notify),
    ):
        await migrate(backed.url(), backed.packages)


def main() -> None:
    """Run the role named on the command line."""
    settings = Everything.load()
    process.main(
        "all_in_one",
        settings.gateway,
        roles=(),
        compose=partial(compose, settings),
        migrate=partial(migrate_all, settings),
        default="all",
    )


if __name__ == "__main__":
    main()
