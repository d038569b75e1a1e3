"""What people choose: which mail they get, which discussions they follow, and how far they have read."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.contracts.notify import EditMailSettings
from services.notify import choices, exporting
from services.notify.choices import MailSettings
from tests.integration.notify_harness import FakeComment
from tests.integration.test_notify_api import ApiHarness, harness

__all__ = ["harness"]


async def told(harness: ApiHarness) -> list[dict[str, Any]]:
    """Return the events of the outbox, in order."""
    async with harness.service.db.reader() as reader:
        rows = await reader.fetch("select type, convert_from(payload, 'UTF8') as payload from outbox order by id")
    return [json.loads(row["payload"]) | {"type": row["type"].split(".")[3]} for row in rows]


async def settings(harness: ApiHarness, who: UUID) -> dict[str, Any]:
    found: dict[str, Any] = (await harness.call("GET", "/me/mail", who=who)).json()
    return found


async def test_who_never_chose_gets_all_mail(harness: ApiHarness) -> None:
    assert await settings(harness, uuid4()) == {"notifications": True, "scope": "all", "moderation": "hourly"}


@pytest.mark.parametrize(
    "change", [{"notifications": False}, {"scope": "replies"}, {"moderation": "daily"}, {"moderation": "off"}]
)
async def test_a_change_leaves_the_rest_as_it_is(harness: ApiHarness, change: dict[str, Any]) -> None:
    me = uuid4()
    before = await settings(harness, me)
    for _ in range(2):
        answer = await harness.call("PATCH", "/me/mail", change, who=me)
        assert (answer.status_code, answer.json()) == (200, before | change)
    assert await settings(harness, me) == before | change
    [event] = await told(harness)
    assert {name: event[name] for name in (*before, "version")} == before | change | {"version": 1}


@pytest.mark.parametrize(
    "body", [{"scope": "none"}, {"scope": None}, {"notifications": "no"}, {"moderation": "weekly"}, {"more": 1}]
)
async def test_unknown_choices_are_refused(harness: ApiHarness, body: dict[str, Any]) -> None:
    answer = await harness.call("PATCH", "/me/mail", body, who=uuid4())
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, next(iter(body)))


async def test_a_link_of_a_mail_changes_that_choice_alone(harness: ApiHarness) -> None:
    me = uuid4()
    await harness.call("PATCH", "/me/mail", {"moderation": "daily"}, who=me)
    path = f"/mail-choices/{harness.tokens.unsubscribe(me)}"
    for choice, expected in (
        ("replies", MailSettings(True, "replies", "daily")),
        ("none", MailSettings(False, "replies", "daily")),
        ("all", MailSettings(True, "all", "daily")),
    ):
        answer = await harness.call("POST", path, {"choice": choice})
        assert {name: answer.json()[name] for name in choices.as_json(expected)} == choices.as_json(expected)
    assert (await harness.call("POST", path, {"choice": "some"})).status_code == 422
    assert (await harness.call("POST", "/mail-choices/unknown", {"choice": "none"})).status_code == 404
    await harness.call("POST", f"/unsubscribe/{harness.tokens.unsubscribe(me)}")
    assert (await settings(harness, me))["notifications"] is False
    assert [event["version"] for event in await told(harness)] == [1, 2, 3, 4, 5]


async def test_choices_made_at_once_are_told_in_order(harness: ApiHarness) -> None:
    me = uuid4()
    await choices.choose_mail(harness.service.db, me, "replies")
    await asyncio.gather(
        *(
            choices.edit_mail_settings(harness.service.db, me, EditMailSettings(**{name: value}))
            for name, value in (("notifications", False), ("scope", "all"), ("moderation", "off"))
        )
    )
    assert await settings(harness, me) == {"notifications": False, "scope": "all", "moderation": "off"}
    last = (await told(harness))[-1]
    assert (last["version"], last["notifications"], last["scope"], last["moderation"]) == (4, False, "all", "off")


async def test_first_choices_made_at_once_are_all_kept(harness: ApiHarness) -> None:
    """Two links of two mails, pressed at once by somebody who never chose before: both stop what they say."""
    people = [uuid4() for _ in range(10)]
    for me in people:
        await asyncio.gather(
            choices.choose_mail(harness.service.db, me, "none"),
            choices.choose_moderation_mail(harness.service.db, me, "off"),
        )
    async with harness.service.db.reader() as reader:
        kept = [await choices.mail_settings(reader, me) for me in people]
    assert kept == [MailSettings(notifications=False, moderation="off")] * len(people)


async def test_a_repeated_key_is_answered_with_what_was_chosen_first(harness: ApiHarness) -> None:
    me, key = uuid4(), {"idempotency-key": "one"}
    token = harness.signed(me)
    first = await harness.client.patch("/me/mail", json={"scope": "replies"}, headers=token | key)
    await harness.call("PATCH", "/me/mail", {"scope": "all"}, who=me)
    again = await harness.client.patch("/me/mail", json={"scope": "replies"}, headers=token | key)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert (await settings(harness, me))["scope"] == "all"
    other = await harness.client.patch("/me/mail", json={"scope": "all"}, headers=token | key)
    assert other.json()["type"] == "/problems/idempotency-key-reused"


async def test_followers_are_told_of_every_new_comment(harness: ApiHarness) -> None:
    me, post_id = uuid4(), uuid4()
    assert (await harness.call("PUT", f"/me/follows/{post_id}", who=me)).json() == {"follows": True}
    comment = FakeComment(post_id=post_id)
    await harness.service.handle(comment.posted)
    row = await harness.service.row(me, comment.comment_id)
    assert (row["state"], row["reasons"]) == ("waiting", ["followed_thread"])
    explained = await harness.explain(me, comment.comment_id)
    assert explained["reasons"] == ["followed_thread"]
    assert "you follow the discussion" in explained["text"]
    elsewhere, mine = FakeComment(), FakeComment(post_id=post_id, author_id=me)
    await harness.service.handle(elsewhere.posted, mine.posted)
    assert await harness.service.row(me, elsewhere.comment_id) is None
    assert await harness.service.row(me, mine.comment_id) is None


async def test_reasons_of_a_follower_are_merged(harness: ApiHarness) -> None:
    me, post_id = uuid4(), uuid4()
    await harness.call("PUT", f"/me/follows/{post_id}", who=me)
    comment = FakeComment(post_id=post_id, parent_author_id=me)
    await harness.service.handle(comment.posted)
    row = await harness.service.row(me, comment.comment_id)
    assert row["reasons"] == ["reply_to_you", "followed_thread"]


async def test_what_is_followed_is_exported(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "PAGE", 2)
    me, posts = uuid4(), [uuid4() for _ in range(4)]
    for post_id in posts:
        await harness.call("PUT", f"/me/follows/{post_id}", who=me)
    await harness.call("DELETE", f"/me/follows/{posts[0]}", who=me)
    await harness.call("PUT", f"/me/follows/{posts[0]}", who=uuid4())
    found, cursor = list[str](), ""
    while cursor is not None:
        page = (await harness.call("GET", f"/me/export/follows?cursor={cursor}", who=me)).json()
        found += [one["post_id"] for one in page["items"]]
        cursor = page["next"]
    assert sorted(found) == sorted(map(str, posts[1:]))


async def test_who_follows_no_more_is_not_told(harness: ApiHarness) -> None:
    me, post_id = uuid4(), uuid4()
    for method in ("PUT", "PUT", "DELETE", "DELETE", "PUT", "DELETE"):
        answer = await harness.call(method, f"/me/follows/{post_id}", who=me)
        assert answer.json() == {"follows": method == "PUT"}
    events = await told(harness)
    assert [(event["type"], event["follows"], event["version"]) for event in events] == [
        ("follow-changed", at % 2 == 0, at + 1) for at in range(4)
    ]
    assert len({event["follow_id"] for event in events}) == 1
    comment = FakeComment(post_id=post_id)
    await harness.service.handle(comment.posted)
    assert await harness.service.row(me, comment.comment_id) is None
    assert (await harness.explain(me, comment.comment_id))["why"] == "not_concerned"


async def test_following_nothing_no_more_leaves_nothing(harness: ApiHarness) -> None:
    assert (await harness.call("DELETE", f"/me/follows/{uuid4()}", who=uuid4())).json() == {"follows": False}
    assert await told(harness) == []
    assert await harness.service.value("select count(*) from follows") == 0


async def test_what_was_read_stays_read(harness: ApiHarness) -> None:
    me = uuid4()
    for _ in range(3):
        await harness.service.handle(FakeComment(parent_author_id=me).posted)

    async def listed() -> list[tuple[str, bool]]:
        items = (await harness.call("GET", "/me/notifications", who=me)).json()["items"]
        return [(item["id"], item["read"]) for item in items]

    newest, middle, oldest = (one for one, _ in await listed())
    assert (await harness.call("GET", "/me/attention", who=me)).json() == {"unread": 3, "follows": False}
    for until, unread in ((middle, 1), (oldest, 1), (newest, 0)):
        answer = await harness.call("PATCH", "/me/notifications", {"read_until": until}, who=me)
        assert answer.json() == {"unread": unread}
        assert [read for _, read in await listed()] == [unread == 0, True, True]
    await harness.service.handle(FakeComment(parent_author_id=me).posted)
    assert (await harness.call("GET", "/me/attention", who=me)).json()["unread"] == 1


async def test_only_ones_own_notifications_are_marked(harness: ApiHarness) -> None:
    me, other = uuid4(), uuid4()
    await harness.service.handle(FakeComment(parent_author_id=other).posted)
    [theirs] = (await harness.call("GET", "/me/notifications", who=other)).json()["items"]
    for read_until in (theirs["id"], str(uuid4())):
        answer = await harness.call("PATCH", "/me/notifications", {"read_until": read_until}, who=me)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "read_until")
    assert await harness.service.value("select count(*) from reading_marks") == 0


async def test_the_attention_of_a_post_says_whether_it_is_followed(harness: ApiHarness) -> None:
    me, post_id = uuid4(), uuid4()
    await harness.call("PUT", f"/me/follows/{post_id}", who=me)
    for post, follows in ((post_id, True), (uuid4(), False)):
        answer = await harness.call("GET", f"/me/attention?post={post}", who=me)
        assert answer.json() == {"unread": 0, "follows": follows}


async def feed(harness: ApiHarness, token: str) -> tuple[int, list[str]]:
    answer = await harness.call("GET", f"/feeds/{token}")
    return answer.status_code, answer.json().get("comment_ids", [])


async def test_a_feed_has_what_answers_its_owner(harness: ApiHarness) -> None:
    me, post_id = uuid4(), uuid4()
    await harness.call("PUT", f"/me/follows/{post_id}", who=me)
    reply, under, followed = (
        FakeComment(parent_author_id=me), FakeComment(post_author_id=me), FakeComment(post_id=post_id)
    )  # fmt: skip
    never_visible = FakeComment(parent_author_id=me, state="held")
    await harness.service.handle(reply.posted, under.posted, followed.posted, never_visible.posted)
    token = (await harness.call("POST", "/me/feed", who=me)).json()["token"]
    assert await feed(harness, token) == (200, [str(under.comment_id), str(reply.comment_id)])
    await harness.call("POST", "/me/feed", who=uuid4())
    assert await feed(harness, token) == (200, [str(under.comment_id), str(reply.comment_id)])


async def test_a_new_address_ends_the_one_before(harness: ApiHarness) -> None:
    me = uuid4()
    first, second = [(await harness.call("POST", "/me/feed", who=me)).json()["token"] for _ in range(2)]
    assert [status for status, _ in [await feed(harness, first), await feed(harness, second)]] == [404, 200]
    for _ in range(2):
        assert (await harness.call("DELETE", "/me/feed", who=me)).status_code == 204
    assert await feed(harness, second) == (404, [])
    assert await harness.service.value("select count(*) from feeds") == 0


async def test_a_repeated_request_is_answered_with_the_same_address(harness: ApiHarness) -> None:
    me, other = uuid4(), uuid4()
    key = {"idempotency-key": "one"}
    answers = [
        await harness.client.post("/me/feed", headers=harness.signed(who) | key) for who in (me, me, other)
    ]  # fmt: skip
    first, again, theirs = (answer.json()["token"] for answer in answers)
    assert first == again != theirs
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert (await feed(harness, first))[0] == 200
    kept = await harness.service.value("select string_agg(representation::text, '') from idempotency_keys")
    assert first not in kept
