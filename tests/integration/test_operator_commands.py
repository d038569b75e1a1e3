"""The commands of `rapport` over HTTP, with scripted services."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.operator import __main__ as command
from tests.unit.operator_exports import comment, export, item, written

FIRST_BATCH = "0199a000-0000-7000-8000-000000000001"  # the last id of a batch


class Scripted:
    """All services at one address: accepts imports once and records every body by its path."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, Any]] = []
        self.refusing = False
        self.count = 12345
        self.answers: dict[str, Any] = {}  # to paths that have no other
        self.pages: dict[str, list[Any]] = {}  # answers to a path, one after the other
        self.calls_until_free = 0
        self.kept_since: str | None = None
        self._known: dict[str, str] = {}

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response(self.answers[request.path])
        body = await request.json()
        self.bodies.append((request.path, body))
        if self.refusing:
            errors = [{"field": "email", "message": "must be an e-mail address"}]
            problem = {"type": "/problems/invalid", "title": "x", "status": 422, "detail": "y", "errors": errors}
            return web.json_response(problem, status=422)
        if request.path.startswith("/grants"):
            return web.json_response({"id": str(uuid4()), "roles": ["author", "reader"]})
        if request.path == "/republish":
            assert not self.calls_until_free or not body["after"]
            self.calls_until_free -= self.calls_until_free > 0
            if self.calls_until_free:
                return web.json_response({"count": 0, "next": body["after"], "is_full": True})
            following = None if body["after"] or self.count < 5000 else 5000
            batch = {"count": self.count, "next": following, "is_full": False, "kept_since": self.kept_since}
            return web.json_response(batch)
        if request.path == "/rerender":
            return web.json_response({"rendered": 99, "refused": 1, "next": None if body["after"] else FIRST_BATCH})
        if request.path in self.pages:
            return web.json_response(self.pages[request.path].pop(0))
        if request.path in self.answers:
            return web.json_response(self.answers[request.path])
        key = f"{request.path} {body.get('source_id') or body.get('source_user_id') or body['name']}"
        created = key not in self._known
        answer = {"id": self._known.setdefault(key, str(uuid4())), "created": created}
        if request.path == "/import/posts":
            answer |= {"slug": body["slug"], "status": body["status"]}
        return web.json_response(answer)


Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """Restore the log level of this process after the command has silenced it."""
    root, configured = logging.getLogger(), structlog.get_config()
    level, handlers = root.level, list(root.handlers)
    yield
    structlog.configure(**configured)
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
async def scripted(keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Scripted]:
    services = Scripted()
    application = web.Application()
    application.router.add_post("/{path:.*}", services.answer)
    application.router.add_get("/{path:.*}", services.answer)
    server = TestServer(application)
    await server.start_server()
    for name in ("POSTS", "COMMENTS", "PEOPLE", "NOTIFY"):
        monkeypatch.setenv(f"{name}_URL", str(server.make_url("")))
    monkeypatch.setenv("OPERATOR_SIGNING_KEY", keys["OPERATOR_SIGNING_KEY"])
    monkeypatch.setenv("RAPPORT_HOME", str(tmp_path / "no such place"))
    yield services
    await server.close()


@pytest.fixture
def rapport(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    async def run(*arguments: str) -> tuple[int, str, str]:
        """Return exit status, standard output and standard error. In a thread: the command has its own loop."""
        monkeypatch.setattr("sys.argv", ["rapport", *arguments])

        def inside() -> int:
            try:
                command.main()
            except SystemExit as exit:
                return int(exit.code or 0)
            return 0

        status = await asyncio.to_thread(inside)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


async def test_a_grant(scripted: Scripted, rapport: Run) -> None:
    assert await rapport("person", "grant", "ada@example.com", "author") == (
        0,
        "ada@example.com is now author, reader.\n",
        "",
    )
    assert scripted.bodies == [("/grants", {"email": "ada@example.com", "role": "author"})]


async def test_a_revocation(scripted: Scripted, rapport: Run) -> None:
    ended = await rapport("person", "revoke", "ada@example.com", "moderator")
    assert ended == (0, "ada@example.com is now author, reader.\n", "")
    assert scripted.bodies == [("/grants/revoke", {"email": "ada@example.com", "role": "moderator"})]


async def test_a_dry_run_says_which_roles_it_would_be(scripted: Scripted, rapport: Run) -> None:
    ended = await rapport("person", "revoke", "ada@example.com", "moderator", "--dry-run")
    assert ended == (0, "ada@example.com would be author, reader.\n", "")
    status, out, _ = await rapport("person", "grant", "ada@example.com", "author", "--dry-run", "--json")
    assert (status, json.loads(out)["dry_run"], json.loads(out)["roles"]) == (0, True, ["author", "reader"])
    assert [body["dry_run"] for _, body in scripted.bodies] == [True, True]


ADA = {
    "id": FIRST_BATCH,
    "name": "Ada \x1b[31m" + "x" * 100,
    "email": "a" * 60 + "@example.com",
    "confirmed_at": "2026-11-27T15:00:00.000Z",
    "roles": ["reader", "admin"],
    "imported": False,
    "created_at": "2026-11-27T15:00:00.000Z",
    "erased_at": None,
}


async def test_people_are_listed_page_by_page(
    scripted: Scripted, rapport: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    scripted.pages["/people/list"] = [{"items": [ADA] * 2, "next": "more"}, {"items": [ADA], "next": None}] * 2
    status, out, _ = await rapport("person", "list", "--role", "admin", "--part", "Ada", "--not-imported")
    assert status == 0
    assert out.count(f"    address    {ADA['email']}\n") == 3  # whole, whatever the width
    assert f"    name       Ada \\x1b[31m{'x' * 100}\n" in out
    assert out.endswith("3 people.\n")
    assert [body["cursor"] for _, body in scripted.bodies] == [None, "more"]
    assert scripted.bodies[0][1] | {"cursor": None} == {
        "role": "admin",
        "part": "Ada",
        "imported": False,
        "erased": False,
        "cursor": None,
    }
    status, out, _ = await rapport("person", "list", "--json")
    assert [json.loads(line) for line in out.splitlines()] == [ADA] * 3
    assert (await rapport("person", "list", "--role", "king"))[0] == 1


async def test_a_person_is_shown(scripted: Scripted, rapport: Run) -> None:
    session = {"id": FIRST_BATCH, "kind": "app", "created_at": "c", "used_at": "u", "expires_at": "e"}
    scripted.answers["/people/show"] = ADA | {"sessions": [session, session | {"kind": "browser", "used_at": None}]}
    scripted.answers[f"/people/{FIRST_BATCH}/mail"] = {"notifications": False}
    scripted.answers[f"/people/{FIRST_BATCH}/counts"] = {"counts": {"visible": 1200, "held": 0, "removed": 3}}
    status, out, _ = await rapport("person", "show", "ada@example.com")
    assert status == 0
    for line in ("mail       none about answers", "comments   1,200 visible, 0 held, 3 removed", "app, last used u"):
        assert line in out
    assert "browser, since c" in out
    status, out, _ = await rapport("person", "show", "ada@example.com", "--json")
    assert json.loads(out)["comments"] == {"visible": 1200, "held": 0, "removed": 3}
    assert (json.loads(out)["mail"], len(json.loads(out)["sessions"])) == (False, 2)


async def test_sessions_are_ended(scripted: Scripted, rapport: Run) -> None:
    scripted.answers["/sessions/end"] = {"id": FIRST_BATCH, "sessions": [FIRST_BATCH]}
    ended = await rapport("person", "sessions", "end", "ada@example.com", "--all", "--dry-run")
    assert ended == (0, f"1 open session of ada@example.com would be ended.\n  {FIRST_BATCH}\n", "")
    body = {"person": "ada@example.com", "session_id": None, "dry_run": True}
    assert scripted.bodies == [("/sessions/end", body)]
    assert (await rapport("person", "sessions", "end", "ada@example.com"))[0] == 2


async def test_a_refusal_names_the_field(scripted: Scripted, rapport: Run) -> None:
    scripted.refusing = True
    assert await rapport("person", "grant", "x", "author") == (1, "", "rapport: email must be an e-mail address\n")


async def test_an_unknown_role_is_refused_before_anybody_is_asked(scripted: Scripted, rapport: Run) -> None:
    ended = await rapport("person", "grant", "ada@example.com", "king")
    assert ended == (1, "", "rapport: There is no role 'king'; there are reader, author, moderator and admin.\n")
    assert scripted.bodies == []


async def test_one_event_is_not_plural(scripted: Scripted, rapport: Run) -> None:
    scripted.count = 1
    assert await rapport("republish", "people", "--since", "1h") == (0, "people sends 1 event again.\n", "")


async def test_republishing(scripted: Scripted, rapport: Run) -> None:
    ended = await rapport("republish", "people", "--since", "2026-01-02T03:04:05Z")
    assert ended == (0, "people sends 24,690 events again.\n", "")
    asked = {"since": "2026-01-02T03:04:05.000Z", "after": 0, "dry_run": False}
    assert scripted.bodies == [("/republish", asked), ("/republish", asked | {"after": 5000})]
    assert (await rapport("republish", "gateway", "--since", "1h"))[0] == 1
    assert (await rapport("republish", "people"))[0] == 2


async def test_republishing_waits_for_the_relay_and_goes_on_after_a_number(scripted: Scripted, rapport: Run) -> None:
    scripted.count, scripted.calls_until_free = 7, 3
    ended = await rapport("republish", "people", "--since", "1h", "--dry-run", "--json")
    assert ended[0] == 0
    result = json.loads(ended[1])
    assert (result["events"], result["dry_run"], result["deleted_before"]) == (7, True, None)
    assert [body["dry_run"] for _, body in scripted.bodies] == [True] * 3
    await rapport("republish", "people", "--since", "1h", "--after", "17")
    assert scripted.bodies[-1][1]["after"] == 17
    assert (await rapport("republish", "people", "--since", "1h", "--after", "-1"))[0] == 2


async def test_republishing_gives_up_when_the_relay_sends_nothing(
    scripted: Scripted, rapport: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATIENCE_SECONDS", "0.5")
    scripted.calls_until_free = 1000
    status, out, err = await rapport("republish", "people", "--since", "1h")
    assert (status, out) == (1, "")
    assert "The relay of people sent nothing for 0.5 s" in err
    assert "--after 0" in err


async def test_republishing_warns_of_what_is_deleted_already(scripted: Scripted, rapport: Run) -> None:
    scripted.kept_since, scripted.count = "2026-11-20T00:00:00.000Z", 3
    status, out, err = await rapport("republish", "people", "--since", "2026-11-01T00:00:00Z")
    assert (status, out) == (0, "people sends 3 events again.\n")
    assert "published before 2026-11-20T00:00:00.000Z is deleted" in err
    scripted.kept_since = "2026-01-01T00:00:00.000Z"
    assert (await rapport("republish", "people", "--since", "2026-11-01T00:00:00Z"))[2] == ""


async def test_rerendering_goes_on_until_there_are_no_more(scripted: Scripted, rapport: Run) -> None:
    status, out, err = await rapport("rerender", "posts")
    assert (status, err) == (0, f"99 texts rendered, up to {FIRST_BATCH}\n")
    assert out == "198 texts of posts are rendered anew; 2 cannot be rendered any more and keep their HTML.\n"
    assert scripted.bodies == [("/rerender", {"after": None}), ("/rerender", {"after": FIRST_BATCH})]
    assert (await rapport("rerender", "comments", "--after", FIRST_BATCH))[0] == 0
    assert scripted.bodies[2:] == [("/rerender", {"after": FIRST_BATCH})]
    assert (await rapport("rerender", "people"))[0] == 1


async def test_an_import_ends_with_a_report(scripted: Scripted, rapport: Run, tmp_path: Path) -> None:
    path = str(written(tmp_path, export(item(1, comment(2)), item(3, post_type="attachment"))))
    status, out, err = await rapport("import", "wordpress", path)
    assert (status, err) == (0, "")
    assert "The file holds 2 items and 1 comment; 2 and 1 are accounted for." in out
    paths = [path for path, _ in scripted.bodies]
    assert paths == ["/import/people", "/import/posts", "/import/people", "/import/comments"]


async def test_a_partly_refused_import_fails(scripted: Scripted, rapport: Run, tmp_path: Path) -> None:
    path = str(written(tmp_path, export(item(1, creator=""))))
    scripted.refusing = True
    status, out, err = await rapport("import", "wordpress", path)
    assert (status, out) == (1, "")
    assert "people refused the author" in err


@pytest.mark.parametrize("arguments", [(), ("import",), ("person",), ("dead-letter",)])
async def test_without_arguments_help_is_shown(rapport: Run, arguments: tuple[str, ...]) -> None:
    status, out, err = await rapport(*arguments)
    assert status in (0, 2)
    assert "Usage" in out + err


async def test_an_unknown_consumer_group_is_refused(scripted: Scripted, rapport: Run) -> None:
    for arguments in (("list", "people"), ("redrive", "people"), ("redrive", "people", "--position", "1")):
        status, out, err = await rapport("dead-letter", *arguments)
        assert (status, out) == (1, "")
        assert "There is no consumer group 'people'" in err
