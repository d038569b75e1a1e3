"""`docs/tour.md` names the stops of one comment on its way to a mail; a real comment passes every one of them."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from tests.client import Client
from tests.e2e.in_process import running
from tests.e2e.tracing import Trace, recording
from tests.servers import Servers
from tests.smtp_sink import SmtpSink
from tests.stack import ROOT, Stack
from tests.waiting import eventually

STOP = re.compile(r"^\d+\. `(services/[\w/]+\.py)`: `([\w.]+)`", re.MULTILINE)
LEAST_STOPS = 15


def stops(text: str) -> list[tuple[str, str]]:
    """Return file and function of each stop of a tour, in order."""
    return [(match[1], match[2]) for match in STOP.finditer(text)]


def missed(tour: list[tuple[str, str]], trace: Trace) -> list[tuple[str, str]]:
    """Return the stops that do not exist or that the traced request did not pass."""
    return [(file, function) for file, function in tour if not trace.passed(file, function)]


@dataclass(frozen=True)
class Journey:
    """What one reply passed: until its answer, and until the mail about it had arrived and people had read it."""

    comment: Trace
    mail: Trace


@pytest.fixture(scope="module")
async def journey(
    servers: Servers, session_sink: SmtpSink, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Journey]:
    folder: Path = tmp_path_factory.mktemp("tour")
    stack = Stack(servers, folder, session_sink.port, name=f"tour{folder.parent.name[-6:]}".replace("-", "_"))
    try:
        await stack.prepare()
        notify = await asyncpg.connect(stack.database_urls["notify"])
        async with running(stack), Client(stack.url, session_sink) as client:
            admin = await client.sign_in("Ada Admin", "admin@example.com")
            anna = await client.sign_in("Anna", "anna.tour@example.com")
            ben = await client.sign_in("Ben", "ben.tour@example.com")
            carl = await client.sign_in("Carl", "carl.tour@example.com")
            post = await client.publish(admin)
            question = await client.comment(anna, post["id"], "A question")

            async def sent(comment_id: str) -> bool:
                states = await notify.fetch("select state from notifications where comment_id = $1", comment_id)
                return [row["state"] for row in states] == ["sent", "sent"]

            first = await client.comment(ben, post["id"], "Whatever is built once is built now.", question["id"])
            await eventually(lambda: sent(first["id"]), timeout=30)
            with recording() as whole:
                second = await client.comment(ben, post["id"], "The *second* answer.", question["id"])
                comment = Trace()
                comment.calls |= whole.calls
                await eventually(lambda: sent(second["id"]), timeout=30)
                for who in (ben, carl, carl, None, None):  # the first request with a token goes to the app
                    assert (await client.call("GET", f"/v1/posts/{post['id']}/comments", who=who)).status == 200
        await notify.close()
        yield Journey(comment, whole)
    finally:
        stack.down()
        await stack.drop()


# A mailer may ask about a comment before the comment's author has the answer.
ON_THE_WAY_OF_THE_MAIL = {f"services/comments/{name}.py" for name in ("handlers", "listing", "queries")}


def test_a_real_comment_passes_every_stop_of_the_tour(journey: Journey) -> None:
    tour = stops((ROOT / "docs/tour.md").read_text())
    assert len(tour) >= LEAST_STOPS
    assert missed(tour, journey.mail) == []


def test_a_stop_that_does_not_exist_or_is_not_passed_is_found(journey: Journey) -> None:
    planted = [
        ("services/comments/nowhere.py", "post_comment"),
        ("services/posts/commands.py", "no_such_function"),
        ("services/posts/commands.py", "withdraw_post"),
    ]
    assert missed(planted, journey.mail) == planted


def test_a_comment_and_a_mail_pass_few_files_of_a_service(journey: Journey) -> None:
    """A sign, not an aim: more files than now would mean that one idea lies in several."""
    own = set(journey.comment.files("comments")) - ON_THE_WAY_OF_THE_MAIL
    counts = {
        "gateway": len(journey.comment.files("gateway")),
        "comments": len(own),
        "notify": len(journey.mail.files("notify")),
    }
    print("own files passed:", counts)
    assert counts["gateway"] <= 25, sorted(journey.comment.files("gateway"))
    assert counts["comments"] <= 9, sorted(own)
    assert counts["notify"] <= 15, sorted(journey.mail.files("notify"))  # two may be passed by what comes periodically
