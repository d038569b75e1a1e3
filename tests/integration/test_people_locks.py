"""What signs in and what works on mails lock the same rows: in one order, or without waiting, so that neither fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.database.pool import Transaction
from services.contracts.people import LINK_LIFE
from services.people.commands import sign_in as commands
from services.people.commands.sign_in import Drawn
from services.people.domain import fingerprint
from services.people.store import link_use, sign_in, sign_in_codes
from services.people.store.sign_in import Claimed
from services.people.store.sign_in_codes import Requested
from tests.integration.people_harness import Harness, opened
from tests.waiting import eventually

ANA = "ana@example.com"
WAITS = """
select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')
"""


@pytest.fixture
async def harness(new_database: Callable[..., Awaitable[Any]], keys: dict[str, str]) -> AsyncIterator[Harness]:
    async with opened(new_database, keys) as harness:
        yield harness


async def claimed(harness: Harness, times: int) -> list[Claimed]:
    """Ask for mails to one address, and claim them in the order of their ids."""
    for _ in range(times):
        assert (await harness.call("POST", "/people", {"email": ANA, "name": "Ana"})).status_code == 202
    return sorted(await harness.claim(), key=lambda request: request.id)


async def waits_or_ended(harness: Harness, task: asyncio.Task[Any]) -> None:
    async def reached() -> bool:
        return task.done() or bool(await harness.value(WAITS))

    await eventually(reached)


async def count_try(tx: Transaction, request: Claimed) -> Requested:
    """Begin as a typed code does: lock the address, then the row of the request."""
    found = await sign_in_codes.find_request(tx, request.public_id or "")
    assert found is not None
    await sign_in.wait_for_address(tx, found.lookup)
    assert await sign_in_codes.count_try(tx, found)
    return found


@pytest.mark.parametrize("tried", [0, 1])
async def test_leases_are_renewed_while_a_code_voids_other_requests(harness: Harness, tried: int) -> None:
    requests = await claimed(harness, 2)
    async with harness.db.transaction() as tx:
        found = await count_try(tx, requests[tried])
        renewal = asyncio.create_task(
            commands.renew_leases(harness.db, {request.lease for request in requests}, LINK_LIFE)
        )
        await waits_or_ended(harness, renewal)
        await sign_in.void_links(tx, found.lookup)
    await renewal


@pytest.mark.parametrize("end", ["finish", "postpone"])
async def test_an_unsent_mail_ends_while_a_code_uses_its_link(harness: Harness, end: str) -> None:
    (request,) = await claimed(harness, 1)
    drawn = await commands.draw_link(harness.db, request)
    assert drawn is not None
    async with harness.db.transaction() as tx:
        found = await count_try(tx, request)
        mailer = asyncio.create_task(conclude(harness, request, drawn, end))
        await waits_or_ended(harness, mailer)
        link = await link_use.newest_link(tx, found.id)
        assert link is not None
        assert await link_use.use_link(tx, link, fingerprint("a nonce"))
        await sign_in.void_links(tx, found.lookup)
    await mailer
    used = "select used_at is not null from sign_in_links where token_sha256 = $1"
    assert await harness.value(used, fingerprint(drawn.token))


async def conclude(harness: Harness, request: Claimed, drawn: Drawn, end: str) -> None:
    if end == "finish":
        await commands.finish_request(harness.db, request, "refused", unsent=drawn)
    else:
        await commands.postpone_request(harness.db, request, timedelta(seconds=5), unsent=drawn)


async def test_old_requests_are_pruned_while_their_address_is_forgotten(harness: Harness) -> None:
    first, second = await claimed(harness, 2)
    await harness.change("update sign_in_requests set created_at = now() - interval '2 hours'")
    async with harness.db.transaction() as tx:
        await tx.execute("select from sign_in_requests where id = $1 for update", second.id)
        pruning = asyncio.create_task(prune(harness))
        await waits_or_ended(harness, pruning)
        await tx.execute("delete from sign_in_requests where id = $1", first.id)
        await sign_in.forget_address(tx, ANA)
    await pruning
    await prune(harness)
    assert await harness.value("select count(*) from sign_in_requests") == 0


async def prune(harness: Harness) -> None:
    async with harness.db.transaction() as tx:
        await commands.prune(tx)
