"""What the catalogue of a database says of its tables, so that a new table is never forgotten."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

import asyncpg

from services.chassis.backup.manifest import Migration
from services.chassis.backup.table_files import quoted

# Text that any server reads as any other wrote it, and no limits, which are meant for requests
PARAMETERS = {
    "application_name": "backup",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}

# Everything else is kept, `idempotency_keys` too: a request that is repeated after the restore writes nothing twice.
LEFT_OUT: Mapping[str, str] = {
    "schema_migrations": "the migrations write it, and the manifest lists them",
    "epoch": "a restore raises it; the manifest has its number",
    "consumer_partitions": "it stands for the present log and consumer, which find again where they cannot go on",
}


@dataclass(frozen=True)
class Table:
    """A table: its columns, but those that are computed, and the tables that it refers to."""

    name: str
    columns: tuple[str, ...]
    refers_to: frozenset[str]


SELECT_TABLES = """
select c.relname as name,
       array(select a.attname from pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
             order by a.attnum)::text[] as columns,
       array(select p.relname from pg_constraint f join pg_class p on p.oid = f.confrelid
             where f.conrelid = c.oid and f.contype = 'f' and f.confrelid <> c.oid)::text[] as refers_to
from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
order by c.relname
"""


async def tables(connection: Any) -> list[Table]:
    """Return the tables that belong into a snapshot, each after those that it refers to.

    Raises:
        CycleError: tables refer to each other in a circle, so no order can load them.
    """
    found = {
        row["name"]: Table(row["name"], tuple(row["columns"]), frozenset(row["refers_to"]))
        for row in await connection.fetch(SELECT_TABLES)
    }
    order = TopologicalSorter({name: sorted(table.refers_to) for name, table in found.items()}).static_order()
    return [found[name] for name in order if name not in LEFT_OUT]


async def first_with_rows(connection: Any, names: Sequence[str]) -> str | None:
    """Return the first of these tables that has a row."""
    for name in names:
        if await connection.fetchval(f"select exists (select from {quoted(name)})"):  # noqa: S608  # quoted
            return name
    return None


SELECT_MIGRATIONS = "select package, name, sha256 from schema_migrations order by package, name"


async def migrations(connection: Any) -> list[Migration]:
    """Return the migrations that were applied; none in a database without tables."""
    try:
        async with connection.transaction():
            return [Migration(**row) for row in await connection.fetch(SELECT_MIGRATIONS)]
    except asyncpg.UndefinedTableError:
        return []


SELECT_SEQUENCES = """
select c.relname as name, a.attname as column, pg_get_serial_sequence(quote_ident(c.relname), a.attname) as sequence
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
  and pg_get_serial_sequence(quote_ident(c.relname), a.attname) is not null
"""


async def advance_sequences(connection: Any) -> None:
    """Let every identity go on behind the greatest number in its table."""
    for row in await connection.fetch(SELECT_SEQUENCES):
        column, table = quoted(row["column"]), quoted(row["name"])
        await connection.execute(
            f"select setval('{row['sequence']}', greatest_number) "  # noqa: S608  # quoted
            f"from (select max({column}) as greatest_number from {table}) as found where greatest_number is not null"
        )
