"""The import itself: it reads the file four times and holds one item at a time.

The first pass checks the whole file, so that a broken file changes nothing. The second imports posts and pages with
their authors, the third the comments, because comments needs to know their posts first, and the fourth the links to
posts and comments, because only then each has its place. Every request carries the blog's own ids, so a repetition adds
nothing, and one after a kill adds what is missing.
"""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.chassis.errors import Problem
from services.contracts.comments import ImportComment
from services.contracts.people import ImportPerson
from services.contracts.posts import CompleteImport, ImportPost
from services.operator.calls import Services
from services.operator.failures import Failed
from services.operator.wordpress import rules
from services.operator.wordpress.links import Places, addresses_of, path_of
from services.operator.wordpress.progress import Progress
from services.operator.wordpress.reader import Record, records
from services.operator.wordpress.report import Outcome, Report
from services.operator.wordpress.rules import Decision, Placed, Writer
from services.operator.wordpress.survey import survey
from services.operator.wordpress.texts import Texts

AT_ONCE = 8  # items whose comments are imported at the same time
Command = ImportPost | ImportComment | ImportPerson | CompleteImport
Answer = tuple[dict[str, Any] | None, Outcome]
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)  # no comment is dated before it


class Import:
    """One import of one file.

    Args:
        blog: the address of the blog, if it is not to be taken from the file.
    """

    def __init__(self, path: Path, services: Services, progress: Progress, now: datetime, blog: str = "") -> None:
        self._path = path
        self._blog = blog
        self._services = services
        self._progress = progress
        self._now = now
        self._people: dict[tuple[str, ...], asyncio.Future[str]] = {}
        self._posts: dict[str, str] = {}
        self._slugs: dict[str, str] = {}  # of those that everybody may read
        self._places = Places()

    async def run(self) -> Report:
        """Run the import.

        Raises:
            Failed: the file is unusable, or a service stayed unavailable. A repetition continues from there.
        """
        found = survey(self._path, self._blog)
        self._site, self._blog, self._written = found.site, found.blog, found.written
        self._linked_comments = found.linked_comments
        self._texts = Texts(found)
        self._accounts = rules.names_by_id(found.authors)
        self.report = Report(found.site, found.items, found.comments, left_out=self._texts.left_out)
        self._progress.begin(found.items, found.comments)
        await self._import_items(rules.authors_by_login(found.authors))
        try:
            await self._import_comments()
        finally:
            await _end(self._people.values())  # that nobody waits for any more
        await self._link_posts()
        return self.report

    def _items(self) -> Iterator[Record]:
        return (record for record in records(self._path) if record.kind == "item")

    async def _import_items(self, authors: dict[str, Record]) -> None:
        seen: set[str] = set()
        for item in self._items():
            source_id, decision = _source_id(item), rules.decide_item(item, self._now)
            if decision.status is None:
                self.report.items.count(decision.label, "left out")
            elif not source_id or source_id in seen:
                self.report.items.count("skipped: without an id, or one that came before", "left out")
            else:
                seen.add(source_id)
                author_id = await self._person(rules.writer_of_item(item, authors))
                self.report.items.count(decision.label, await self._import_post(item, source_id, decision, author_id))
            self._progress.item()

    async def _import_post(self, item: Record, source_id: str, decision: Decision, author_id: str) -> Outcome:
        moment = rules.moment_of(item, "wp:post_date") or self._written
        if moment is None:
            self.report.remarks["without a date got the date of today", "item"] += 1
        addresses = addresses_of(item, self._blog)
        body = {
            "site": self._site,
            "source_id": source_id,
            "author_id": author_id,
            "kind": rules.KINDS[item.get("wp:post_type")],
            "title": rules.plain_text(item.get("title")),
            "body": self._texts.of_post(item, "content:encoded"),
            "excerpt": self._texts.of_post(item, "excerpt:encoded") or None,
            "slug": item.get("wp:post_name") or None,
            "status": decision.status,
            "discussion": rules.discussion_of(item),
            "created_at": moment or self._now,
            "tags": rules.tags_of(item),
            "addresses": [path for address in addresses if (path := path_of(address))],
        }
        name = f"{item.get('wp:post_type')} {source_id}"
        answer, outcome = await self._ask("posts", "/import/posts", ImportPost, body, name)
        if answer is not None:
            self._posts[source_id] = answer["id"]
            if answer["status"] == "published":
                self._slugs[source_id] = answer["slug"]
                for address in addresses:
                    self._places.add(address, answer["slug"])
        return outcome

    async def _link_posts(self) -> None:
        """Give imported posts the links to posts and comments that were imported after them."""
        linked: set[str] = set()
        for item in self._items():
            source_id = _source_id(item)
            if source_id not in self._posts or source_id in linked:
                continue
            linked.add(source_id)
            body = self._texts.with_links(item, self._places)
            if body is not None:
                name = f"links of {item.get('wp:post_type')} {source_id}"
                command = {"post_id": self._posts[source_id], "body": body}
                await self._send("posts", "/import/texts", CompleteImport, command, name)

    async def _import_comments(self) -> None:
        seen: set[str] = set()
        under_way: set[asyncio.Task[None]] = set()
        try:
            for item in self._items():
                if not item.comments:
                    continue
                placed, decisions = self._sort(item, seen)
                if placed:
                    post_id = self._posts[_source_id(item)]
                    under_way.add(asyncio.create_task(self._import_thread(item, post_id, placed, decisions)))
                if len(under_way) >= AT_ONCE:
                    finished, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    await asyncio.gather(*finished)
            await asyncio.gather(*under_way)
        finally:
            await _end(under_way)

    def _sort(self, item: Record, seen: set[str]) -> tuple[list[Placed], dict[str, Decision]]:
        """Return the comments of an item that will be imported; count the others."""
        item_decision = rules.decide_item(item, self._now)
        if item_decision.status is not None and _source_id(item) not in self._posts:
            item_decision = Decision(item_decision.label)
        taken: list[tuple[str, Record]] = []
        decisions: dict[str, Decision] = {}
        for number, comment in enumerate(item.comments):
            source_id = comment.get("wp:comment_id") or f"{_source_id(item)}#{number}"
            decision = rules.decide_comment(comment, item_decision)
            if decision.status is not None and source_id in seen:
                decision = Decision("skipped: an id that came before")
            if decision.status is None:
                self.report.comments.count(decision.label, "left out")
                self._progress.comment()
                continue
            seen.add(source_id)
            taken.append((source_id, comment))
            decisions[source_id] = decision
        return rules.in_order(taken), decisions

    async def _import_thread(
        self, item: Record, post_id: str, placed: list[Placed], decisions: dict[str, Decision]
    ) -> None:
        """Import the comments of one item in sequence, because each needs its parent."""
        absent: set[str] = set()
        for place in placed:
            if place.moved:
                self.report.remarks[place.moved, "comment"] += 1
            if place.parent_id in absent:
                absent.add(place.source_id)
                self.report.comments.count("skipped: a reply to a comment that was refused", "left out")
            else:
                outcome = await self._import_comment(item, post_id, place, decisions[place.source_id])
                self.report.comments.count(decisions[place.source_id].label, outcome)
                if outcome == "refused":
                    absent.add(place.source_id)
            self._progress.comment()

    async def _import_comment(self, item: Record, post_id: str, place: Placed, decision: Decision) -> Outcome:
        comment = place.comment
        moment = rules.moment_of(comment, "wp:comment_date") or rules.moment_of(item, "wp:post_date") or self._now
        if moment < EARLIEST:
            self.report.remarks["dated before 1970 got 1970-01-01", "comment"] += 1
        body = {
            "site": self._site,
            "source_id": place.source_id,
            "post_id": post_id,
            "author_id": await self._person(rules.writer_of_comment(comment, self._accounts)),
            "parent_source_id": place.parent_id,
            "body": self._texts.of_comment(comment, item, self._places),
            "state": decision.status,
            "created_at": max(moment, EARLIEST),
        }
        name = f"comment {place.source_id}"
        answer, outcome = await self._ask("comments", "/import/comments", ImportComment, body, name)
        slug = self._slugs.get(_source_id(item))
        if answer is not None and slug and decision.status == "visible" and place.source_id in self._linked_comments:
            self._places.add_comment(place.source_id, slug, answer["id"])
        return outcome

    async def _person(self, writer: Writer) -> str:
        """Return the person id of a writer, imported once in a run."""
        key = (writer.user_id,) if writer.user_id else (writer.email, writer.name)
        if key not in self._people:
            self._people[key] = asyncio.ensure_future(self._import_person(writer))
        return await asyncio.shield(self._people[key])

    async def _import_person(self, writer: Writer) -> str:
        body = {
            "site": self._site,
            "source_user_id": writer.user_id,
            "name": writer.name,
            "email": writer.email or None,
        }
        name = f"person {writer.user_id or writer.name}"
        answer, outcome = await self._ask("people", "/import/people", ImportPerson, body, name)
        if answer is None:
            raise Failed(f"people refused the author {writer.name!r}: {self.report.refusals[-1]}")
        self.report.people.count("authors and commenters", outcome)
        person_id: str = answer["id"]
        return person_id

    async def _ask(self, service: str, path: str, model: type[Command], body: Any, name: str) -> Answer:
        """Return the answer and its outcome; note a refusal and continue."""
        answer = await self._send(service, path, model, body, name)
        if answer is None:
            return None, "refused"
        return answer, "new" if answer["created"] else "there before"

    async def _send(self, service: str, path: str, model: type[Command], body: Any, name: str) -> dict[str, Any] | None:
        """Return the answer; note a refusal and return None."""
        try:
            answer: dict[str, Any] = await self._services.post(service, path, model(**body).model_dump(mode="json"))
        except (Problem, ValidationError) as error:
            reason = error.detail if isinstance(error, Problem) else error.errors()[0]["msg"]
            self.report.refusals.append(f"{name}: {reason}")
            return None
        return answer


async def _end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait until they have ended: none may call a service once its client is closed."""
    for task in (waiting := list(tasks)):
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def _source_id(item: Record) -> str:
    return item.get("wp:post_id") or item.get("guid") or item.get("link")
