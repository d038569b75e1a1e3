"""`make demo` and `rapport setup` on a running system: what they leave, and that a repetition doubles nothing."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from deploy.local.story import ADA, DARIO, INK, LETTERS, MAX, WRITINGS
from services.operator.introducing import introduce
from services.operator.settings import OperatorSettings
from tests.client import LINK, Client
from tests.e2e.named_site import NAME
from tests.e2e.test_operator_command import Ended, rapport, thread
from tests.smtp_sink import SmtpSink
from tests.stack import ROOT, Stack
from tests.waiting import eventually


@pytest.fixture
async def mailbox(session_sink: SmtpSink) -> AsyncIterator[int]:
    """Serve the mails of the sink as the local mailbox does, and return the port."""

    async def mails(request: web.Request) -> web.Response:
        found = enumerate(session_sink.to(request.query["to"]))
        items = [
            {
                "id": str(number),
                "subject": str(mail.message["Subject"]),
                "headers": [[name, str(value)] for name, value in mail.message.items()],
                "text": mail.text,
            }
            for number, mail in found
        ]
        return web.json_response({"items": items[::-1]})

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/messages.json", mails), web.get("/livez", live)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def demo(stack: Stack, mailbox: int, home: Path) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.demo"),
        cwd=ROOT,
        env=stack.environment() | {"RAPPORT_HOME": str(home), "MAILBOX_PORT": str(mailbox), "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def test_the_demo_tells_its_story_and_a_repetition_doubles_nothing(
    stack: Stack, client: Client, mailbox: int, tmp_path: Path
) -> None:
    first = await demo(stack, mailbox, tmp_path)
    assert (first.status, first.err) == (0, "")
    ada = await client.sign_in(ADA.name, ADA.email)

    async def site() -> dict[str, list[tuple[str, str, str | None]]]:
        """Return author, state and text of every comment, by the slugs of the posts that Ada has."""
        found = {}
        for writing in WRITINGS:
            post = (await client.call("GET", f"/v1/posts/{writing.slug}")).json
            seen = await thread(client, post["id"], ada)
            found[writing.slug] = sorted((one["author"]["name"], one["state"], one["body"]) for one in seen)
        return found

    left = await site()
    assert [len(left[writing.slug]) for writing in WRITINGS] == [len(writing.comments) for writing in WRITINGS]
    assert sorted((name, state) for name, state, _ in left[INK.slug]) == [
        ("Cleo", "visible"),
        (DARIO.name, "held"),
        (MAX.name, "removed"),
    ]
    post = (await client.call("GET", f"/v1/posts/{LETTERS.slug}")).json
    assert LETTERS.edit is not None
    assert (post["edit_note"], post["tags"]) == (LETTERS.edit.note, list(LETTERS.tags))
    assert (await client.call("GET", post["cover_url"].removeprefix(client.url))).status == 200
    pages = (await client.call("GET", "/v1/posts?kind=page&limit=200")).json["items"]
    assert "About this demo" in [page["title"] for page in pages]
    shown = await client.call("GET", f"/v1/posts/{LETTERS.slug}/page")
    faces = {one["author"]["avatar_url"] for one in shown.json["comments"]["items"]}
    assert None not in faces

    again = await demo(stack, mailbox, tmp_path)
    assert (again.status, again.err) == (0, "")
    assert await site() == left
    assert again.out.count("there already") == len(WRITINGS)
    for told in (first.out, again.out):
        assert f"Edit: {LETTERS.edit.note}" in told
        assert "Ada rejects: “BEST INK" in told
        assert (
            told.count("/messages/") == 7
        )  # of four comments on Ada's post; Ben, Cleo and Dario are answered once each
        assert [line for line in told.splitlines() if len(line) > 80 and "http" not in line] == []
        for where in ("/write", "/moderate", f"/posts/{LETTERS.slug}", "/sign-in and type ada@"):
            assert f"{client.url}{where}" in told
    own = (await client.call("GET", "/v1/posts?author=me&limit=200", who=ada)).json["items"]
    assert len(own) == len([writing for writing in WRITINGS if writing.kind == "post"])


async def test_setup_names_the_site_and_makes_the_author_one(
    stack: Stack, client: Client, session_sink: SmtpSink, tmp_path: Path, unique: str
) -> None:
    email = f"robin.{unique}@example.com"
    given = ["setup", "--name", "Beans", "--author", "Robin", "--email", email, "--json"]
    home = {"RAPPORT_HOME": str(tmp_path), "ADMIN_EMAILS": ""}
    (tmp_path / "settings.env").write_text("ADMIN_EMAILS='somebody@example.com'\n")

    key, people = stack.keys["OPERATOR_SIGNING_KEY"], f"http://127.0.0.1:{stack.ports['people']}"
    settings = OperatorSettings(operator_signing_key=key, people_url=people)
    assert await introduce(settings, email, "Robin", dry_run=True) == "mailed"
    assert await introduce(settings, email, None) == "unknown"
    assert session_sink.to(email) == []

    waiting = asyncio.create_task(rapport(stack, *given, "--wait", "60", **home))
    await eventually(lambda: session_sink.to(email), timeout=30)
    link = LINK.search(session_sink.to(email)[-1].text)
    assert link is not None
    session = await client.call("POST", "/v1/sessions", {"token": link[1]})
    assert (session.json["person"]["name"], session.json["person"]["roles"]) == ("Robin", ["reader"])
    granted = await waiting
    told = json.loads(granted.out)
    assert (granted.status, told["author"], told["changed"]) == (0, "granted", {"SITE_NAME": "Beans"})
    assert told["next"][0].startswith("make down, then make up")  # it runs under another name

    # the site was named before it started: a repetition finds nothing to do
    assert (await client.call("GET", "/v1/site")).json["name"] == NAME
    given[given.index("Beans")] = NAME
    again = json.loads((await rapport(stack, *given, RAPPORT_HOME=str(stack.folder))).out)
    assert (again["author"], again["changed"], again["next"]) == ("has", {}, [f"write at {client.url}/write"])
