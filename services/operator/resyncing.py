"""Have a service state everything that it owns, so that its reader knows that and nothing else. It causes no mail."""

from typing import Any
from uuid import UUID

from services.contracts.services import FORGOTTEN, READERS
from services.operator.batches import Batches
from services.operator.calls import Services
from services.operator.comparing import known_pages
from services.operator.moments import counted

FIRST = str(UUID(int=0))
OWNERS = ("posts", "comments", "people")


async def resync(
    services: Services, service: str, after: str | None, patience: float, *, dry_run: bool
) -> dict[str, Any]:
    """State all rows of a service, or those behind `after`, then what its reader knows and the service does not have.

    The epoch is raised first, unless an earlier call is gone on with: so what is stated overtakes whatever the reader
    knows, also where both have the same version.

    Raises:
        Problem, Failed: as `Services.post`; also when the relay sends nothing.
    """
    knowing = READERS[service]
    reader = knowing if service in FORGOTTEN else None  # that hears what is gone
    if dry_run:
        return await _counted(services, service, reader)
    if after is None:
        await services.post(service, "/epoch", {"above": await _highest_epoch(services, knowing)})
    stated = await _state(services, service, after or FIRST, patience)
    gone = await _state_gone(services, service, reader, patience) if reader else 0
    return {"service": service, "reader": reader, "stated": stated, "gone": gone, "dry_run": False}


async def _counted(services: Services, service: str, reader: str | None) -> dict[str, Any]:
    rows, place = 0, FIRST
    while place is not None:
        answer = await services.post(service, "/stated/rows", {"after": place})
        rows, place = rows + len(answer["items"]), answer["next"]
    gone = 0
    if reader:
        async for page in known_pages(services, reader):
            asked = {"ids": [str(row.id) for row in page]}
            present = {row_id for row_id, _ in (await services.post(service, "/stated/rows", asked))["items"]}
            gone += sum(not row.gone and str(row.id) not in present for row in page)
    return {"service": service, "reader": reader, "stated": rows, "gone": gone, "dry_run": True}


async def _highest_epoch(services: Services, reader: str) -> int:
    highest = 0
    async for page in known_pages(services, reader):
        highest = max(highest, *(row.state[0] for row in page), 0)
    return highest


async def _state(services: Services, service: str, after: str, patience: float) -> int:
    place: str | None = after
    batches = Batches(service, "row", lambda: f"--after {place}", patience)
    while place is not None:
        answer = await services.post(service, "/stated", {"after": place})
        if answer["is_full"]:
            await batches.wait()
            continue
        place = answer["next"]
        batches.add(answer["count"])
    return batches.count


async def _state_gone(services: Services, service: str, reader: str, patience: float) -> int:
    last = "ffffffff-ffff-ffff-ffff-ffffffffffff"
    batches = Batches(reader, "row", lambda: f"--after {last}", patience)
    gone = 0
    async for page in known_pages(services, reader):
        rows = [{"id": str(row.id), "key": str(row.key), "version": row.state[1]} for row in page if not row.gone]
        answer = {"is_full": bool(rows), "count": 0}
        while answer["is_full"]:
            answer = await services.post(service, "/stated/gone", {"rows": rows})
            if answer["is_full"]:
                await batches.wait()
        gone += answer["count"]
        batches.add(len(page))
    return gone


def sentence(result: dict[str, Any]) -> str:
    """Return the result in a sentence."""
    would = "would state" if result["dry_run"] else "states"
    said = f"{result['service']} {would} {counted(result['stated'], 'row')}"
    if result["reader"]:
        are = "is" if result["gone"] == 1 else "are"
        said += f", and that {result['gone']:,} of those that {result['reader']} knows {are} gone"
    return said + "."
