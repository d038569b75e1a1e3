"""One database and one role per service; no role can so much as connect to another's database."""

import asyncpg

from deploy.local.environment import database_passwords
from deploy.local.layout import DATABASES, Layout
from deploy.local.postgres import Postgres


async def create_databases(layout: Layout, postgres: Postgres) -> list[str]:
    """Make what is missing, and give each role its kept password. Returns the databases that are new."""
    passwords = database_passwords(layout)
    connection = await asyncpg.connect(postgres.url(), timeout=10)
    made = []
    try:
        for service in DATABASES:
            if layout.database_given(service):
                continue
            if not await connection.fetchval("select 1 from pg_roles where rolname = $1", service):
                await connection.execute(f'create role "{service}" login')
            await connection.execute(f"alter role \"{service}\" password '{passwords[service]}'")
            if not await connection.fetchval("select 1 from pg_database where datname = $1", service):
                await connection.execute(f'create database "{service}" owner "{service}"')
                made.append(service)
        for database in ("postgres", "template1", *DATABASES):
            if await connection.fetchval("select 1 from pg_database where datname = $1", database):
                await connection.execute(f'revoke all on database "{database}" from public')
    finally:
        await connection.close()
    return made
