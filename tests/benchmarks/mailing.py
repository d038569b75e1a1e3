"""From the answer that a reply is accepted to the final dot of the mail that tells of it."""

import asyncio
import re
import time
from uuid import uuid4

import orjson

from tests.benchmarks.house import House
from tests.benchmarks.table import Row, quantiles
from tests.benchmarks.wire import exchange, request
from tests.client import Person
from tests.waiting import eventually

CLIENTS = 8
SECONDS = 5
TEXT = re.compile(rb"reply ([0-9a-f]{32})")


async def delays(house: House) -> list[Row]:
    """200 replies a second, and a tenth of it, settle window off."""
    return [await _delay(house, rate) for rate in (20, 200)]


async def _delay(house: House, rate: int) -> Row:
    parents = [await house.client.comment(house.people[0], post_id, "first") for post_id in house.posts]
    before, accepted = len(house.sink.messages), dict[str, float]()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port, limit=1 << 20)
        for turn in range(rate * SECONDS // CLIENTS):
            parent = parents[(number + turn) % len(parents)]
            who = house.people[1 + (number + turn) % (len(house.people) - 1)]
            text, begun = uuid4().hex, time.perf_counter()
            status, _, content = await exchange(reader, writer, _reply(who, parent["post_id"], parent["id"], text))
            assert status == 201, content
            accepted[text] = time.time()
            await asyncio.sleep(max(0.0, CLIENTS / rate - (time.perf_counter() - begun)))
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    reached = len(accepted) / (time.perf_counter() - begun)
    arrived: dict[str, float] = {}

    def all_there() -> bool:
        """Looks at each mail once; the author of the post gets one too."""
        nonlocal before
        for mail in house.sink.messages[before:]:
            before += 1
            for text in TEXT.findall(mail.content.replace(b"=\r\n", b"")):
                arrived.setdefault(text.decode(), mail.received_at)
        return accepted.keys() <= arrived.keys()

    await eventually(all_there, timeout=120)
    late = [1000 * (arrived[text] - moment) for text, moment in accepted.items()]
    work = f"comment accepted → mail handed over, {rate}/s, ms (p50, p99)"
    bound = "" if reached > 0.9 * rate else f"only {reached:.0f}/s were accepted"
    return Row(work, quantiles(late, 0.5, 0.99), bound, goal="p99 ≤ 250 ms")


def _reply(who: Person, post_id: str, parent_id: str, text: str) -> bytes:
    body = orjson.dumps({"body": f"reply {text}", "parent_id": parent_id})
    return request("POST", f"/v1/posts/{post_id}/comments", {"Authorization": f"Bearer {who.access_token}"}, body)
