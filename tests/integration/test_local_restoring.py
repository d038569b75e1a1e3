"""`make restore` keeps the databases as they were, and gives them back when nothing was restored."""

from pathlib import Path

import asyncpg
import pytest

from deploy.local import environment, restoring
from deploy.local.databases import create_databases
from deploy.local.layout import DATABASES, Layout
from deploy.local.postgres import Postgres
from deploy.local.processes import LocalError
from deploy.local.put_aside import check_not_interrupted
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


async def made_anew(layout: Layout, postgres: Postgres) -> None:
    """Make empty databases, whatever tests before this one have left."""
    for name in await names(postgres):
        await run(postgres, "postgres", f'drop database "{name}" with (force)')
    await create_databases(layout, postgres)


async def test_databases_are_kept_and_given_back(private_servers: PrivateServers, tmp_path: Path) -> None:
    postgres = private_servers.postgres
    layout = Layout(tmp_path, {})
    await made_anew(layout, postgres)
    await run(postgres, "posts", "create table things as select 7 as number")

    aside = await restoring._put_aside(layout, postgres, ["posts", "people"])
    assert aside.keys() == {"posts"}  # there is nothing in the other one
    assert await names(postgres) == {*DATABASES, aside["posts"]}
    assert await run(postgres, "posts", "select count(*) from pg_tables where schemaname = 'public'") == 0
    with pytest.raises(LocalError, match='restore ARGS="--put-back"'):
        check_not_interrupted(layout)
    await restoring._put_back(layout, postgres)
    check_not_interrupted(layout)
    assert await names(postgres) == set(DATABASES)
    assert await run(postgres, "posts", "select number from things") == 7

    aside = await restoring._put_aside(layout, postgres, ["posts"])
    await run(postgres, "posts", "create table things as select 8 as number")  # it was restored, another one was not
    await restoring._put_back(layout, postgres)
    assert await run(postgres, "posts", "select number from things") == 8
    assert await run(postgres, aside["posts"], "select number from things") == 7


@pytest.mark.parametrize("renamed", [0, 1, 2])
async def test_what_a_killed_restore_put_aside_comes_back(
    private_servers: PrivateServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    """A kill before, between and after the renames; what is empty under the old name is no loss."""
    postgres = private_servers.postgres
    layout = Layout(tmp_path, {})
    await made_anew(layout, postgres)
    for service in ("posts", "people"):
        await run(postgres, service, f"create table things as select '{service}' as word")

    class Killed(BaseException):
        pass

    passed: list[str] = []

    def kill(name: str) -> None:
        passed.append(name)
        if len(passed) == renamed:
            raise Killed

    monkeypatch.setattr("deploy.local.restoring.reach", kill)
    if renamed:
        with pytest.raises(Killed):
            await restoring._put_aside(layout, postgres, ["posts", "people"])
    else:
        await restoring._put_aside(layout, postgres, ["posts", "people"])
    await restoring._put_back(layout, postgres)
    for service in ("posts", "people"):
        assert await run(postgres, service, "select word from things") == service
    assert await names(postgres) == set(DATABASES)


async def test_a_missing_database_is_made(private_servers: PrivateServers, tmp_path: Path) -> None:
    postgres = private_servers.postgres
    layout = Layout(tmp_path, {})
    await made_anew(layout, postgres)
    await run(postgres, "postgres", "drop database comments with (force)")
    assert await restoring._put_aside(layout, postgres, ["comments"]) == {}
    assert await names(postgres) == set(DATABASES)


def test_a_stack_that_never_ran_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="There is no stack to restore into yet"):
        restoring.restore(Layout(tmp_path, {}), ["backup", "posts"])


def test_backups_know_every_database_and_account(tmp_path: Path) -> None:
    layout = Layout(tmp_path, {"POSTS_DATABASE_URL": "postgresql://posts:given@db/posts", "PATH": "/bin"})
    found = environment.for_backups(layout)
    assert found["POSTS_DATABASE_URL"] == "postgresql://posts:given@db/posts"
    assert found["COMMENTS_DATABASE_URL"].startswith("postgresql://comments:")
    assert found["COMMENTS_KAFKA_USERNAME"] == "comments"
    trial = environment.for_backups(layout, superuser="postgresql://postgres@127.0.0.1/postgres")
    assert trial["POSTS_DATABASE_URL"] == found["POSTS_DATABASE_URL"]  # that server is not ours
    assert trial["PEOPLE_DATABASE_URL"] == "postgresql://postgres@127.0.0.1/postgres"
