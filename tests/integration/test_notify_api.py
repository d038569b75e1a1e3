"""The internal API of notify: lists, explanations, the choice, and unsubscribing."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from services.chassis.identity import Signer, Verifier
from services.contracts.comments import CommentStated
from services.notify.api import create_api
from services.notify.tokens import Tokens
from tests.conftest import NewDatabase
from tests.integration.notify_harness import PACKAGES, FakeComment, NotifyHarness
from tests.integration.notify_upstreams import FakeUpstreams, serving_upstreams

ALL_MAIL = {"notifications": True, "scope": "all", "moderation": "hourly"}
NO_MAIL = ALL_MAIL | {"notifications": False}
ABOUT = {"about": "comments"}


@dataclass
class ApiHarness:
    """The app, called as the other services call it."""

    service: NotifyHarness
    fake: FakeUpstreams
    tokens: Tokens
    keys: dict[str, str]
    client: httpx2.AsyncClient

    async def call(
        self, method: str, path: str, body: object = None, *, issuer: str | None = "gateway", who: UUID | None = None
    ) -> httpx2.Response:
        headers = {} if issuer is None else self.signed(who, issuer)
        options: dict[str, Any] = {} if body is None else {"json": body}
        return await self.client.request(method, path, headers=headers, **options)

    def signed(self, who: UUID | None, issuer: str = "gateway", roles: Sequence[str] = ()) -> dict[str, str]:
        """Return the header by which a service calls for a person."""
        signer = Signer(self.keys[f"{issuer.upper()}_SIGNING_KEY"], issuer)
        return {"Authorization": f"Bearer {signer.token('notify', who, roles)}"}

    async def explain(self, who: UUID | None, comment_id: UUID) -> dict[str, Any]:
        answer = await self.call("GET", f"/me/notifications/explain?comment={comment_id}", who=who)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
async def harness(new_database: NewDatabase, keys: dict[str, str]) -> AsyncIterator[ApiHarness]:
    service = NotifyHarness(await new_database(*PACKAGES))
    tokens = Tokens(keys["NOTIFY_SECRET"], "rapport.test")

    async def ready() -> dict[str, bool]:
        return {}

    async with serving_upstreams(keys) as (fake, upstreams):
        verifier = Verifier(keys["VERIFICATION_KEYS"], "notify")
        app = create_api(service.db, upstreams, tokens, verifier=verifier, ready=ready)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://notify") as client:
            yield ApiHarness(service, fake, tokens, keys, client)


async def test_the_list_is_newest_first_and_pages(harness: ApiHarness) -> None:
    me = uuid4()
    made = [FakeComment(parent_author_id=me) for _ in range(5)]
    for comment in made:
        await harness.service.handle(comment.posted)
    seen: list[str] = []
    path = "/me/notifications?limit=2"
    while path:
        page = (await harness.call("GET", path, who=me)).json()
        seen += [item["comment_id"] for item in page["items"]]
        path = f"/me/notifications?limit=2&cursor={page['next']}" if page["next"] else ""
    assert seen == [str(comment.comment_id) for comment in reversed(made)]
    item = (await harness.call("GET", "/me/notifications", who=me)).json()["items"][0]
    assert set(item) == {"id", "comment_id", "post_id", "reasons", "state", "why", "created_at", "sent_at", "read"}
    assert (item["state"], item["why"], item["reasons"], item["sent_at"]) == ("waiting", None, ["reply_to_you"], None)
    assert item["created_at"].endswith("Z")


async def test_a_cursor_belongs_to_one_person(harness: ApiHarness) -> None:
    me = uuid4()
    for _ in range(2):
        await harness.service.handle(FakeComment(parent_author_id=me).posted)
    page = (await harness.call("GET", "/me/notifications?limit=1", who=me)).json()
    other = await harness.call("GET", f"/me/notifications?cursor={page['next']}", who=uuid4())
    assert (other.status_code, other.json()["type"]) == (400, "/problems/malformed-cursor")


async def test_the_list_leaves_out_comments_that_were_never_visible(harness: ApiHarness) -> None:
    me = uuid4()
    held, shown = FakeComment(parent_author_id=me, state="held"), FakeComment(parent_author_id=me)
    await harness.service.handle(held.posted, shown.posted, shown.changed_to("removed").removed)
    items = (await harness.call("GET", "/me/notifications", who=me)).json()["items"]
    assert [(item["comment_id"], item["why"]) for item in items] == [(str(shown.comment_id), "comment_removed")]


@pytest.mark.parametrize("limit", ["0", "201", "x", "-1", ""])
async def test_a_wrong_limit_names_the_field(harness: ApiHarness, limit: str) -> None:
    answer = await harness.call("GET", f"/me/notifications?limit={limit}", who=uuid4())
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["limit"]


async def test_explaining_a_waiting_mail_and_a_removed_comment(harness: ApiHarness) -> None:
    comment = FakeComment()
    await harness.service.handle(comment.posted)
    waiting = await harness.explain(comment.parent_author_id, comment.comment_id)
    assert set(waiting) == {
        *("comment_id", "post_id", "state", "reasons", "why", "text", "created_at", "sent_at", "heard"),
    }
    assert (waiting["state"], waiting["why"], waiting["heard"]) == ("waiting", None, True)
    assert waiting["post_id"] == str(comment.post_id)
    await harness.service.handle(comment.changed_to("removed").removed)
    removed = await harness.explain(comment.parent_author_id, comment.comment_id)
    assert (removed["state"], removed["why"], removed["heard"]) == ("skipped", "comment_removed", True)
    assert "it was removed" in removed["text"]
    assert "it answers your comment" in removed["text"]


async def test_explaining_ones_own_comment_and_an_unrelated_one(harness: ApiHarness) -> None:
    comment = FakeComment()
    await harness.service.handle(comment.posted, comment.changed_to("removed").removed)
    own = await harness.explain(comment.author_id, comment.comment_id)
    assert (own["state"], own["why"], own["heard"], own["created_at"]) == ("none", "own_comment", True, None)
    other = await harness.explain(uuid4(), comment.comment_id)
    assert (other["state"], other["why"], other["heard"]) == ("none", "not_concerned", False)


async def test_explaining_a_held_or_imported_comment_does_not_claim_it_was_heard_of(harness: ApiHarness) -> None:
    held, imported = FakeComment(state="held"), FakeComment(imported=True)
    await harness.service.handle(held.posted, imported.posted)
    explained = await harness.explain(held.parent_author_id, held.comment_id)
    assert (explained["state"], explained["why"], explained["heard"]) == ("skipped", "comment_held", False)
    explained = await harness.explain(imported.parent_author_id, imported.comment_id)
    assert (explained["state"], explained["why"], explained["heard"]) == ("skipped", "imported", False)


async def test_explaining_a_comment_known_from_a_rebuild_only(harness: ApiHarness) -> None:
    comment = FakeComment()
    await harness.service.handle(comment.fact(CommentStated))
    explained = await harness.explain(comment.parent_author_id, comment.comment_id)
    assert (explained["state"], explained["why"]) == ("none", "unrecorded")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("waiting", None)),
        ({"state": "held"}, ("skipped", "comment_held")),
        ({"state": "removed"}, ("skipped", "comment_removed")),
        ({"imported": True}, ("skipped", "imported")),
    ],
)
async def test_explaining_a_comment_whose_event_has_not_arrived_asks_comments(
    harness: ApiHarness, fields: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    comment = FakeComment(**fields)
    harness.fake.add(comment)
    explained = await harness.explain(comment.parent_author_id, comment.comment_id)
    assert (explained["state"], explained["why"]) == expected
    assert explained["heard"] is False
    assert (await harness.explain(comment.author_id, comment.comment_id))["why"] == "own_comment"


async def test_explaining_an_unknown_comment(harness: ApiHarness) -> None:
    answer = await harness.call("GET", f"/me/notifications/explain?comment={uuid4()}", who=uuid4())
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    harness.fake.away.add("/comments/lookup")
    answer = await harness.call("GET", f"/me/notifications/explain?comment={uuid4()}", who=uuid4())
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
    assert answer.headers["Retry-After"]


@pytest.mark.parametrize("query", ["", "?comment=", "?comment=x", "?other=1"])
async def test_explaining_needs_a_comment(harness: ApiHarness, query: str) -> None:
    answer = await harness.call("GET", f"/me/notifications/explain{query}", who=uuid4())
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["comment"]


async def test_unsubscribing_holds_until_mail_is_chosen_again(harness: ApiHarness) -> None:
    me = uuid4()
    path = f"/unsubscribe/{harness.tokens.unsubscribe(me)}"
    for _ in range(3):
        looked = await harness.call("GET", path)
        assert (looked.status_code, looked.json()) == (200, ALL_MAIL | ABOUT)
    assert (await harness.call("GET", "/me/mail", who=me)).json() == ALL_MAIL
    for before in (ALL_MAIL, NO_MAIL):
        stopped = await harness.call("POST", path)
        assert (stopped.status_code, stopped.json()) == (200, NO_MAIL | ABOUT | {"before": before})
    assert (await harness.call("GET", "/me/mail", who=me)).json() == NO_MAIL
    assert (await harness.call("GET", path)).json() == NO_MAIL | ABOUT
    back = await harness.call("PATCH", "/me/mail", {"notifications": True}, who=me)
    assert (back.status_code, back.json()) == (200, ALL_MAIL)
    assert (await harness.call("GET", "/me/mail", who=me)).json() == ALL_MAIL
    assert (await harness.call("GET", "/me/mail", who=uuid4())).json() == ALL_MAIL


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_forged_token_is_unknown_and_changes_nothing(harness: ApiHarness, method: str) -> None:
    token = harness.tokens.unsubscribe(uuid4())
    for forged in (token[:-4] + "AAAA", "x", token + "x", Tokens("t" * 32, "x.test").unsubscribe(uuid4())):
        answer = await harness.call(method, f"/unsubscribe/{forged}")
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    assert await harness.service.value("select count(*) from mail_choices") == 0


@pytest.mark.parametrize("body", [{}, {"notifications": "yes"}, {"notifications": None}, {"notifications": 1}, []])
async def test_a_choice_is_true_or_false(harness: ApiHarness, body: object) -> None:
    answer = await harness.call("PATCH", "/me/mail", body, who=uuid4())
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid")


async def test_an_unknown_field_is_named(harness: ApiHarness) -> None:
    answer = await harness.call("PATCH", "/me/mail", {"notifications": True, "digest": 1}, who=uuid4())
    assert [error["field"] for error in answer.json()["errors"]] == ["digest"]


async def test_an_operator_sees_a_person_s_choice_about_mail(harness: ApiHarness) -> None:
    person = uuid4()
    path = f"/people/{person}/mail"
    assert (await harness.call("GET", path, issuer="operator")).json() == ALL_MAIL
    await harness.call("PATCH", "/me/mail", {"notifications": False}, who=person)
    assert (await harness.call("GET", path, issuer="operator")).json() == NO_MAIL


@pytest.mark.parametrize(
    ("method", "path", "issuers"),
    [
        ("GET", "/me/notifications", {"gateway"}),
        ("GET", f"/me/notifications/explain?comment={uuid4()}", {"gateway"}),
        ("GET", "/me/mail", {"gateway"}),
        ("PATCH", "/me/mail", {"gateway"}),
        ("GET", "/unsubscribe/x", {"gateway"}),
        ("POST", "/unsubscribe/x", {"gateway"}),
        ("GET", f"/people/{uuid4()}/mail", {"operator"}),
        ("POST", "/republish", {"operator"}),
        ("POST", "/known", {"operator"}),
    ],
)
async def test_every_route_names_its_callers(harness: ApiHarness, method: str, path: str, issuers: set[str]) -> None:
    assert (await harness.call(method, path, issuer=None)).status_code == 401
    for issuer in ("gateway", "notify", "operator", "people"):
        answer = await harness.call(method, path, {}, issuer=issuer, who=uuid4())
        assert (answer.status_code == 403) == (issuer not in issuers), (issuer, answer.text)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/me/notifications"),
        ("GET", f"/me/notifications/explain?comment={uuid4()}"),
        ("GET", "/me/mail"),
        ("PATCH", "/me/mail"),
    ],
)
async def test_personal_routes_need_a_person(harness: ApiHarness, method: str, path: str) -> None:
    body = {"notifications": True} if method == "PATCH" else None
    answer = await harness.call(method, path, body)
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/sign-in-required")


async def test_an_operator_can_have_events_published_again(harness: ApiHarness) -> None:
    comment = FakeComment(state="held")
    await harness.service.handle(comment.posted)
    await harness.service.change("update outbox set published_at = now()")
    answer = await harness.call("POST", "/republish", {"since": "2026-01-01T00:00:00Z"}, issuer="operator")
    assert answer.json()["count"] == 2
    assert await harness.service.value("select count(*) from outbox where published_at is null") == 2


async def test_operators_alone_pause_and_resume_mail(harness: ApiHarness) -> None:
    for method, path, body in (
        ("GET", "/mail", None),
        ("POST", "/mail/pause", {"why": "x"}),
        ("POST", "/mail/resume", {}),
    ):
        assert (await harness.call(method, path, body)).status_code == 403
    goes_out = {"paused": False, "since": None, "why": None, "waiting": 0, "due": 0}
    assert (await harness.call("GET", "/mail", issuer="operator")).json() == goes_out
    paused = (await harness.call("POST", "/mail/pause", {"why": "a trial"}, issuer="operator")).json()
    assert (paused["paused"], paused["why"]) == (True, "a trial")
    assert (await harness.call("POST", "/mail/resume", {"dry_run": True}, issuer="operator")).json() == paused
    assert (await harness.call("POST", "/mail/resume", {}, issuer="operator")).json() == paused
    assert (await harness.call("GET", "/mail", issuer="operator")).json() == goes_out
    assert (await harness.call("POST", "/mail/pause", {"why": ""}, issuer="operator")).status_code == 422


async def test_a_choice_is_an_event_whoever_makes_it(harness: ApiHarness) -> None:
    who = uuid4()
    token = harness.tokens.unsubscribe(who)
    for _ in range(2):  # the second changes nothing
        assert (await harness.call("POST", f"/unsubscribe/{token}")).status_code == 200
    assert (await harness.call("PATCH", "/me/mail", {"notifications": True}, who=who)).status_code == 200
    told = (
        "select string_agg(concat_ws(' ', key, v ->> 'notifications', v ->> 'version'), ', ' order by id) "
        "from (select id, key, convert_from(payload, 'UTF8')::jsonb as v from outbox) as told"
    )
    assert await harness.service.value(told) == f"{who} false 1, {who} true 2"
