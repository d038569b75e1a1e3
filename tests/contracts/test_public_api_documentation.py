"""The documentation is true: its examples are what a system answers, and the commands of its guide run.

`RECORD_EXAMPLES=1 pytest FILE` records the examples anew.
"""

import asyncio
import html
import json
import os
import re
from collections.abc import AsyncIterator
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
from tests.stack import ROOT, Stack
from tests.waiting import eventually

GUIDE = re.compile(r'<pre class="run(?: refused)?"><code>(.*?)</code></pre>', re.DOTALL)
ASKED = {  # what a reader fills in, and what waits for it in its place
    "LINK_TOKEN='the last part of the link'\n": "LINK_TOKEN=$(until test -s token; do sleep 0.05; done; cat token)\n",
    "CODE='the code in the mail'\n": "CODE=$(until test -s code; do sleep 0.05; done; cat code)\n",
}
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
        overrides={"ADMIN_EMAILS": ADA, "RATE_LIMITS": "on"},
    )
    try:
        await stack.prepare()
        await stack.up()
        async with Client(stack.url, session_sink) as client:
            yield client
    finally:
        stack.down()
        await stack.drop()


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


async def test_the_commands_of_the_guide_run(fresh: Client, tmp_path: Path) -> None:
    """Run them in one shell: every status goes into a file, and the mailed token comes from the mailbox."""
    ada = await fresh.sign_in("Ada", ADA)
    post = await fresh.publish(ada, title='豆 "id":"next":"x"} und Bohnen')
    for number in range(4):  # so that the thread has more pages than one
        await fresh.comment(ada, post["id"], f'Comment {number} with "next":"x"}}')
    page = (await fresh.call("GET", "/docs")).body.decode()
    commands = "\n".join(html.unescape(block) for block in GUIDE.findall(page))
    for asked, waiting in ASKED.items():
        assert commands.count(asked) == 1
        commands = commands.replace(asked, waiting)
    told = """curl() { command curl "$@" -w '%{stderr}%{http_code} %{method} %{url}\\n' 2>> statuses; }\n"""
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-o", "pipefail", "-c", told + commands),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            await eventually(lambda: fresh.sink.to("robin@example.org"), timeout=30)
            (tmp_path / "token").write_text(token_of(fresh, "robin@example.org"))
            await eventually(lambda: len(fresh.sink.to("robin@example.org")) > 1, timeout=30)
            (tmp_path / "code").write_text(code_of(fresh, "robin@example.org"))
            printed = (await shell.communicate())[0].decode()
    finally:
        if shell.returncode is None:
            shell.kill()
            await shell.wait()
    told_of = (tmp_path / "statuses").read_text()
    statuses = [line.split()[:2] for line in told_of.splitlines()]
    assert shell.returncode == 0, (printed, statuses)
    assert told_of.count("/comments?limit=2&cursor=") == 3, "five at the top, two a page"
    assert [status for status, _ in statuses if status >= "400"] == ["422"], statuses
    assert {"201 POST", "304 GET", "200 PATCH", "204 DELETE"} <= {" ".join(one) for one in statuses}
    assert "idempotency-replayed: true" in printed.lower()
    assert len(statuses) >= 18
