"""Publish again what a service has published since a moment, batch by batch."""

from datetime import datetime
from typing import Any

from services.contracts.event import rfc3339
from services.operator.batches import Batches, say
from services.operator.calls import Services
from services.operator.moments import counted


async def republish(
    services: Services, service: str, since: datetime, after: int, patience: float, *, dry_run: bool
) -> dict[str, Any]:
    """Publish again every event behind the number `after` that was published since then, or only count them.

    Raises:
        Problem, Failed: as `Services.post`; also when the relay sends nothing.
    """
    place: int | None = after
    batches = Batches(service, "event", lambda: f"--after {place}", patience)
    kept_since = None
    while place is not None:
        body = {"since": rfc3339(since), "after": place, "dry_run": dry_run}
        answer = await services.post(service, "/republish", body)
        if place == after and not batches.count:
            kept_since = _pruned_before(answer.get("kept_since"), since)
            if kept_since:
                say(
                    f"rapport: what {service} published before {kept_since} is deleted and cannot be sent again; "
                    f"`rapport resync {service}` makes its readers whole."
                )
        if answer.get("is_full"):
            await batches.wait()
            continue
        place = answer.get("next")
        batches.add(answer["count"])
    return {
        "service": service,
        "since": rfc3339(since),
        "events": batches.count,
        "dry_run": dry_run,
        "deleted_before": kept_since,
        "seconds": round(batches.seconds, 1),
    }


def _pruned_before(kept_since: str | None, since: datetime) -> str | None:
    return kept_since if kept_since and since < datetime.fromisoformat(kept_since) else None


def sentence(result: dict[str, Any]) -> str:
    """Return the result in a sentence."""
    verb = "would send" if result["dry_run"] else "sends"
    return f"{result['service']} {verb} {counted(result['events'], 'event')} again."
