"""Record requests and answers as examples: what differs from run to run is replaced by something fixed."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tests.client import Client, HttpResponse, Person
from tests.waiting import eventually

Json = dict[str, Any]

METHODS = ("get", "put", "post", "patch", "delete")
SITE = "https://rapport.example"
REQUEST_ID = "8d7f3a0c2b9e4f61"
MOMENT = "2026-11-23T04:35:00.000Z"
MOMENTS = {  # by the name of the field, because two times of one run may or may not be equal
    "published_at": "2026-11-23T04:35:12.250Z",
    "publish_at": "2026-12-24T06:00:00.000Z",
    "sent_at": "2026-11-23T04:36:03.500Z",
    "last_used_at": "2026-11-23T04:00:00.000Z",
    "edited_at": "2026-11-23T04:41:47.125Z",
}

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TAG = re.compile(r'^"(\d+)-[A-Za-z0-9_-]+"$')
SECRET_FEED = re.compile(r"/feeds/[A-Za-z0-9_-]{43}\.atom")
WAIT = re.compile(r"\b\d+ seconds\b")
SOMETIMES = {"link", "idempotency-replayed", "retry-after"}  # headers that come with some answers of a status only
NO_STORE = {"cache-control"}  # said of every write and refusal, and not described each time
RANDOM = {  # by the name of the field
    "access_token": "eyJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiIwMTkzNmY2ZSJ9.c2lnbmF0dXJl",
    "refresh_token": "Zm9yLXRoZS1uZXh0LXBhaXI",
    "token": "ZnJvbS10aGUtbWFpbGVkLWxpbms",
    "request": "dGhlIHJlcXVlc3QgZm9yIGE",
    "code": "31415926",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "next": "eyJ0aGUiOiJuZXh0IHBhZ2UifQ",
    "cursor": "eyJ0aGUiOiJuZXh0IHBhZ2UifQ",
}


Wanted = Callable[[HttpResponse], object]


@dataclass
class Fixed:
    """What stands in the examples for ids, times and secrets. Equal ids stay equal, in the order of their appearance.

    Attributes:
        url: the address of the gateway that is recorded.
    """

    url: str
    ids: dict[str, str] = field(default_factory=dict)

    def __call__(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        if not isinstance(value, str):
            return value
        if name in RANDOM:
            return RANDOM[name]
        value = SECRET_FEED.sub("/feeds/YW5zd2Vycy10by1tZQ.atom", value)
        text = TAG.sub(r'"\1-qX8mZ2v0RkE"', value.replace(self.url, SITE))
        text = WAIT.sub("42 seconds", TIME.sub(MOMENTS.get(name, MOMENT), ID.sub(self._id, text)))
        return text.removeprefix("Bearer ") if name == "Authorization" else text

    def _id(self, match: re.Match[str]) -> str:
        return self.ids.setdefault(match[0], f"01936f6e-0000-7000-8000-{len(self.ids) + 1:012x}")


@dataclass
class Recorder:
    """Sends requests by the names of their operations and records them with their answers.

    Attributes:
        document: the OpenAPI document, for methods and paths.
        complaints: where an answer is not as its description says.
        recorded: the examples, in the form of `apidocs/examples.json`.
    """

    client: Client
    document: Json
    fixed: Fixed
    complaints: list[str] = field(default_factory=list)
    recorded: Json = field(default_factory=lambda: {"operations": {}, "problems": {}})

    async def play(
        self,
        name: str,
        title: str,
        *,
        until: Wanted = lambda answer: True,
        **request: Any,
    ) -> HttpResponse:
        """Send a request, again until its answer is as wanted, and record it."""
        answers: list[HttpResponse] = []

        async def as_wanted() -> bool:
            answers.append(await self.send(name, **request))
            assert answers[-1].status < 300 or answers[-1].status in (404, 503)
            return answers[-1].status < 300 and bool(until(answers[-1]))

        try:
            await eventually(as_wanted, timeout=20)
        except AssertionError:
            raise AssertionError(f"{name}: {answers[-1].status} {answers[-1].body!r}") from None
        self._compare(name, answers[-1], whole=True)
        exchange: Json = {"title": title, "signed_in": request.get("who") is not None}
        sent = [part for part in ("path", "query", "headers", "body") if part in request]
        exchange |= {part: self.fixed(request[part]) for part in sent}
        exchange["status"] = answers[-1].status
        if answers[-1].json is not None:
            exchange["answer"] = self.fixed(answers[-1].json)
        self.recorded["operations"].setdefault(name, []).append(exchange)
        return answers[-1]

    async def refused(self, kind: str, name: str, **request: Any) -> None:
        """Send a request that is refused, and record the problem."""
        answer = await self.send(name, **request)
        assert answer.json is not None, (kind, answer.status)
        assert answer.json["type"] == f"/problems/{kind}", answer.body
        self.recorded["problems"][kind] = self.fixed(answer.json)
        self._compare(name, answer, whole=False)

    async def send(
        self,
        name: str,
        *,
        who: Person | None = None,
        path: dict[str, str] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
        headers: dict[str, str] | None = None,
        body: object = None,
        **options: Any,
    ) -> HttpResponse:
        """Send a request by the name of its operation."""
        method, template = self.place(name)
        target = template.format(**{key: quote(value, safe="") for key, value in (path or {}).items()})
        target += f"?{urlencode(query, doseq=True)}" if query else ""
        sent = {"X-Request-ID": REQUEST_ID} | (headers or {})
        return await self.client.call(method.upper(), target, body, who=who, headers=sent, **options)

    def _compare(self, name: str, answer: HttpResponse, *, whole: bool) -> None:
        """Compare the headers of an answer, and the kind of a problem, with the description of the operation."""
        method, path = self.place(name)
        described = self.document["paths"][path][method]["responses"].get(str(answer.status), {})
        named = {header.lower() for header in described.get("headers", {})}
        sent = {header.lower() for header in answer.headers}
        known = {header.lower() for header in self.document["components"]["headers"]}
        missing = named - sent - SOMETIMES
        surplus = (sent & known) - named - (set() if whole else {"cache-control", "vary"}) - NO_STORE
        if missing or surplus:
            self.complaints.append(
                f"{name} {answer.status}: missing {sorted(missing)}, not described {sorted(surplus)}"
            )
        kind = answer.json["type"].rpartition("/")[2] if answer.status >= 400 else ""
        if f"`{kind}`: " not in described.get("description", "") and kind:
            self.complaints.append(f"{name} {answer.status}: {kind} is not described")

    def place(self, name: str) -> tuple[str, str]:
        """Return the method and the path of an operation."""
        for template, operations in self.document["paths"].items():
            for method in METHODS:
                if operations.get(method, {}).get("operationId") == name:
                    return method, template
        raise AssertionError(f"there is no operation {name}")
