"""The documentation is true: its examples are what a system answers, and the commands of its guide run.

`RECORD_EXAMPLES=1 pytest FILE` records the examples anew.
"""

import asyncio
import html
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from difflib import unified_diff
from pathlib import Path

import pytest

from services.gateway import openapi
from services.gateway.apidocs import examples
from tests.client import Client
from tests.contracts.example_story import ADA, code_of, tell, token_of
from tests.contracts.recording import Fixed, Recorder
from tests.servers import Servers
from tests.smtp_sink import SmtpSink
from tests.stack import ROOT, Stack, started
from tests.waiting import eventually

GUIDE = re.compile(r'<pre class="run(?: refused)?"><code>(.*?)</code></pre>', re.DOTALL)
ASKED = {  # what a reader fills in, and the file that the command waits for in its place
    "LINK_TOKEN='the last part of the link'\n": "token",
    "CODE='the code in the mail'\n": "code",
    "RETURNED='what follows #code= in the address'\n": "returned",
}
RETURN_TO = "http://localhost:3000/signed-in"
ROBIN = "robin@example.org"
STOP = "A problem: stop and read it."
FILE = ROOT / "services/gateway/apidocs/examples.json"


@pytest.fixture(scope="module")
async def fresh(
    servers: Servers, session_sink: SmtpSink, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Client]:
    """Return a client of a system in which nothing has happened yet, with rate limits as in production."""
    folder: Path = tmp_path_factory.mktemp("examples")
    stack = Stack(
        servers,
        folder,
        session_sink.port,
        name=f"docs{folder.parent.name[-6:]}".replace("-", "_"),
        overrides={"ADMIN_EMAILS": ADA, "RATE_LIMITS": "on", "RETURN_URLS": RETURN_TO},
    )
    async with started(stack), Client(stack.url, session_sink) as client:
        yield client


async def test_the_examples_are_what_the_system_answers(fresh: Client) -> None:
    recorder = Recorder(fresh, json.loads(openapi.text()), Fixed(fresh.url))
    await tell(recorder)
    assert recorder.complaints == []
    text = json.dumps(recorder.recorded, indent=1, ensure_ascii=False) + "\n"
    if "RECORD_EXAMPLES" in os.environ:
        FILE.write_text(text)
    changes = "\n".join(unified_diff(FILE.read_text().splitlines(), text.splitlines(), lineterm="", n=8))
    assert not changes, f"run with RECORD_EXAMPLES=1, look at the difference, commit\n{changes}"
    assert str(examples.FILE) == str(FILE)


async def commands_of(client: Client) -> list[str]:
    page = (await client.call("GET", "/docs")).body.decode()
    return [html.unescape(block) for block in GUIDE.findall(page)]


Step = Callable[[], Awaitable[str]]


async def play(commands: str, folder: Path, steps: Mapping[str, Step]) -> tuple[str, list[list[str]]]:
    """Run commands in one shell, give it what each step returns, and return what it prints and `status method url`."""
    told = """curl() { command curl "$@" -w '%{stderr}%{http_code} %{method} %{url}\\n' 2>> statuses; }\n"""
    for asked, file in ASKED.items():
        name = asked.partition("=")[0]
        commands = commands.replace(asked, f"{name}=$(until test -s {file}; do sleep 0.05; done; cat {file})\n")
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c", told + commands),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            for file, step in steps.items():
                (folder / f"{file}.new").write_text(await step())
                (folder / f"{file}.new").rename(folder / file)
            printed = (await shell.communicate())[0].decode()
    finally:
        if shell.returncode is None:
            shell.kill()
            await shell.wait()
    statuses = [line.split() for line in (folder / "statuses").read_text().splitlines()]
    assert shell.returncode == 0, (printed, statuses)
    return printed, statuses


def reader(client: Client, address: str) -> dict[str, Step]:
    """Return what a reader does at each place of the guide that asks for something."""
    seen = len(client.sink.to(address))

    async def mail(number: int) -> None:
        await eventually(lambda: len(client.sink.to(address)) >= seen + number, timeout=30)

    async def token() -> str:
        await mail(1)
        return token_of(client, address)

    async def code() -> str:
        await mail(2)
        return code_of(client, address)

    async def returned() -> str:
        await mail(3)
        path = f"/sign-in/{token_of(client, address)}"
        pressed = await client.call("POST", path, headers={"Origin": client.url})
        return str(pressed.headers["Location"].removeprefix(f"{RETURN_TO}#code="))

    return {"token": token, "code": code, "returned": returned}


def refused(statuses: list[list[str]]) -> list[str]:
    return [status for status, *_ in statuses if status >= "400"]


async def test_the_commands_of_the_guide_run(fresh: Client, tmp_path: Path) -> None:
    """Run them in one shell: every status goes into a file, and the mailed token comes from the mailbox."""
    ada = await fresh.sign_in("Ada", ADA)
    post = await fresh.publish(ada, title='豆 "id":"next":"x"} und Bohnen')
    for number in range(4):  # so that the thread has more pages than one
        await fresh.comment(ada, post["id"], f'Comment {number} with "next":"x"}}')
    commands = "\n".join(await commands_of(fresh))
    assert all(commands.count(asked) == 1 for asked in ASKED)
    printed, statuses = await play(commands, tmp_path, reader(fresh, ROBIN))
    assert sum("/comments?limit=2&cursor=" in url for _, _, url in statuses) == 3, "five at the top, two a page"
    assert refused(statuses) == ["422"], statuses
    assert {"201 POST", "304 GET", "200 PATCH", "204 DELETE"} <= {f"{one[0]} {one[1]}" for one in statuses}
    assert "idempotency-replayed: true" in printed.lower()
    assert STOP not in printed
    assert "No posts yet" not in printed
    assert len(statuses) >= 22


async def test_the_guide_begins_on_a_system_without_posts(fresh: Client, tmp_path: Path) -> None:
    """The administrator that `make up` names publishes the first one, and everybody else reads who can."""
    ada = await fresh.sign_in("Ada", ADA)
    for post in (await fresh.call("GET", "/v1/posts?limit=100")).json["items"]:
        assert (await fresh.call("POST", f"/v1/posts/{post['id']}/withdraw", who=ada)).status == 200
    blocks = await commands_of(fresh)
    commands = "\n".join(blocks).replace(ROBIN, ADA)
    printed, statuses = await play(commands, tmp_path, reader(fresh, ADA))
    assert "No posts yet" in printed
    assert STOP not in printed
    assert refused([one for one in statuses if one[0] != "503"]) == ["422"], statuses
    assert len((await fresh.call("GET", "/v1/posts")).json["items"]) == 1


async def test_a_reader_who_may_not_publish_is_told(fresh: Client, tmp_path: Path) -> None:
    ada = await fresh.sign_in("Ada", ADA)
    for post in (await fresh.call("GET", "/v1/posts?limit=100")).json["items"]:
        assert (await fresh.call("POST", f"/v1/posts/{post['id']}/withdraw", who=ada)).status == 200
    robin = await fresh.sign_in("Robin", ROBIN)
    [publishing] = [block for block in await commands_of(fresh) if "tee post.json" in block]
    given = f"API={fresh.url}\nJSON='Content-Type: application/json'\n"
    given += f"AUTH='Authorization: Bearer {robin.access_token}'\nPOST_ID=''\n"
    printed, _ = await play(given + publishing, tmp_path, {})
    assert "/problems/forbidden" in printed
    assert STOP in printed


async def test_a_command_that_is_refused_shows_the_problem(fresh: Client, tmp_path: Path) -> None:
    """A wrong token stands for whatever goes wrong: nothing of the problem becomes a name that is used further on."""
    blocks = await commands_of(fresh)
    given = f"API={fresh.url}\nJSON='Content-Type: application/json'\nREQUEST=x\nTOKEN=''\nEMAIL=x\nKEY=1\nPOST_ID=1\n"
    for asked, kind in (
        ("LINK_TOKEN=", "not-found"),
        ("CODE='the", "invalid-code"),
        ("REFRESH=", "invalid-refresh-token"),
        ("REQUEST=$", "invalid"),
        ("RETURNED=", "invalid-code"),
    ):
        [block] = [one for one in blocks if one.startswith(asked) or f"\n{asked}" in one]
        lines = block.replace("'the last part of the link'", "wrong").replace("'the code in the mail'", "12345678")
        lines = lines.replace("'what follows #code= in the address'", "wrong")
        (tmp_path / "session.json").write_text('{"refresh_token":"wrong"}')
        printed, _ = await play(given + "VERIFIER=wrong\n" + lines + '\necho; echo "<${TOKEN}>"', tmp_path, {})
        assert f"/problems/{kind}" in printed, asked
        assert STOP in printed, asked
        assert printed.endswith("<>\n"), asked
