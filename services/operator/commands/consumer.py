"""`rapport consumer`: look at the partitions of a consumer group, pause, resume and skip."""

import asyncio
import json
import re
from typing import Annotated, Any

import typer

from services.contracts.topics import SUBSCRIPTIONS
from services.operator.calls import connected
from services.operator.commands.options import Group, Json
from services.operator.moments import counted
from services.operator.settings import load

RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
OFFSETS = (("next", "next_offset"), ("end", "end"), ("lag", "lag"))
OBEYS = "A consumer that runs obeys within a second, any other one when it starts"

app = typer.Typer(help="Partitions of a consumer group: status, pause, resume, skip.", no_args_is_help=True)

AnyTopic = Annotated[str | None, typer.Argument(help="A topic that the group reads; without it all of them.")]
AnyPartition = Annotated[int | None, typer.Argument(help="A partition of the topic.", min=0)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")]


@app.command(epilog="Example: rapport consumer status notify")
def status(group: Group, as_json: Json = False) -> None:
    """Show every partition: state, next offset, end, lag, since when and why."""

    async def work() -> Any:
        async with connected(load()) as services:
            return await services.get(group, "/consumer")

    answer = asyncio.run(work())
    typer.echo(json.dumps(answer, indent=2) if as_json else "\n".join(described(answer)))


@app.command(epilog="Example: rapport consumer pause notify comments.events 3")
def pause(
    group: Group, topic: AnyTopic = None, partition: AnyPartition = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Pause one partition, or all that run: nothing of it is handled until it is resumed."""
    _change("pause", "paused", group, topic, partition, dry_run, as_json)


@app.command(epilog="Example: rapport consumer resume notify comments.events 3")
def resume(
    group: Group, topic: AnyTopic = None, partition: AnyPartition = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Try again where a stopped or paused partition stands, or all of them, with a fresh count; it ends a skip."""
    _change("resume", "resumed", group, topic, partition, dry_run, as_json)


@app.command(epilog="Example: rapport consumer skip notify comments.events 3 120..179")
def skip(
    group: Group,
    topic: Annotated[str, typer.Argument(help="A topic that the group reads.")],
    partition: Annotated[int, typer.Argument(help="A partition of the topic, stopped or paused.", min=0)],
    records: Annotated[
        str, typer.Argument(metavar="FROM..TO", help="Offsets: where the partition stands, and the last one.")
    ],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Put records aside as dead letters, and go on behind them. It may be repeated."""
    found = RANGE.fullmatch(records)
    if found is None:
        raise typer.BadParameter(f"{records!r} is not a range of offsets: write it like 120..179.")
    first, last = int(found[1]), int(found[2])
    if last < first:
        raise typer.BadParameter(f"{records!r} ends before it begins.")
    body = {"topic": topic, "partition": partition, "first": first, "last": last, "dry_run": dry_run}
    answer = asyncio.run(_post(group, "skip", body))
    if as_json:
        typer.echo(json.dumps(answer))
        return
    record = counted(answer["count"], "record")
    if dry_run:
        typer.echo(f"{record} of {topic} {partition}, {first}..{last}, would be put aside; nothing was changed.")
        return
    typer.echo(
        f"{record} of {topic} {partition}, {first}..{last}, put aside as dead letters. "
        f"{OBEYS}; see `rapport consumer status {group}`, and `rapport dead-letter list {group}` afterwards."
    )


def _change(
    verb: str, done: str, group: str, topic: str | None, partition: int | None, dry_run: bool, as_json: bool
) -> None:
    if (topic is None) != (partition is None):
        example = f"rapport consumer {verb} {group} {SUBSCRIPTIONS[group][0].name} 3"
        raise typer.BadParameter(f"name topic and partition, such as `{example}`.")
    body = {"topic": topic, "partition": partition, "dry_run": dry_run}
    answer = asyncio.run(_post(group, verb, body))
    if as_json:
        typer.echo(json.dumps(answer))
        return
    changed = answer["partitions"]
    names = ", ".join(f"{each['topic']} {each['partition']}" for each in changed)
    if not changed:
        fitting = "runs" if verb == "pause" else "is stopped or paused"
        typer.echo(f"Nothing to {verb}: no such partition of {group} {fitting}.")
    elif dry_run:
        typer.echo(f"{counted(len(changed), 'partition')} would be {done}: {names}. Nothing was changed.")
    else:
        typer.echo(f"{counted(len(changed), 'partition')} of {group} {done}: {names}. {OBEYS}.")


async def _post(group: str, verb: str, body: dict[str, Any]) -> Any:
    async with connected(load()) as services:
        return await services.post(group, f"/consumer/{verb}", body)


def described(answer: dict[str, Any]) -> list[str]:
    """Return the lines of a status, whole at any width of the terminal."""
    group, running = answer["group"], answer["running"]
    lines = [
        {
            True: f"The consumer of {group} runs.",
            False: f"The consumer of {group} does not run: start `python -m services.{group} consumer`, or `all`.",
            None: "Kafka does not answer: offsets, and whether the consumer runs, are unknown.",
        }[running]
    ]
    for each in answer["partitions"]:
        place = f"{each['topic']} {each['partition']}"
        numbers = "  ".join(f"{name} {_number(each[field])}" for name, field in OFFSETS)
        lines.append(f"{place:<20}  {each['state']:<7}  {numbers}")
        if each["since"]:
            lines.append(f"    since {each['since']}: {each['reason']}")
        if each["failures"]:
            lines.append(f"    {counted(each['failures'], 'record')} in a row could not be handled")
        if each["skipping"]:
            lines.append(f"    puts {each['skipping']} aside")
        if each["state"] != "running" and not each["skipping"]:
            lines.append(f"    try again: rapport consumer resume {group} {place}")
            if each["next_offset"] is not None:
                first = each["next_offset"]
                lines.append(f"    or put records aside: rapport consumer skip {group} {place} {first}..LAST")
    return lines


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)
