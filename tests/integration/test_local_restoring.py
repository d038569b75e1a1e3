"""`make restore` keeps the databases as they were, and gives them back when nothing was restored."""

from pathlib import Path

import asyncpg
import pytest

from deploy.local import environment, restoring
from deploy.local.databases import create_databases
from deploy.local.layout import DATABASES, Layout
from deploy.local.postgres import Postgres
from deploy.local.processes import LocalError
from tests.servers import PrivateServers


async def run(postgres: Postgres, database: str, statement: str) -> object:
    connection = await asyncpg.connect(postgres.url(database))
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def names(postgres: Postgres) -> set[str]:
    """Return the databases of the services, under their names or others; those of other tests have a prefix."""
    listed = await run(postgres, "postgres", "select array_agg(datname::text) from pg_database where not datistemplate")
    assert isinstance(listed, list)
    return {name for name in listed if name.startswith(DATABASES)}


async def test_databases_are_kept_and_given_back(private_servers: PrivateServers, tmp_path: Path) -> None:
    postgres = private_servers.postgres
    layout = Layout(tmp_path, {})
    await create_databases(layout, postgres)
    await run(postgres, "posts", "create table things as select 7 as number")

    aside = await restoring._put_aside(layout, postgres, ["posts", "people"])
    assert aside.keys() == {"posts"}  # there is nothing in the other one
    assert await names(postgres) == {*DATABASES, aside["posts"]}
    assert await run(postgres, "posts", "select count(*) from pg_tables where schemaname = 'public'") == 0
    await restoring._put_back(postgres, aside)
    assert await names(postgres) == set(DATABASES)
    assert await run(postgres, "posts", "select number from things") == 7

    aside = await restoring._put_aside(layout, postgres, ["posts"])
    await run(postgres, "posts", "create table things as select 8 as number")  # it was restored, another one was not
    await restoring._put_back(postgres, aside)
    assert await run(postgres, "posts", "select number from things") == 8
    assert await run(postgres, aside["posts"], "select number from things") == 7


def test_a_stack_that_never_ran_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="There is no stack to restore into yet"):
        restoring.restore(Layout(tmp_path, {}), ["backup", "posts"])


def test_backups_know_every_database_and_account(tmp_path: Path) -> None:
    (tmp_path / "keys.env").touch()
    layout = Layout(tmp_path, {"POSTS_DATABASE_URL": "postgresql://posts:given@db/posts", "PATH": "/bin"})
    found = environment.for_backups(layout)
    assert found["POSTS_DATABASE_URL"] == "postgresql://posts:given@db/posts"
    assert found["COMMENTS_DATABASE_URL"].startswith("postgresql://comments:")
    assert found["COMMENTS_KAFKA_USERNAME"] == "comments"
    trial = environment.for_backups(layout, superuser="postgresql://postgres@127.0.0.1/postgres")
    assert trial["POSTS_DATABASE_URL"] == found["POSTS_DATABASE_URL"]  # that server is not ours
    assert trial["PEOPLE_DATABASE_URL"] == "postgresql://postgres@127.0.0.1/postgres"
