"""The main scenario, through the gateway only: a reply to a comment becomes one mail that can be stopped."""

import asyncio
import re
from email.message import EmailMessage
from uuid import uuid4

from tests.client import Client, Person
from tests.smtp_sink import SmtpSink
from tests.waiting import eventually


def text_of(message: EmailMessage) -> str:
    """Return the text part."""
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


async def replies_to(sink: SmtpSink, person: Person) -> list[EmailMessage]:
    return [mail.message for mail in sink.to(person.email) if mail.message["List-Id"]]


async def explained(client: Client, who: Person, comment_id: str) -> dict[str, object]:
    answer = await client.call("GET", f"/v1/me/notifications/explain?comment={comment_id}", who=who)
    assert answer.status == 200, answer.body
    found: dict[str, object] = answer.json
    return found


async def settled(client: Client, who: Person, comment_id: str, state: str) -> None:
    async def reached() -> bool:
        return (await explained(client, who, comment_id))["state"] == state

    await eventually(reached, timeout=30)


async def test_a_reply_becomes_one_threaded_mail_that_can_be_stopped(
    client: Client, session_sink: SmtpSink, admin: Person, anna: Person, ben: Person
) -> None:
    await play_the_story(client, session_sink, admin, anna, ben)


async def play_the_story(client: Client, sink: SmtpSink, admin: Person, anna: Person, ben: Person) -> None:
    """Let Ben answer Anna, who gets one mail about each answer until she stops them."""
    post = await client.publish(admin, title="On letters")
    question = await client.comment(anna, post["id"], "Who still writes letters?")
    reply = await client.comment(ben, post["id"], "I *do*. See https://example.com/x", parent_id=question["id"])

    await settled(client, anna, reply["id"], "sent")
    mails = await replies_to(sink, anna)
    assert len(mails) == 1
    mail = mails[0]
    assert re.fullmatch(r"<[^<>@\s]+@[^<>@\s]+>", mail["Message-ID"])
    assert mail["In-Reply-To"] in mail["References"]
    assert re.search(r"<[^<>\s]+>$", mail["List-Id"])
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["To"].endswith(anna.email) or anna.email in mail["To"]
    assert mail.get_body(("html",)) is not None
    assert "I do" in text_of(mail)
    assert "Ben" in text_of(mail)

    second = await client.comment(ben, post["id"], "Every week.", parent_id=question["id"])
    await settled(client, anna, second["id"], "sent")
    first_mail, second_mail = await replies_to(sink, anna)
    assert first_mail["Message-ID"] != second_mail["Message-ID"]
    assert first_mail["In-Reply-To"] == second_mail["In-Reply-To"]

    unsubscribe = re.search(r"<(https?://[^>]+)>", mail["List-Unsubscribe"])
    assert unsubscribe is not None
    path = "/unsubscribe/" + unsubscribe[1].rsplit("/", 1)[1]
    for _ in range(3):
        assert (await client.call("GET", path)).status == 200
    third = await client.comment(ben, post["id"], "Even on Sundays.", parent_id=question["id"])
    await settled(client, anna, third["id"], "sent")

    stopped = await client.call("POST", path, data={"List-Unsubscribe": "One-Click"})
    assert stopped.status == 200
    fourth = await client.comment(ben, post["id"], "Still here?", parent_id=question["id"])
    await settled(client, anna, fourth["id"], "skipped")
    assert (await explained(client, anna, fourth["id"]))["why"] == "unsubscribed"
    assert len(await replies_to(sink, anna)) == 3

    assert (await client.call("GET", "/v1/me/mail", who=anna)).json["notifications"] is False
    back = await client.call("PATCH", "/v1/me/mail", {"notifications": True}, who=anna)
    assert back.json == {"notifications": True, "scope": "all", "moderation": "hourly"}
    fifth = await client.comment(ben, post["id"], "Welcome back.", parent_id=question["id"])
    await settled(client, anna, fifth["id"], "sent")


async def test_own_comments_are_not_notified(
    client: Client, session_sink: SmtpSink, admin: Person, anna: Person
) -> None:
    post = await client.publish(admin, title="Alone")
    first = await client.comment(anna, post["id"], "Echo?")
    own = await client.comment(anna, post["id"], "Echo!", parent_id=first["id"])
    await settled(client, admin, own["id"], "sent")
    assert (await explained(client, anna, own["id"]))["why"] == "own_comment"
    assert await replies_to(session_sink, anna) == []


async def test_the_author_of_the_post_gets_one_mail_with_both_reasons(
    client: Client, session_sink: SmtpSink, admin: Person, anna: Person
) -> None:
    post = await client.publish(admin, title="Two reasons")
    mine = await client.comment(admin, post["id"], "I begin.")
    reply = await client.comment(anna, post["id"], "I go on.", parent_id=mine["id"])
    await settled(client, admin, reply["id"], "sent")
    found = await explained(client, admin, reply["id"])
    assert set(found["reasons"]) == {"reply_to_you", "on_your_post"}  # type: ignore[call-overload]  # a JSON list
    listed = await client.call("GET", "/v1/me/notifications", who=admin)
    assert [item["comment_id"] for item in listed.json["items"]].count(reply["id"]) == 1


async def test_concurrent_requests_under_one_key_create_one_comment(
    client: Client, admin: Person, anna: Person
) -> None:
    post = await client.publish(admin, title="Once")
    key = {"Idempotency-Key": str(uuid4())}

    async def say() -> int:
        answer = await client.call(
            "POST", f"/v1/posts/{post['id']}/comments", {"body": "Only once."}, who=anna, headers=key
        )
        return answer.status

    statuses = await asyncio.gather(*(say() for _ in range(8)))
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    page = await client.call("GET", f"/v1/posts/{post['id']}/comments")
    assert len(page.json["items"]) == 1
