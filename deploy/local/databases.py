"""One database and one role per service; no role can connect to the database of another service."""

import hashlib

import asyncpg

from deploy.local import passwords
from deploy.local.environment import direct_url
from deploy.local.layout import DATABASES, Layout
from deploy.local.postgres import Postgres
from deploy.local.processes import LocalError
from services.chassis.database.address_faults import AddressRefused
from services.chassis.database.migrations import migrate, migration_files


async def create_databases(layout: Layout, postgres: Postgres) -> list[str]:
    """Create missing databases and roles, set each role's stored password, and return the new databases' names."""
    kept = passwords.of_databases(layout)
    connection = await asyncpg.connect(postgres.url(), timeout=10)
    made = []
    try:
        for service in DATABASES:
            if layout.database_given(service):
                continue
            if not await connection.fetchval("select 1 from pg_roles where rolname = $1", service):
                await connection.execute(f'create role "{service}" login')
            await connection.execute(f"alter role \"{service}\" password '{kept[service]}'")
            if not await connection.fetchval("select 1 from pg_database where datname = $1", service):
                await connection.execute(f'create database "{service}" owner "{service}"')
                made.append(service)
        for database in ("postgres", "template1", *DATABASES):
            if await connection.fetchval("select 1 from pg_database where datname = $1", database):
                await connection.execute(f'revoke all on database "{database}" from public')
    finally:
        await connection.close()
    return made


async def needs_migration(layout: Layout, service: str) -> bool:
    """Return whether `migrate` has anything to do.

    Raises:
        LocalError: the database refused the connection.
    """
    wanted = {
        (package, name, hashlib.sha256(sql.encode()).hexdigest())
        for package in packages(service)
        for name, sql in migration_files(package)
    }
    try:
        connection = await asyncpg.connect(direct_url(layout, service), timeout=10)
        try:
            rows = await connection.fetch("select package, name, sha256 from schema_migrations")
        except asyncpg.UndefinedTableError:
            return True
        finally:
            await connection.close()
    except (asyncpg.PostgresError, OSError) as error:
        variable = f"{service.upper()}_DATABASE_URL"
        raise LocalError(f"Cannot connect to the database of {service} ({error}): check {variable}.") from error
    return not wanted <= {(row["package"], row["name"], row["sha256"]) for row in rows}


async def migrate_database(layout: Layout, service: str) -> None:
    """Apply the migrations of a service.

    Raises:
        LocalError: one failed.
    """
    try:
        await migrate(direct_url(layout, service), packages(service))
    except (asyncpg.PostgresError, AddressRefused, OSError, RuntimeError) as error:
        raise LocalError(f"The migrations of {service} failed: {error}") from error


def packages(service: str) -> tuple[str, str]:
    """Return the packages whose migrations the database of a service has."""
    return ("services.chassis", f"services.{service}")
