"""`python -m tests.benchmarks`: every measurement in one run, as a table."""

import asyncio
import tempfile
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from tests.benchmarks import measure
from tests.benchmarks.measure import Row
from tests.client import Client
from tests.servers import PrivateServers
from tests.smtp_sink import listening
from tests.stack import Stack


async def run(console: Console) -> list[Row]:
    """Start a system, measure, take it down."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        servers = PrivateServers(Path(folder))
        async with listening() as sink:
            stack = Stack(servers, Path(folder), sink.port, name=f"bench_{uuid4().hex[:8]}")
            try:
                console.print("starting the system …")
                await stack.prepare()
                await stack.up()
                rows += measure.memory(stack)
                measure.pin_all(stack, servers)
                async with Client(stack.url, sink) as client:
                    admin = await client.sign_in("Ada", "admin@example.com")
                    people = [await client.sign_in(f"Person {n}", f"person{n}@example.com") for n in range(8)]
                    posts = [(await client.publish(admin, title=f"Post {n}"))["id"] for n in range(8)]
                    short, long = [(await client.publish(admin, title=name))["id"] for name in ("Short", "Long")]
                    console.print("writing 10,000 comments …")
                    await measure.import_thread(stack, short, admin.id, 200)
                    await measure.import_thread(stack, long, admin.id, 10_000)
                    console.print("reading …")
                    rows += await measure.reads(stack, client, short)
                    rows.append(await measure.after_invalidation(client, admin, short))
                    rows.append(await measure.long_thread(stack, client, people[0], short, long))
                    console.print("mail …")
                    rows.append(await measure.mail_delay(stack, sink, people, posts))
                    console.print("writing …")
                    rows += await measure.writes(stack, people, posts)
            finally:
                stack.down()
                servers.stop()
    return rows


def main() -> None:
    console = Console()
    rows = asyncio.run(run(console))
    table = Table("work", "Rapport", "bound, same run", "ratio", "goal", title="servers on one core, load on another")
    for row in rows:
        table.add_row(row.work, row.figure, row.bound, "" if row.ratio is None else f"{row.ratio:.2f}", row.goal)
    console.print(table)


if __name__ == "__main__":
    main()
