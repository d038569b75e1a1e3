"""Look at the partitions of a consumer group, as its service tells of them."""

from collections.abc import Iterable
from typing import Any

from services.chassis.client.client import ServiceClient, within
from services.chassis.errors import Problem
from services.operator.doctor.findings import Finding, fault, ok, warning
from services.operator.moments import counted

CALL_SECONDS = 12.0
MUCH = 1000  # records behind


async def look_at_partitions(client: ServiceClient, group: str) -> list[Finding]:
    """Return which partitions of the group stand still, and whether somebody consumes."""
    try:
        answer = await client.call("GET", "/consumer", deadline=within(CALL_SECONDS))
        refusal = answer.problem()
    except Problem as problem:
        refusal = problem
    if refusal is not None:
        mend = f"Repeat `rapport consumer status {group}` when {group} answers."
        return [warning(f"consumer of {group}", f"its partitions are unknown: {refusal.detail.rstrip('.')}", mend)]
    return [*consumer(group, answer.json()), *halted(group, answer.json()["partitions"])]


def consumer(group: str, answer: dict[str, Any]) -> Iterable[Finding]:
    """Return whether somebody consumes, from the answer about the group's partitions."""
    name = f"consumer of {group}"
    lag = sum(each["lag"] or 0 for each in answer["partitions"])
    if answer["running"] is None:
        yield warning(
            name, f"Kafka does not tell {group} who consumes", f"See the finding about Kafka, and {group}'s log."
        )
    elif not answer["running"]:
        mend = f"Start `python -m services.{group} consumer`, or `all`; if it ends again, its log says why."
        yield fault(name, f"nobody consumes; {counted(lag, 'record')} wait", mend)
    elif lag > MUCH:
        mend = f"Start more consumers of {group}, up to 12, if it does not catch up; its log says what takes long."
        yield warning(name, f"it runs, {counted(lag, 'record')} behind", mend)
    else:
        yield ok(name, f"it runs, {counted(lag, 'record')} behind")


def halted(group: str, partitions: Iterable[dict[str, Any]]) -> Iterable[Finding]:
    """Return the partitions that are stopped, a fault, or paused, which somebody wanted."""
    for each in partitions:
        if each["state"] == "running" or each["skipping"]:
            continue
        place = f"{each['topic']} {each['partition']}"
        found = f"{each['state']} for {group} since {each['since']}: {each['reason']}"
        resume = f"rapport consumer resume {group} {place}"
        if each["state"] == "paused":
            yield warning(place, found, f"Once it may go on: {resume}")
        else:
            skip = f"rapport consumer skip {group} {place} {each['next_offset']}..LAST"
            yield fault(place, found, f"Mend the cause, then: {resume} (or put records aside: {skip}).")
