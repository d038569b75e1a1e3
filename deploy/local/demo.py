"""`make demo`: play Rapport's main scenario through the gateway's public API and the mailbox."""

import argparse
import asyncio
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from deploy.local.layout import Layout
from deploy.local.logs import wrapped
from deploy.local.processes import LocalError
from deploy.local.program import http_status

LINK = re.compile(r"/sign-in/([A-Za-z0-9_-]+)")
SHOWN_HEADERS = ("From", "To", "Subject")  # the mailbox shows them all
PATIENCE = 60.0


@dataclass(frozen=True)
class Person:
    """A signed-in user."""

    name: str
    email: str
    token: str


class DemoClient:
    """HTTP calls to the gateway and to the mailbox."""

    def __init__(self, layout: Layout, session: aiohttp.ClientSession) -> None:
        self._gateway = f"http://127.0.0.1:{layout.port('GATEWAY_PORT')}"
        self._mailbox = layout.mailbox_url
        self._session = session

    async def call(self, method: str, path: str, body: object = None, who: Person | None = None) -> Any:
        """Send a request and return the answer's JSON; repeat it after a 503 or 429, as `Retry-After` says.

        Raises:
            LocalError: any other error status.
        """
        headers = {"Idempotency-Key": str(uuid4())} if who and method != "GET" else {}
        if who:
            headers["Authorization"] = f"Bearer {who.token}"
        deadline = time.monotonic() + PATIENCE
        while True:
            async with self._session.request(method, self._gateway + path, json=body, headers=headers) as answer:
                if answer.status in (429, 503) and time.monotonic() < deadline:
                    await asyncio.sleep(min(float(answer.headers.get("Retry-After", "1")), PATIENCE))
                    continue
                if answer.status >= 400:
                    raise LocalError(f"{method} {path} returned {answer.status}: {await answer.text()}")
                return await answer.json() if answer.status != 204 else None

    async def mails(self, to: str) -> list[dict[str, Any]]:
        """Return the mails to an address, newest first."""
        async with self._session.get(f"{self._mailbox}/messages.json", params={"to": to}) as answer:
            items: list[dict[str, Any]] = (await answer.json())["items"]
            return items

    async def sign_in(self, name: str, email: str) -> Person:
        """Register or sign in, and follow the link in the mail."""
        before = len(await self.mails(email))
        await self.call("POST", "/v1/people", {"name": name, "email": email})

        async def arrived() -> list[dict[str, Any]]:
            found = await self.mails(email)
            return found if len(found) > before else []

        newest = (await wait_for(f"the mail to {email}", arrived))[0]
        link = LINK.search(newest["text"])
        if link is None:
            raise LocalError(f"The mail to {email} contains no sign-in link.")
        session = await self.call("POST", "/v1/sessions", {"token": link[1]})
        person = session["person"]
        report(f"{person['name']} <{email}> signed in by the link in the mail; roles: {', '.join(person['roles'])}")
        return Person(person["name"], email, session["access_token"])

    async def comment(self, who: Person, post: str, body: str, parent: str | None = None) -> str:
        fields = {"body": body} | ({"parent_id": parent} if parent else {})
        comment = await self.call("POST", f"/v1/posts/{post}/comments", fields, who)
        report(f"{who.name} {'replies' if parent else 'comments'}: {body}")
        return str(comment["id"])

    async def explanation(self, who: Person, comment: str) -> dict[str, Any]:
        """Return why `who` did or did not get a mail about a comment, once that is decided."""

        async def decided() -> dict[str, Any] | None:
            path = f"/v1/me/notifications/explain?comment={comment}"
            found: dict[str, Any] = await self.call("GET", path, who=who)
            return found if found["state"] != "waiting" else None

        explained: dict[str, Any] = await wait_for(f"the decision about the mail to {who.name}", decided)
        return explained


async def wait_for(what: str, condition: Callable[[], Awaitable[Any]]) -> Any:
    """Poll until the condition returns a true value, and return it.

    Raises:
        LocalError: the value stayed false for a minute.
    """
    deadline = time.monotonic() + PATIENCE
    while not (found := await condition()):
        if time.monotonic() > deadline:
            raise LocalError(f"{what} did not arrive within {PATIENCE:g} s; `make logs` may say why.")
        await asyncio.sleep(0.25)
    return found


def report(text: str = "", indent: str = "") -> None:
    """Print a text, wrapped to the terminal; addresses stay whole."""
    print(wrapped(text, indent), flush=True)


async def play(layout: Layout) -> None:
    """Play the scenario."""
    unique = secrets.token_hex(3)
    admin_email = layout.given.get("ADMIN_EMAILS", "admin@example.com").partition(",")[0].strip()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        client = DemoClient(layout, session)
        report("\n1. Three people sign in. There are no passwords.")
        ada = await client.sign_in("Ada", admin_email)
        ben = await client.sign_in("Ben", f"ben.{unique}@example.com")
        cleo = await client.sign_in("Cleo", f"cleo.{unique}@example.com")

        report("\n2. A post, a comment and replies.")
        fields = {
            "title": f"On answering letters ({unique})",
            "body": "When did you last *answer* one?",
            "publish": True,
        }
        post = await client.call("POST", "/v1/posts", fields, ada)
        report(f"{ada.name} publishes: {post['url']}")
        first = await client.comment(ben, post["id"], "Last week, by hand. It took an hour and was worth it.")
        second = await client.comment(cleo, post["id"], "By hand! What did you write with?", first)
        third = await client.comment(ben, post["id"], "A pencil. Letters should allow for doubts.", second)

        report("\n3. Who was notified, and why. Mails wait a few seconds, so that edits and removals overtake them.")
        for who, comment, what in (
            (ada, first, "Ben's comment on her post"),
            (ben, second, "Cleo's reply"),
            (cleo, third, "Ben's reply"),
            (ben, third, "his own reply"),
        ):
            found = await client.explanation(who, comment)
            reason = found["why"] or ", ".join(found["reasons"])
            report(f"{who.name}, about {what}: {found['state']} ({reason}). {found['text']}")

        report("\n4. The mails.")
        for who in (ada, ben, cleo):
            for mail in reversed(await client.mails(who.email)):
                if any(name == "List-Id" for name, _ in mail["headers"]) and unique in mail["text"] + mail["subject"]:
                    show(layout, mail)
        report(f"\nRead on: {post['url']} and {layout.mailbox_url}/")


def show(layout: Layout, mail: dict[str, Any]) -> None:
    headers = {name.lower(): value for name, value in mail["headers"]}
    report(f"\n  {layout.mailbox_url}/messages/{mail['id']}")
    for name in SHOWN_HEADERS:
        if name.lower() in headers:
            report(f"  {name}: {headers[name.lower()]}", "    ")
    for line in mail["text"].splitlines():
        report(f"  | {line}", "  | ")


def main() -> int:
    parser = argparse.ArgumentParser(description="Play a scenario in which a reply is notified by mail.")
    parser.add_argument("--wordpress", type=Path, help="a WordPress export to import first")
    arguments = parser.parse_args()
    layout = Layout.from_environment()
    try:
        if http_status(layout.port("MAILBOX_PORT"), "/livez") != 200:
            raise LocalError("The demo reads mails from the local mailbox: unset SMTP_HOST, make down, make demo.")
        if arguments.wordpress:
            report(f"0. Import {arguments.wordpress}")
            command = [sys.executable, "-m", "services.operator", "import", "wordpress", str(arguments.wordpress)]
            if (status := subprocess.run(command).returncode) != 0:
                return status  # the command has said why
        asyncio.run(play(layout))
    except (LocalError, aiohttp.ClientConnectionError) as error:
        print(wrapped(str(error)), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
