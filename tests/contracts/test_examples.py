"""The examples of the API are what a running system answers; `RECORD_EXAMPLES=1 pytest FILE` records them anew."""

import json
import os
from collections.abc import AsyncIterator
from difflib import unified_diff
from pathlib import Path

import pytest

from services.gateway import openapi
from services.gateway.apidocs import examples
from tests.client import Client
from tests.contracts.example_story import ADA, tell
from tests.contracts.recording import Fixed, Recorder
from tests.servers import Servers
from tests.smtp_sink import SmtpSink
from tests.stack import ROOT, Stack

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
    text = json.dumps(recorder.recorded, indent=1, ensure_ascii=False) + "\n"
    if "RECORD_EXAMPLES" in os.environ:
        FILE.write_text(text)
    changes = "\n".join(unified_diff(FILE.read_text().splitlines(), text.splitlines(), lineterm="", n=8))
    assert not changes, f"run with RECORD_EXAMPLES=1, look at the difference, commit\n{changes}"
    assert str(examples.FILE) == str(FILE)
