"""Call the four services behind the gateway: one client each, and their refusals as problems."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.chassis.client.client import ServiceClient, ServiceResponse
from services.chassis.client.connection_pool import ConnectionPool
from services.chassis.errors import unavailable
from services.chassis.identity import Caller, Signer
from services.gateway.settings import GatewaySettings

Params = Mapping[str, str | int | None]


class Client(Protocol):
    """A way to call one service; `chassis.client.ServiceClient` does it by HTTP."""

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


@dataclass(frozen=True)
class Upstream:
    """One service that the gateway calls. Deadlines are moments of `time.monotonic()`."""

    name: str
    client: Client

    async def get(self, path: str, caller: Caller, deadline: float, params: Params | None = None) -> Any:
        """Return the JSON of a GET.

        Raises:
            Problem: what the service refused with, or `unavailable`.
        """
        return (await self.send("GET", path, caller, deadline, params=params)).json()

    async def send(
        self,
        method: str,
        path: str,
        caller: Caller,
        deadline: float,
        *,
        body: object = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ServiceResponse:
        """Send a request; `body` is a JSON value, or the bytes of one as they came.

        Raises:
            Problem: what the service refused with, or `unavailable`.
        """
        answer = await self.client.call(
            method, path, caller=caller, body=body, params=params, headers=headers, deadline=deadline
        )
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
    connections: ConnectionPool | None = None

    @classmethod
    def connect(cls, settings: GatewaySettings) -> "Upstreams":
        """Return clients that share their connections."""
        signer = Signer(settings.gateway_signing_key, "gateway")
        connections = ConnectionPool()

        def upstream(name: str, url: str) -> Upstream:
            return Upstream(name, ServiceClient(url, name, signer, connections=connections))

        return cls(
            upstream("posts", settings.posts_url),
            upstream("comments", settings.comments_url),
            upstream("people", settings.people_url),
            upstream("notify", settings.notify_url),
            connections,
        )

    async def close(self) -> None:
        """Close the connections."""
        if self.connections is not None:
            await self.connections.close()
