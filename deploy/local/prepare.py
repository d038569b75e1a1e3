"""`python -m deploy.local prepare`: make what the services need in the servers: databases, tables, rights.

The supervisor runs it as a process of its own, which waits for its servers, so that it needs none of the libraries.
"""

import asyncio
import logging

import structlog

from deploy.local import broker_access, prepared, units
from deploy.local.databases import create_databases, migrate_database, needs_migration
from deploy.local.layout import DATABASES, Layout
from deploy.local.logs import say
from deploy.local.processes import LocalError, wait_until
from deploy.local.server import Server


def prepare(layout: Layout) -> None:
    """Make what is missing.

    Raises:
        LocalError: a step failed.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(_databases(layout))
    if layout.needs_kafka:
        _wait_for(units.kafka(layout, say))
        asyncio.run(broker_access.grant_all(layout))
    prepared.remember(layout)


async def _databases(layout: Layout) -> None:
    if layout.needs_postgres:
        postgres = units.postgres(layout)
        _wait_for(postgres)
        made = await create_databases(layout, postgres)
        if made:
            say(f"created the databases {', '.join(made)}")
    missing = [name for name in DATABASES if await needs_migration(layout, name)]
    if missing:
        say(f"applying migrations of {', '.join(missing)}")
        await asyncio.gather(*(migrate_database(layout, name) for name in missing))


def _wait_for(server: Server) -> None:
    if not wait_until(server.ready, server.start_seconds, pause=0.05):
        raise LocalError(f"{server.name} does not answer; see {server.log}.")
