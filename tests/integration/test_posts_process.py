"""Posts as a process: accepted commands are published to Kafka."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from services.chassis.identity import Signer
from services.chassis.messaging.cloudevents import from_record
from services.chassis.messaging.topics import create_topics
from services.chassis.runtime.process import Health
from services.contracts.posts import PostEdited, PostPublished
from services.contracts.topics import POSTS
from services.posts import __main__ as posts
from services.posts.settings import PostsSettings
from tests.integration.chassis_harness import all_published, header, records
from tests.waiting import eventually


async def test_accepted_commands_are_published_in_order(
    new_database: Callable[..., Awaitable[Any]],
    keys: dict[str, str],
    signer: Callable[[str], Signer],
    kafka: str,
    kafka_prefix: str,
    free_port: Callable[[], int],
) -> None:
    await create_topics(kafka, kafka_prefix)
    db = await new_database(*posts.PACKAGES)
    settings = PostsSettings(
        posts_database_url=db.url,
        posts_port=free_port(),
        posts_metrics_port=free_port(),
        verification_keys=keys["VERIFICATION_KEYS"],
        kafka_bootstrap_servers=kafka,
        kafka_prefix=kafka_prefix,
    )
    author, stop, health = uuid4(), asyncio.Event(), Health()
    headers = {"Authorization": f"Bearer {signer('gateway').token('posts', author, ['author'])}", "X-Request-ID": "r-1"}
    async with AsyncExitStack() as stack:
        roles = await stack.enter_async_context(posts.compose(settings, ("api", "relay"), health))
        running = [asyncio.ensure_future(role.run(stop)) for role in roles]
        session = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{settings.posts_port}"))

        async def is_ready() -> bool:
            try:
                async with session.get("/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(is_ready)
        body = {"title": "Out it goes", "body": "Text nobody may find in the log.", "publish": True}
        async with session.post("/posts", json=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            post = await answer.json()
        async with session.patch(f"/posts/{post['id']}", json={"discussion": "closed"}, headers=headers) as answer:
            assert answer.status == 200
        await eventually(lambda: all_published(db))
        stop.set()
        await asyncio.gather(*running)

    found = await records(settings, POSTS)
    assert [header(record, "ce_type") for record in found] == [PostPublished.type, PostEdited.type]
    assert len({record.partition for record in found}) == 1
    assert {header(record, "ce_correlationid") for record in found} == {"r-1"}
    assert {from_record(record).key for record in found} == {UUID(post["id"])}
    facts = [PostPublished.model_validate_json(record.value) for record in found]
    assert [(fact.version, fact.discussion) for fact in facts] == [(1, "open"), (2, "closed")]
    assert {fact.author_id for fact in facts} == {author}
    assert not any(b"nobody may find" in record.value for record in found)


async def test_only_the_wanted_roles_are_built(new_database: Callable[..., Awaitable[Any]]) -> None:
    db = await new_database(*posts.PACKAGES)
    settings = PostsSettings(posts_database_url=db.url)
    async with posts.compose(settings, ("relay",), Health()) as roles:
        assert [role.name for role in roles] == ["monitoring", "retention", "backlog", "relay"]
    async with posts.compose(settings, ("publisher",), Health()) as roles:
        assert [role.name for role in roles] == ["monitoring", "retention", "backlog", "publisher"]
    async with posts.compose(settings, ("consumer",), Health()) as roles:
        assert [role.name for role in roles] == ["monitoring", "retention", "backlog", "consumer", "erasing"]


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["api", "relay"]])
def test_a_wrong_role_is_refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTS_DATABASE_URL", "postgresql://nowhere")
    monkeypatch.setattr("sys.argv", ["posts", *arguments])
    with pytest.raises(SystemExit) as exit:
        posts.main()
    assert exit.value.code == 2
