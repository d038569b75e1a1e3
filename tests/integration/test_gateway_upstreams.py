"""The gateway's calls: reads do not fail because writes are slow."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.chassis.client.circuit_breaker import CircuitBreaker
from services.chassis.client.client import ServiceClient, within
from services.chassis.errors import Problem
from services.gateway.access.authentication import NOBODY
from services.gateway.composition.upstreams import Upstreams
from services.gateway.settings import GatewaySettings

MANY = 300  # more than the connections to one service


@asynccontextmanager
async def slow_writer() -> AsyncIterator[str]:
    """A service that answers a GET at once, and no POST but look-ups."""
    answering: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answering.add(task)
        try:
            while line := await reader.readline():
                length = 0
                while (header := await reader.readline()).strip():
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                await reader.readexactly(length)
                if line.startswith(b"GET") or b"lookup" in line:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                    await writer.drain()
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


async def test_reads_pass_while_writes_hang_and_after_they_failed(keys: dict[str, str]) -> None:
    async with slow_writer() as url:
        settings = GatewaySettings(
            gateway_signing_key=keys["GATEWAY_SIGNING_KEY"],
            verification_keys=keys["VERIFICATION_KEYS"],
            comments_url=url,
        )
        upstreams = Upstreams.connect(settings)
        comments = upstreams.comments
        assert isinstance(comments.writer, ServiceClient)
        comments.writer.breaker = CircuitBreaker("comments", "writes", open_seconds=60)  # longer than all that fails
        try:
            deadline = within(5.0)
            writes = [
                asyncio.ensure_future(comments.send("POST", "/posts/x/comments", NOBODY, deadline, body={}))
                for _ in range(MANY)
            ]
            await asyncio.sleep(0)
            assert await comments.get("/comments/x", NOBODY, within(4.5)) == {}
            assert await comments.look_up("/comments/lookup", NOBODY, within(4.5), {"ids": []}) == {}
            assert time.monotonic() < deadline, "while the writes hang"
            assert not any(write.done() for write in writes)
            failures = await asyncio.gather(*writes, return_exceptions=True)
            assert {failure.kind for failure in failures if isinstance(failure, Problem)} == {"unavailable"}
            with pytest.raises(Problem, match="is not answering"):
                await comments.send("POST", "/posts/x/comments", NOBODY, within(1.0), body={})
            assert await comments.get("/comments/x", NOBODY, within(1.0)) == {}
        finally:
            await upstreams.close()
