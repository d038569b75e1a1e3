"""Notifications and unsubscribing in the public contract."""

import re
from typing import Any

import pytest

from tests.client import Client, Person
from tests.contracts import shapes
from tests.contracts.conftest import NewPerson
from tests.contracts.shapes import check_invalid, check_problem, check_read, check_times
from tests.smtp_sink import SmtpSink
from tests.waiting import eventually

MISSING = "0193f000-0000-7000-8000-000000000000"


async def explained(client: Client, who: Person, comment_id: str) -> Any:
    return await client.call("GET", f"/v1/me/notifications/explain?comment={comment_id}", who=who)


async def notified(client: Client, who: Person, comment_id: str) -> None:
    async def sent() -> bool:
        answer = await explained(client, who, comment_id)
        return bool(answer.status == 200 and answer.json["state"] == "sent")

    await eventually(sent, timeout=20)


def unsubscribe_path(sink: SmtpSink, who: Person) -> str:
    """Return the path of the unsubscribe link in the last notification to this user."""
    mails = [mail.message for mail in sink.to(who.email) if mail.message["List-Unsubscribe"]]
    found = re.search(r"<https?://[^/]+(/unsubscribe/[^>]+)>", mails[-1]["List-Unsubscribe"])
    assert found is not None
    return found[1]


async def test_a_reply_is_notified_and_explained(
    client: Client, author: Person, new_person: NewPerson, ben: Person
) -> None:
    anna = await new_person("Anna")
    post = await client.publish(author)
    question = await client.comment(anna, post["id"], "Why?")
    answer = await client.comment(ben, post["id"], "Because.", parent_id=question["id"])
    await notified(client, anna, answer["id"])
    explanation = await explained(client, anna, answer["id"])
    check_read(explanation, private=True)
    assert set(explanation.json) == shapes.EXPLANATION
    check_times(explanation.json)
    assert explanation.json["reasons"] == ["reply_to_you"]
    assert explanation.json["why"] is None
    assert explanation.json["text"]
    listed = await client.call("GET", "/v1/me/notifications", who=anna)
    check_read(listed, private=True)
    assert [set(one) for one in listed.json["items"]] == [shapes.NOTIFICATION]
    assert listed.json["items"][0]["comment_id"] == answer["id"]
    own = await explained(client, anna, question["id"])
    assert (own.json["state"], own.json["why"]) in (("skipped", "own_comment"), ("none", "own_comment"))


async def test_hidden_comments_are_not_explained(
    client: Client, author: Person, anna: Person, ben: Person, moderator: Person
) -> None:
    post = await client.publish(author, discussion="held")
    held = await client.comment(ben, post["id"], "Hidden")
    check_problem(await explained(client, anna, held["id"]), 404, "not-found")
    check_problem(await explained(client, anna, MISSING), 404, "not-found")
    check_invalid(await explained(client, anna, "x"), "comment")
    check_invalid(await client.call("GET", "/v1/me/notifications/explain", who=anna), "comment")
    visible = await client.comment(author, post["id"], "Shown")
    answer = await explained(client, anna, visible["id"])
    assert (answer.status, answer.json["state"], answer.json["why"]) == (200, "none", "not_concerned")


async def test_notification_settings_are_per_person(client: Client, new_person: NewPerson) -> None:
    who = await new_person()
    answer = await client.call("GET", "/v1/me/mail", who=who)
    check_read(answer, private=True)
    assert answer.json == shapes.MAIL
    off = await client.call("PATCH", "/v1/me/mail", {"notifications": False}, who=who)
    assert (off.status, off.json) == (200, shapes.MAIL | {"notifications": False})
    assert (await client.call("GET", "/v1/me/mail", who=who)).json == shapes.MAIL | {"notifications": False}
    for wrong in ({"notifications": "no"}, {"notifications": 0}):
        check_invalid(await client.call("PATCH", "/v1/me/mail", wrong, who=who), "notifications")
    check_invalid(await client.call("PATCH", "/v1/me/mail", {}, who=who), "")


@pytest.mark.parametrize("multipart", [False, True])
async def test_one_click_stops_all_notifications(
    client: Client, author: Person, new_person: NewPerson, ben: Person, session_sink: SmtpSink, multipart: bool
) -> None:
    who = await new_person("Click")
    post = await client.publish(author)
    question = await client.comment(who, post["id"], "Why?")
    answer = await client.comment(ben, post["id"], "Because.", parent_id=question["id"])
    await notified(client, who, answer["id"])
    path = unsubscribe_path(session_sink, who)
    for _ in range(2):
        page = await client.call("GET", path)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b"One-Click" in page.body
    assert (await client.call("GET", "/v1/me/mail", who=who)).json == shapes.MAIL
    for wrong in (b"", b"List-Unsubscribe=Two-Click", b"x=y", b"\xff"):
        refused = await client.call(
            "POST", path, data=wrong, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert refused.status == 400
    assert (await client.call("POST", path, {"List-Unsubscribe": "One-Click"})).status == 400
    assert (await client.call("GET", "/v1/me/mail", who=who)).json == shapes.MAIL
    for _ in range(2):
        if multipart:
            boundary = "b0undary"
            body = (
                f'--{boundary}\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\n'
                f"One-Click\r\n--{boundary}--\r\n"
            )
            kind = f"multipart/form-data; boundary={boundary}"
            done = await client.call("POST", path, data=body.encode(), headers={"Content-Type": kind})
        else:
            done = await client.call("POST", path, data={"List-Unsubscribe": "One-Click"})
        assert done.status == 200
    assert (await client.call("GET", "/v1/me/mail", who=who)).json == shapes.MAIL | {"notifications": False}
    second = await client.comment(ben, post["id"], "And so.", parent_id=question["id"])

    async def skipped() -> bool:
        found = await explained(client, who, second["id"])
        return bool(found.status == 200 and found.json["why"] == "unsubscribed")

    await eventually(skipped, timeout=20)
    assert (await client.call("PATCH", "/v1/me/mail", {"notifications": True}, who=who)).status == 200


async def test_an_unknown_unsubscribe_link_is_not_found(client: Client) -> None:
    assert (await client.call("GET", "/unsubscribe/nonsense")).status == 404
    answer = await client.call("POST", "/unsubscribe/nonsense", data={"List-Unsubscribe": "One-Click"})
    assert answer.status == 404


async def test_the_link_of_a_mail_chooses_which_mail_comes(
    client: Client, author: Person, new_person: NewPerson, ben: Person, session_sink: SmtpSink
) -> None:
    anna = await new_person("Anna")
    post = await client.publish(author)
    question = await client.comment(anna, post["id"], "Why?")
    first = await client.comment(ben, post["id"], "Because.", parent_id=question["id"])
    await notified(client, anna, first["id"])
    path = unsubscribe_path(session_sink, anna).replace("/unsubscribe/", "/mail/")
    page = await client.call("GET", path)
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    for choice, expected in (
        ("none", {"notifications": False}),
        ("replies", {"scope": "replies"}),
        ("all", {}),
        ("replies", {"scope": "replies"}),
    ):
        answer = await client.call("POST", path, data={"choice": choice})
        assert (answer.status, b'role="status"' in answer.body) == (200, True)
        assert (await client.call("GET", "/v1/me/mail", who=anna)).json == shapes.MAIL | expected
    for wrong in ({"choice": "some"}, {}, {"List-Unsubscribe": "One-Click"}):
        assert (await client.call("POST", path, data=wrong)).status == 422
    assert (await client.call("POST", "/mail/nonsense", data={"choice": "none"})).status == 404
    assert (await client.call("GET", "/v1/me/mail", who=anna)).json == shapes.MAIL | {"scope": "replies"}


async def test_a_followed_discussion_is_told_and_left(
    client: Client, author: Person, new_person: NewPerson, ben: Person
) -> None:
    anna = await new_person("Anna")
    post = await client.publish(author)
    for _ in range(2):
        assert (await client.call("PUT", f"/v1/posts/{post['slug']}/follow", who=anna)).status == 204
    heard = await client.comment(ben, post["id"])
    await notified(client, anna, heard["id"])
    listed = (await client.call("GET", "/v1/me/notifications", who=anna)).json["items"]
    assert [(one["comment_id"], one["reasons"], one["read"]) for one in listed] == [
        (heard["id"], ["followed_thread"], False)
    ]
    read = await client.call("PATCH", "/v1/me/notifications", {"read_until": listed[0]["id"]}, who=anna)
    assert read.json == {"unread": 0}
    assert [one["read"] for one in (await client.call("GET", "/v1/me/notifications", who=anna)).json["items"]] == [True]
    assert (await client.call("PATCH", "/v1/me/mail", {"scope": "replies"}, who=anna)).status == 200
    quiet = await client.comment(ben, post["id"])

    async def skipped() -> bool:
        return bool((await explained(client, anna, quiet["id"])).json["why"] == "replies_only")

    await eventually(skipped, timeout=20)
    assert (await client.call("DELETE", f"/v1/posts/{post['id']}/follow", who=anna)).status == 204
    unheard = await client.comment(ben, post["id"])
    assert (await explained(client, anna, unheard["id"])).json["why"] == "not_concerned"


async def test_only_what_one_sees_can_be_followed(client: Client, author: Person, anna: Person) -> None:
    draft = await client.call("POST", "/v1/posts", {"title": "A draft", "body": "Not yet."}, who=author)
    for ref in (draft.json["id"], MISSING, "no-such-slug"):
        check_problem(await client.call("PUT", f"/v1/posts/{ref}/follow", who=anna), 404, "not-found")
    check_problem(await client.call("PUT", f"/v1/posts/{MISSING}/follow"), 401, "sign-in-required")
