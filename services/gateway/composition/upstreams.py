"""Call the four services behind the gateway: a client for reads and one for writes each, and refusals as problems.

Of one person, few calls of either kind are under way at one service, so that a burst of theirs passes beside others.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from services.chassis.client.client import ServiceClient, ServiceResponse
from services.chassis.client.connection_pool import ConnectionPool, Transport
from services.chassis.errors import unavailable
from services.chassis.identity import Caller, Signer
from services.gateway.settings import GatewaySettings

Params = Mapping[str, str | int | None]

AT_ONCE = 2  # requests of one person under way at one service; an answer of 2 MiB takes some 20 ms of each process


class Client(Protocol):
    """A way to call one service; `chassis.client.ServiceClient` does it by HTTP, or in the process."""

    async def call(
        self,
        method: str,
        path: str,
        *,
        deadline: float,
        caller: Caller | None = None,
        body: object = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ServiceResponse: ...


class Shares:
    """The requests of all people to one service that are under way or wait for their turn."""

    def __init__(self) -> None:
        self._under_way: dict[UUID, int] = {}
        self._waiting: dict[UUID, deque[asyncio.Future[None]]] = {}

    async def enter(self, person_id: UUID, deadline: float) -> None:
        """Wait until few enough requests of this person are under way; `leave` must follow.

        Raises:
            Problem: `unavailable` when the deadline, a moment of `time.monotonic()`, comes first.
        """
        count = self._under_way.get(person_id, 0)
        if count < AT_ONCE:
            self._under_way[person_id] = count + 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(person_id, deque()).append(turn)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it came at the same moment
                self.leave(person_id)
            if isinstance(error, TimeoutError):
                raise unavailable("Too many requests of yours are under way.") from None
            raise

    def leave(self, person_id: UUID) -> None:
        """Give the turn to the next request of this person that still waits."""
        waiting = self._waiting.get(person_id, ())
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._waiting.pop(person_id, None)
        self._under_way[person_id] -= 1
        if not self._under_way[person_id]:
            del self._under_way[person_id]


@dataclass(frozen=True)
class Upstream:
    """One service that the gateway calls. Deadlines are moments of `time.monotonic()`.

    Attributes:
        reader: the way of reads.
        writer: the way of writes, with connections and a circuit breaker of its own: slow writes must not stop reads.
        reads, writes: who uses how much of them.
    """

    name: str
    reader: Client
    writer: Client
    reads: Shares = field(default_factory=Shares)
    writes: Shares = field(default_factory=Shares)

    async def get(self, path: str, caller: Caller, deadline: float, params: Params | None = None) -> Any:
        """Return the JSON of a GET.

        Raises:
            Problem: what the service refused with, or `unavailable`.
        """
        return (await self._call(self.reader, self.reads, "GET", path, caller, deadline, params=params)).json()

    async def get_bytes(self, path: str, caller: Caller, deadline: float, params: Params | None = None) -> bytes:
        """Return the content of a GET as it is.

        Raises:
            Problem: what the service refused with, or `unavailable`.
        """
        return (await self._call(self.reader, self.reads, "GET", path, caller, deadline, params=params)).data

    async def look_up(self, path: str, caller: Caller, deadline: float, body: object) -> Any:
        """Return the JSON of a POST that reads: a question too long for a query.

        Raises:
            Problem: what the service refused with, or `unavailable`.
        """
        return (await self._call(self.reader, self.reads, "POST", path, caller, deadline, body=body)).json()

    async def send(
        self,
        method: str,
        path: str,
        caller: Caller,
        deadline: float,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> ServiceResponse:
        """Send a request that writes; `body` is a JSON value, or bytes as they came: of one, unless `headers` name
        another type.

        Raises:
            Problem: what the service refused with, or `unavailable`.
        """
        return await self._call(self.writer, self.writes, method, path, caller, deadline, body=body, headers=headers)

    async def _call(
        self,
        client: Client,
        shares: Shares,
        method: str,
        path: str,
        caller: Caller,
        deadline: float,
        *,
        body: object = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ServiceResponse:
        person_id = caller.person_id
        if person_id is not None:
            await shares.enter(person_id, deadline)
        try:
            answer = await client.call(
                method, path, caller=caller, body=body, params=params, headers=headers, deadline=deadline
            )
        finally:
            if person_id is not None:
                shares.leave(person_id)
        problem = answer.problem()
        if problem is None:
            return answer
        if problem.kind == "invalid-token" and caller.person_id is None:  # the gateway's own: keys or clocks disagree
            raise unavailable(f"{self.name} does not accept the gateway's token.")
        raise problem


@dataclass(frozen=True)
class Upstreams:
    """The services by name."""

    posts: Upstream
    comments: Upstream
    people: Upstream
    notify: Upstream
    pools: Sequence[Transport] = ()

    @classmethod
    def connect(cls, settings: GatewaySettings, transport: Callable[[], Transport] = ConnectionPool) -> "Upstreams":
        """Return clients that share two pools of connections, or other transports: one for reads, one for writes."""
        signer = Signer(settings.gateway_signing_key, "gateway")
        reads, writes = transport(), transport()

        def upstream(name: str, url: str) -> Upstream:
            return Upstream(
                name,
                ServiceClient(url, name, signer, connections=reads, purpose="reads"),
                ServiceClient(url, name, signer, connections=writes, purpose="writes"),
            )

        return cls(
            upstream("posts", settings.posts_url),
            upstream("comments", settings.comments_url),
            upstream("people", settings.people_url),
            upstream("notify", settings.notify_url),
            (reads, writes),
        )

    async def close(self) -> None:
        """Close the connections."""
        for pool in self.pools:
            await pool.close()
