"""`make demo`: tell a story through the gateway's public API and the mailbox, and leave a site worth looking at.

What is there already is found and left as it is, so that a repetition shows the story and doubles nothing.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from deploy.local import story
from deploy.local.layout import Layout
from deploy.local.logs import width, wrapped
from deploy.local.processes import LocalError
from deploy.local.program import http_status
from deploy.local.story import LETTERS, Said, Somebody, Writing
from services.chassis.errors import Problem
from services.operator.calls import connected
from services.operator.failures import Failed
from services.operator.settings import load

LINK = re.compile(r"/sign-in/([A-Za-z0-9_-]+)")
SHOWN_HEADERS = ("From", "To", "Subject")  # the mailbox shows them all
PATIENCE = 60.0
HEARD_SECONDS = 2.0  # after which comments has normally heard of an edit, so that answers count as about it
COLUMNS = 80
ROLES = ("author", "moderator")  # of Ada


@dataclass(frozen=True)
class Person:
    """A signed-in user."""

    id: str
    name: str
    email: str
    token: str
    refresh_token: str
    account: dict[str, Any]


class DemoClient:
    """HTTP calls to the gateway and to the mailbox."""

    def __init__(self, layout: Layout, session: aiohttp.ClientSession) -> None:
        self._gateway = f"http://127.0.0.1:{layout.port('GATEWAY_PORT')}"
        self._mailbox = layout.mailbox_url
        self._session = session

    async def call(
        self, method: str, path: str, body: object = None, who: Person | None = None, *, or_none: bool = False
    ) -> Any:
        """Send a request and return the answer's JSON; repeat it after a 503 or 429, as `Retry-After` says.

        Args:
            body: bytes are a picture, anything else is sent as JSON.
            or_none: return None for what is not there.

        Raises:
            LocalError: any other error status.
        """
        headers = {"Idempotency-Key": str(uuid4())} if who and method != "GET" else {}
        if who:
            headers["Authorization"] = f"Bearer {who.token}"
        sent: dict[str, Any] = {"json": body}
        if isinstance(body, bytes):
            headers["Content-Type"] = "image/png"
            sent = {"data": body}
        deadline = time.monotonic() + PATIENCE
        while True:
            async with self._session.request(method, self._gateway + path, headers=headers, **sent) as answer:
                if answer.status in (429, 503) and time.monotonic() < deadline:
                    await asyncio.sleep(min(float(answer.headers.get("Retry-After", "1")), PATIENCE))
                    continue
                if answer.status == 404 and or_none:
                    return None
                if answer.status >= 400:
                    raise LocalError(f"{method} {path} returned {answer.status}: {await answer.text()}")
                return await answer.json() if answer.status != 204 else None

    async def mails(self, to: str) -> list[dict[str, Any]]:
        """Return the mails to an address, newest first."""
        async with self._session.get(f"{self._mailbox}/messages.json", params={"to": to}) as answer:
            items: list[dict[str, Any]] = (await answer.json())["items"]
            return items

    async def sign_in(self, one: Somebody) -> Person:
        """Register or sign in, and follow the link in the mail."""
        before = {mail["id"] for mail in await self.mails(one.email)}
        await self.call("POST", "/v1/people", {"name": one.name, "email": one.email})

        async def arrived() -> re.Match[str] | None:
            fresh = (mail for mail in await self.mails(one.email) if mail["id"] not in before)
            return next((found for mail in fresh if (found := LINK.search(mail["text"]))), None)

        link = await wait_for(f"the mail to {one.email}", arrived)
        return _person(one, await self.call("POST", "/v1/sessions", {"token": link[1]}))

    async def renewed(self, one: Somebody, person: Person) -> Person:
        """Return the person with a token that knows their present roles."""
        return _person(one, await self.call("POST", "/v1/sessions/refresh", {"refresh_token": person.refresh_token}))

    async def thread(self, who: Person, post_id: str) -> list[dict[str, Any]]:
        """Return every comment below a post, as its moderator sees it."""
        path = f"/v1/posts/{post_id}/comments?limit=200"
        lists, found = [(path, await self.call("GET", path, who=who))], list[dict[str, Any]]()
        while lists:
            path, part = lists.pop()
            found += part["items"]
            lists += [(f"/v1/comments/{one['id']}/replies?limit=200", one["replies"]) for one in part["items"]]
            if part["next"]:
                lists.append((path, await self.call("GET", f"{path}&cursor={part['next']}", who=who)))
        return found

    async def explanation(self, who: Person, comment: str) -> dict[str, Any]:
        """Return why `who` did or did not get a mail about a comment, once that is decided."""

        async def decided() -> dict[str, Any] | None:
            path = f"/v1/me/notifications/explain?comment={comment}"
            found: dict[str, Any] = await self.call("GET", path, who=who)
            return found if found["state"] != "waiting" else None

        explained: dict[str, Any] = await wait_for(f"the decision about the mail to {who.name}", decided)
        return explained


def _person(one: Somebody, session: dict[str, Any]) -> Person:
    account = session["person"]
    return Person(account["id"], account["name"], one.email, session["access_token"], session["refresh_token"], account)


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
    """Print a text, wrapped to 80 columns or a narrower terminal; addresses stay whole."""
    print(wrapped(text, indent, min(COLUMNS, width())), flush=True)


class Teller:
    """Tells the story step by step; what an earlier demo has left is found again.

    Attributes:
        people: those who have signed in, by the people of the story.
        comments: the ids of the story's comments, by their post's slug and in their order.
    """

    def __init__(self, layout: Layout, client: DemoClient) -> None:
        self._layout = layout
        self._client = client
        self.people: dict[str, Person] = {}
        self.comments: dict[str, list[dict[str, Any]]] = {}

    async def tell(self) -> None:
        """Play the story from the first sign-in to the mails."""
        report("\n1. Five people sign in, each by the link in a mail. There are no passwords.")
        for one in story.PEOPLE:
            await self.enter(one)
        report("\n2. Ada writes: a page about the site, and posts with tags and pictures.")
        posts = {writing.slug: await self.write(writing) for writing in story.WRITINGS}
        report(f"\n3. Ben is the first to answer below “{LETTERS.title}”.")
        await self.discuss(LETTERS, posts[LETTERS.slug], most=1)
        report("\n4. Ada corrects the post. Readers see what changed, and which comment is older.")
        posts[LETTERS.slug] = await self.edit(LETTERS, posts[LETTERS.slug])
        report("\n5. The conversation goes on.")
        for writing in story.WRITINGS:
            await self.discuss(writing, posts[writing.slug])
        report("\n6. Comments on “Ink that survives rain” wait for approval: a moderator decides.")
        await self.moderate(story.INK)
        report("\n7. Who was told, and why. Mails wait a few seconds, so that edits overtake them.")
        await self.explain()
        report("\n8. The mails about that conversation.")
        await self.show_mails()
        self.say_where()

    async def enter(self, one: Somebody) -> None:
        """Sign in; give the author her roles, and everybody a face and a sentence about themselves."""
        person = await self._client.sign_in(one)
        missing = [role for role in ROLES if role not in person.account["roles"]] if one is story.ADA else []
        if missing:
            await grant(one.email, missing)
            person = await self._client.renewed(one, person)
        if one.draw and person.account["avatar_url"] is None:
            await self._client.call("PUT", "/v1/me/avatar", await asyncio.to_thread(one.draw), person)
        if one.about and person.account["about"] is None:
            await self._client.call("PATCH", "/v1/me", {"about": one.about}, person)
        self.people[one.email] = person
        report(f"   {person.name} <{one.email}>: {', '.join(person.account['roles']) or 'reader'}", "     ")

    async def write(self, writing: Writing) -> dict[str, Any]:
        """Publish a post or page unless it is there."""
        ada = self.people[story.ADA.email]
        found: dict[str, Any] | None = await self._client.call(
            "GET", f"/v1/posts/{writing.slug}", None, ada, or_none=True
        )
        told = "there already"
        if found is None:
            fields: dict[str, Any] = {"kind": writing.kind, "slug": writing.slug, "title": writing.title}
            fields |= {"tags": list(writing.tags), "discussion": writing.discussion, "publish": True}
            fields |= {"excerpt": writing.excerpt} if writing.excerpt else {}
            body = writing.body
            if writing.draw:
                drawn = await asyncio.to_thread(writing.draw)
                picture = await self._client.call("POST", "/v1/images", drawn, ada)
                if "PICTURE" in body:
                    body = body.replace("PICTURE", picture["url"])
                else:
                    fields["cover"] = picture["id"]
            found, told = await self._client.call("POST", "/v1/posts", fields | {"body": body}, ada), "published"
        elif found["status"] != "published":
            found, told = await self._client.call("POST", f"/v1/posts/{found['id']}/publish", None, ada), "published"
        assert found is not None
        report(f"   {told}: {found['url']}", "     ")
        return found

    async def discuss(self, writing: Writing, post: dict[str, Any], *, most: int | None = None) -> None:
        """Post the next comments that are not there yet, in their order; all of them, or so many."""
        ada = self.people[story.ADA.email]
        told = self.comments.setdefault(writing.slug, [])
        known = await self._client.thread(ada, post["id"]) if writing.comments else []
        for said in writing.comments[len(told) : most]:
            who, parent = self.people[said.who.email], None if said.answers is None else told[said.answers]["id"]
            found = next((one for one in known if _is(one, said, who, parent)), None)
            if found is None:
                fields = {"body": said.text, "answered_revision": post["revision"]}
                fields |= {"parent_id": parent} if parent else {}
                found = await self._client.call("POST", f"/v1/posts/{post['id']}/comments", fields, who)
            told.append(found)
            if writing is LETTERS:
                depth = _depth(writing, said)
                line = " ".join(said.text.replace("\n\n", " ").split())
                report(f"{'   ' * (depth + 1)}{who.name}: {line}", "   " * (depth + 1) + "  ")

    async def edit(self, writing: Writing, post: dict[str, Any]) -> dict[str, Any]:
        """Change a text with a note for readers, once; return the post."""
        assert writing.edit is not None
        if post["edited_at"] is None and writing.edit.old in post["body"]:
            body = post["body"].replace(writing.edit.old, writing.edit.new)
            fields = {"body": body, "edit_note": writing.edit.note}
            post = await self._client.call("PATCH", f"/v1/posts/{post['id']}", fields, self.people[story.ADA.email])
            await asyncio.sleep(HEARD_SECONDS)
        report(f"   Edit: {post['edit_note'] or writing.edit.note}", "     ")
        return post

    async def moderate(self, writing: Writing) -> None:
        """Decide about the comments that wait; one is left to whoever looks at the queue."""
        ada = self.people[story.ADA.email]
        for said, comment in zip(writing.comments, self.comments[writing.slug], strict=True):
            if said.decision and comment["state"] == "held":
                await self._client.call("POST", f"/v1/comments/{comment['id']}/{said.decision}", None, ada)
            done = {"approve": "Ada approves", "reject": "Ada rejects", None: "still waits"}[said.decision]
            report(f"   {done}: “{said.text}” ({said.who.name})", "     ")

    async def explain(self) -> None:
        """Ask notify what became of the notifications of the conversation."""
        told = self.comments[LETTERS.slug]
        for who, number, what in (
            (story.ADA, 0, "Ben's comment on her post"),
            (story.BEN, 1, "Cleo's answer"),
            (story.CLEO, 2, "Ben's answer"),
            (story.BEN, 2, "his own answer"),
            (story.DARIO, 4, "Ada's answer"),
        ):
            found = await self._client.explanation(self.people[who.email], told[number]["id"])
            reason = found["why"] or ", ".join(found["reasons"])
            report(f"   {who.name}, about {what}: {found['state']} ({reason}). {found['text']}", "     ")

    async def show_mails(self) -> None:
        """Show the mails about the conversation that are in the mailbox: one whole, the others by their heads."""
        shown = 0
        for who in story.PEOPLE:
            for mail in reversed(await self._client.mails(who.email)):
                listed = any(name == "List-Id" for name, _ in mail["headers"])
                if listed and LETTERS.title in mail["subject"] + mail["text"]:
                    show(self._layout, mail, whole=shown == 0)
                    shown += 1
                    if shown == 1:
                        report("\n  and, under the same subject, each as one thread of a mail program:")
        if not shown:
            report("   They are not in the mailbox any more.")

    def say_where(self) -> None:
        """Print what to open, and how to sign in."""
        site = self._layout.public_url
        report("\nLook at it:")
        for address, what in (
            (f"{site}/", "the site"),
            (f"{site}/posts/{LETTERS.slug}", "the conversation"),
            (f"{site}/write", "where Ada writes"),
            (f"{site}/moderate", "what waits for her"),
            (f"{self._layout.mailbox_url}/", "every mail that was sent"),
        ):
            print(f"    {address:<{max(48, len(site) + 28)}} {what}")
        report(
            f"\nTo sign in, open {site}/sign-in and type {story.ADA.email}, or any address you like. The mail with the "
            f"link and the code is in the mailbox, a moment later: {self._layout.mailbox_url}/"
        )


def _is(comment: dict[str, Any], said: Said, who: Person, parent: str | None) -> bool:
    same = comment.get("body") == said.text and comment["parent_id"] == parent
    return same and comment["author"] is not None and comment["author"]["id"] == who.id


def _depth(writing: Writing, said: Said) -> int:
    return 0 if said.answers is None else 1 + _depth(writing, writing.comments[said.answers])


async def grant(email: str, roles: list[str]) -> None:
    """Grant roles, as `rapport person grant` does.

    Raises:
        LocalError: people refused them, or the operator's key.
    """
    try:
        async with connected(load()) as services:
            for role in roles:
                await services.post("people", "/grants", {"email": email, "role": role})
    except (Failed, Problem) as error:
        raise LocalError(f"{email} could not be made {' and '.join(roles)}: {error}") from None


def show(layout: Layout, mail: dict[str, Any], *, whole: bool = True) -> None:
    """Print a mail: its address in the mailbox, its head and its text, or a line of who writes to whom."""
    headers = {name.lower(): value for name, value in mail["headers"]}
    address = f"{layout.mailbox_url}/messages/{mail['id']}"
    if not whole:
        sender = headers.get("from", "").partition(" <")[0].strip('"')
        report(f"  {sender} to {headers.get('to', '')}: {address}", "    ")
        return
    report(f"\n  {address}")
    for name in SHOWN_HEADERS:
        if name.lower() in headers:
            report(f"  {name}: {headers[name.lower()]}", "    ")
    for line in mail["text"].splitlines():
        report(f"  | {line}", "  | ")


async def play(layout: Layout) -> None:
    """Play the story."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        await Teller(layout, DemoClient(layout, session)).tell()


def main() -> int:
    parser = argparse.ArgumentParser(description="Tell a story in which an answer is notified by mail.")
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
