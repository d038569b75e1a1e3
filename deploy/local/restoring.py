"""`make restore`: restore services of a stopped stack, with nothing but its PostgreSQL and Kafka running.

The databases as they are now are kept under another name; a refused restore gives them their own back.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from deploy.local import broker_access, environment, prepared, private, units
from deploy.local.background import supervisor
from deploy.local.commands import end_leftovers, exclusive
from deploy.local.databases import create_databases
from deploy.local.layout import CHECKOUT, DATABASES, Layout
from deploy.local.logs import say
from deploy.local.postgres import Postgres
from deploy.local.processes import LocalError
from deploy.local.put_aside import PUT_BACK, record
from deploy.local.server import Server
from services.chassis.runtime.failpoint import reach


def restore(layout: Layout, arguments: list[str]) -> int:
    """Run `rapport restore` with these arguments; return its status.

    Raises:
        LocalError: the stack runs, or a server does not start.
    """
    with exclusive(layout), _signals_as_interrupts():
        if supervisor(layout) is not None:
            raise LocalError("Rapport is running: stop it with `make down`, then restore.")
        if not (layout.home / "state.json").exists():
            raise LocalError("There is no stack to restore into yet: start it once with `make up`, then `make down`.")
        end_leftovers(layout)
        if arguments == [PUT_BACK]:
            return _only_put_back(layout)
        prepared.forget(layout)
        services = [name for name in arguments if name in DATABASES and not layout.database_given(name)]
        with _servers(layout) as postgres:
            if postgres:
                asyncio.run(_put_back(layout, postgres))  # what an earlier call left, which was killed
            aside = asyncio.run(_put_aside(layout, postgres, services)) if postgres else {}
            command = [sys.executable, "-m", "services.operator", "restore", *arguments]
            variables = dict(os.environ) | environment.for_backups(layout)
            status = 1
            try:
                status = subprocess.run(command, cwd=CHECKOUT, env=variables).returncode
            finally:
                if postgres and (status != 0 or "--dry-run" in arguments):
                    asyncio.run(_put_back(layout, postgres))
            record(layout).unlink(missing_ok=True)
            if status == 0 and "--dry-run" not in arguments:
                if aside:
                    print(f"The databases as they were are kept: {', '.join(aside.values())}.")
                print('Go on with: make up, then the commands above as make rapport ARGS="…"')
    return status


def _only_put_back(layout: Layout) -> int:
    with _servers(layout) as postgres:
        if postgres is None or not record(layout).exists():
            print("No database is put aside.")
        else:
            names = json.loads(record(layout).read_text())
            asyncio.run(_put_back(layout, postgres))
            print(f"As they were: the databases of {', '.join(sorted(names))}.")
    return 0


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, as of a closed terminal, end the block like Ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _servers(layout: Layout) -> Iterator[Postgres | None]:
    """Start the servers that a restore needs, and stop them after the block."""
    started: list[Server] = []
    postgres = units.postgres(layout) if layout.needs_postgres else None
    try:
        if postgres:
            say("starting PostgreSQL")
            postgres.start()
            started.append(postgres)
        if layout.needs_kafka:
            say("starting Kafka")
            kafka = units.kafka(layout, say)
            kafka.start()
            started.append(kafka)
            asyncio.run(broker_access.grant_all(layout))
        yield postgres
    finally:
        for server in reversed(started):
            server.stop()


async def _put_aside(layout: Layout, postgres: Postgres, services: list[str]) -> dict[str, str]:
    """Rename the databases of these services, and make empty ones; return the new names.

    They are noted first, so that a restore that is killed can be undone.
    """
    await create_databases(layout, postgres)  # one may be missing
    found = {service: await _has_tables(postgres, service) for service in services}
    names = {service: f"{service}_{time.strftime('%Y%m%d_%H%M%S')}" for service, filled in found.items() if filled}
    if names:
        private.write(record(layout), json.dumps(names))
    connection = await asyncpg.connect(postgres.url(), timeout=10)
    try:
        for service, name in names.items():
            await connection.execute(f'alter database "{service}" rename to "{name}"')
            reach("restore.put-aside")
    finally:
        await connection.close()
    await create_databases(layout, postgres)
    return names


async def _put_back(layout: Layout, postgres: Postgres) -> None:
    """Drop the databases that were made for a restore unless one was restored, and name those put aside as before."""
    if not record(layout).exists():
        return
    names: dict[str, str] = json.loads(record(layout).read_text())
    connection = await asyncpg.connect(postgres.url(), timeout=10)
    try:
        there = {row["datname"] for row in await connection.fetch("select datname from pg_database")}
        for service, name in names.items():
            if name not in there:
                continue
            if service in there and await _has_tables(postgres, service):
                print(f"{service} was restored; its database as it was is kept: {name}.")
                continue
            await connection.execute(f'drop database if exists "{service}" with (force)')
            await connection.execute(f'alter database "{name}" rename to "{service}"')
    finally:
        await connection.close()
    record(layout).unlink()


async def _has_tables(postgres: Postgres, database: str) -> bool:
    connection = await asyncpg.connect(postgres.url(database), timeout=10)
    try:
        found = await connection.fetchval("select exists (select from pg_tables where schemaname = 'public')")
        return bool(found)
    finally:
        await connection.close()
