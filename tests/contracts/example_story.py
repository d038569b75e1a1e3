"""The story that the examples of the API tell: Ada writes about a garden, Ben comments, and then leaves."""

import re
from datetime import UTC, datetime, timedelta

from tests.client import LINK, Client, HttpResponse, Person
from tests.contracts.recording import Recorder, Wanted
from tests.hostile_pictures import plain
from tests.waiting import eventually

ADA, BEN = "ada@example.org", "ben@example.org"  # Ada is in ADMIN_EMAILS
KEYS = "5f0c7a52-3c1b-4a8e-9d43-0b7a2f6f7e1"


async def tell(recorder: Recorder) -> None:
    """Play the whole story."""
    client = recorder.client
    ada = await client.sign_in("Ada", ADA)
    ben = await sign_in(recorder)
    post_id, slug = await write(recorder, ada)
    comment_id, reply_id = await discuss(recorder, ada, ben, post_id, slug)
    await read(recorder, ada, ben, slug, comment_id)
    await hear(recorder, ada, comment_id)
    await moderate(recorder, ada, ben)
    await take_back(recorder, ada, ben, post_id, comment_id, reply_id)
    await leave(recorder, client, ben)


def key(number: int) -> dict[str, str]:
    """Return the header with a key of its own for one request of the story."""
    return {"Idempotency-Key": f"{KEYS}{number}"}


def token_of(client: Client, address: str) -> str:
    """Return the token of the newest link mailed to an address."""
    mails = [match[1] for mail in client.sink.to(address) if (match := LINK.search(mail.text))]
    return mails[-1]


def code_of(client: Client, address: str) -> str:
    """Return the code in the newest mail to an address."""
    return str(re.findall(r"\b\d{4} ?\d{4}\b", client.sink.to(address)[-1].text)[-1]).replace(" ", "")


async def sign_in(recorder: Recorder) -> Person:
    client = recorder.client
    await recorder.play("register", "Ben comes for the first time", body={"name": "Ben", "email": BEN})
    await eventually(lambda: client.sink.to(BEN), timeout=30)
    used = token_of(client, BEN)
    session = await recorder.play("createSession", "Ben uses the link", body={"token": used})
    await recorder.refused("link-used-or-expired", "createSession", body={"token": used})
    refresh = {"refresh_token": session.json["refresh_token"]}
    renewed = await recorder.play("refreshSession", "Ben gets a new pair", headers=key(1), body=refresh)
    await recorder.refused("invalid-refresh-token", "refreshSession", body={"refresh_token": "unknown"})
    asked = await recorder.play("requestSignIn", "Ben signs in again", body={"email": BEN})
    await eventually(lambda: len(client.sink.to(BEN)) > 1, timeout=30)
    by_code = {"request": asked.json["request"], "code": code_of(client, BEN)}
    await recorder.play("createSession", "Ben types the code", body=by_code)
    await recorder.refused("invalid-code", "createSession", body=by_code | {"code": "00000000"})
    for _ in range(11):  # one more than the limit of an address
        await recorder.send("requestSignIn", body={"email": "nobody@example.org"})
    await recorder.refused("too-many-requests", "requestSignIn", body={"email": "nobody@example.org"})
    me = renewed.json["person"]
    ben = Person(me["id"], me["name"], BEN, renewed.json["access_token"], renewed.json["refresh_token"])
    await recorder.play("editMe", "Another name", who=ben, headers=key(2), body={"name": "Ben Okafor"})
    face = key(9) | {"Content-Type": "image/png"}
    await recorder.play("setAvatar", "A picture", who=ben, headers=face, data=plain(size=(400, 300)))
    await recorder.play("deleteAvatar", "No picture any more", who=ben)
    await recorder.play("editMe", "What Ben says of himself", who=ben, body={"about": "Beans, mostly."})
    await recorder.play("getMe", "Ben", who=ben)
    sessions = await recorder.play("listSessions", "Where Ben is signed in", who=ben)
    other = next(one["id"] for one in sessions.json["items"] if not one["current"])
    await recorder.play("endOneSession", "The one by the code", who=ben, path={"session_id": other})
    await recorder.play("endOtherSessions", "Ben, to be sure", who=ben)
    nobody = Person("", "", "", "no-token", "")
    await recorder.refused("invalid-token", "getMe", who=nobody)
    return ben


async def write(recorder: Recorder, ada: Person) -> tuple[str, str]:
    body = {"title": "Rain on the beans", "body": "It rained *all night*.", "tags": ["Weather"], "publish": True}
    await recorder.play("createPost", "A post, published at once", who=ada, headers=key(3), body=body)
    second = {"title": "What the frost left", "body": "Not **much**."}
    draft = await recorder.play("createPost", "A draft", who=ada, body=second)
    await recorder.refused("idempotency-key-reused", "createPost", who=ada, headers=key(3), body=second)
    ref = {"ref": draft.json["id"]}
    await recorder.refused("wrong-state", "withdrawPost", who=ada, path=ref)
    published = await recorder.play("publishPost", "The draft", who=ada, path=ref, headers=key(4))
    edited = await recorder.play(
        "editPost",
        "A new text, and what changed",
        who=ada,
        path=ref,
        headers={"If-Match": published.headers["ETag"]},
        body={"body": "Not **much**, but the kale.", "edit_note": "Remembered the kale"},
    )
    await recorder.refused(
        "stale", "editPost", who=ada, path=ref, headers={"If-Match": published.headers["ETag"]}, body={"body": "x"}
    )
    await recorder.play("listRevisions", "Both texts", path=ref)
    png = {"Content-Type": "image/png"}
    await recorder.play("listPosts", "About the weather", query={"tag": "weather"})
    await recorder.play("listTags", "All of them")
    sketch = await recorder.play(
        "createPost", "A page", who=ada, body={"title": "About", "body": "Me.", "kind": "page"}
    )
    page = {"ref": sketch.json["id"]}
    morning = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT06:00:00.000Z")
    await recorder.play("editPost", "The page, at a time", who=ada, path=page, body={"publish_at": morning})
    await recorder.play("listPosts", "What is scheduled", who=ada, query={"status": "scheduled", "kind": "page"})
    await recorder.play("editPost", "Not yet", who=ada, path=page, body={"publish_at": None})
    await recorder.play("deletePost", "The page was an idea only", who=ada, path=page)
    words = {"body": "Not **much**.", "kind": "post"}
    await recorder.play("previewText", "Ada looks before she saves", who=ada, body=words)
    await recorder.play("createImage", "A picture", who=ada, headers=key(8) | png, data=plain(size=(1600, 900)))
    await recorder.play("getRevision", "The first text", path=ref | {"number": "1"})
    await recorder.play("getRevision", "What changed since", path=ref | {"number": "2"}, query={"against": "1"})
    await recorder.play("blankRevision", "Ada takes the first text away", who=ada, path=ref | {"number": "1"})
    return draft.json["id"], edited.json["slug"]


async def discuss(recorder: Recorder, ada: Person, ben: Person, post_id: str, slug: str) -> tuple[str, str]:
    under = {"post_id": post_id}
    first = await recorder.play(
        "postComment", "A comment", who=ben, path=under, headers=key(5), body={"body": "Cover the beans with *fleece*."}
    )
    answer = {"body": "I will, thank you.", "parent_id": first.json["id"]}
    reply = await recorder.play("postComment", "A reply", who=ada, path=under, body=answer)
    await recorder.send("postComment", who=ben, path=under, body={"body": "Last frost was in May."})
    again = {"body": "Cover the beans with *two layers* of fleece."}
    comment = {"comment_id": first.json["id"]}
    tag = {"If-Match": first.headers["ETag"]}
    await recorder.play("editComment", "Another text", who=ben, path=comment, headers=tag, body=again)
    await recorder.refused("forbidden", "editComment", who=ada, path=comment, body=again)
    await recorder.refused("invalid", "postComment", who=ben, path=under, body={"body": "", "colour": "red"})
    await recorder.refused("sign-in-required", "postComment", path=under, body={"body": "Who am I?"})
    await recorder.refused("malformed-json", "postComment", who=ben, path=under, data=b"{", headers=as_type("json"))
    await recorder.refused(
        "unsupported-media-type", "postComment", who=ben, path=under, data=b"x=1", headers=as_type("xml")
    )
    await recorder.refused(
        "too-large", "postComment", who=ben, path=under, data=b" " * 300_000, headers=as_type("json")
    )
    await recorder.refused(
        "malformed-idempotency-key", "postComment", who=ben, path=under, headers={"Idempotency-Key": ""}, body=again
    )
    return first.json["id"], reply.json["id"]


def as_type(subtype: str) -> dict[str, str]:
    return {"Content-Type": f"application/{subtype}"}


async def read(recorder: Recorder, ada: Person, ben: Person, slug: str, comment_id: str) -> None:
    three = {"until": lambda answer: answer.json["comment_count"] == 3}
    await recorder.play("getPost", "By its slug", path={"ref": slug}, **three)

    def with_unread(answer: HttpResponse) -> bool:
        return bool(counted(3)(answer)) and answer.json["viewer"]["unread"] == 1

    await recorder.play("getPostPage", "To a reader who is signed in", who=ben, path={"ref": slug}, until=with_unread)
    listed = await recorder.play("listPosts", "The newest", query={"limit": "1"}, until=shows_count(3))
    await recorder.play("listPosts", "The next page", query={"limit": "1", "cursor": listed.json["next"]})
    under, page = {"post_id": slug}, {"sort": "oldest", "limit": "1"}
    thread = await recorder.play("listComments", "The first page", path=under, query=page)
    page["cursor"] = thread.json["next"]
    await recorder.play("listComments", "The next page", path=under, query=page)
    await recorder.refused("malformed-cursor", "listComments", path=under, query={"cursor": "x"})
    await recorder.refused("not-found", "getPost", path={"ref": "nothing-here"})
    await recorder.play("getComment", "To everybody", path={"comment_id": comment_id})
    await recorder.play("getComment", "To its author", who=ben, path={"comment_id": comment_id})
    await recorder.play("listReplies", "All of them", path={"comment_id": comment_id})
    await recorder.play("listMyComments", "Ben's", who=ben, query={"limit": "1"})
    await recorder.play("getCommentContext", "To everybody", path={"comment_id": comment_id})
    await recorder.play("countComments", "Of two posts", query={"post": [slug, "nothing-here"]})
    await recorder.play("getPerson", "Ben", path={"person_id": ben.id}, until=lambda a: a.json["comment_count"] == 2)
    gate = await recorder.client.publish(ada, title="A closed gate", body="Nothing to say.", discussion="closed")
    await recorder.refused("discussion-closed", "postComment", who=ben, path={"post_id": gate["id"]}, body=thanks())


def thanks() -> dict[str, str]:
    return {"body": "Thank you."}


def counted(count: int) -> Wanted:
    return lambda answer: answer.json["comment_count"] == answer.json["post"]["comment_count"] == count


def shows_count(count: int) -> Wanted:
    return lambda answer: answer.json["items"][0]["comment_count"] == count


async def moderate(recorder: Recorder, ada: Person, ben: Person) -> None:
    post = await recorder.client.publish(ada, title="A quiet corner", body="Hush.", discussion="held")
    held = await recorder.play(
        "postComment", "One that waits for a moderator", who=ben, path={"post_id": post["id"]}, body=thanks()
    )
    path = {"comment_id": held.json["id"]}
    queue = {"until": lambda answer: answer.json["items"]}
    await recorder.play("listCommentsByState", "What waits", who=ada, query={"state": "held"}, **queue)
    counted_waiting = {"until": lambda answer: answer.json["viewer"]["waiting"] == 1}
    await recorder.play("getPostPage", "To a moderator", who=ada, path={"ref": post["slug"]}, **counted_waiting)
    for step in ("approve", "hold", "reject", "restore"):
        await recorder.play(f"{step}Comment", f"Ada {step}s it", who=ada, path=path)
        if step == "reject":
            await recorder.play("listCommentsByState", "What was rejected", who=ada, query={"state": "rejected"})


async def hear(recorder: Recorder, ada: Person, comment_id: str) -> None:
    about = {"comment": comment_id}
    sent = {"until": lambda answer: answer.json["state"] == "sent"}
    await recorder.play("explainNotification", "A mail was sent", who=ada, query=about, **sent)

    def all_sent(answer: HttpResponse) -> bool:
        return [item["state"] for item in answer.json["items"]] == ["sent"] * 2

    await recorder.play("listNotifications", "Ada's", who=ada, query={"limit": "10"}, until=all_sent)
    await recorder.play("getSite", "This one")
    newest = (await recorder.client.call("GET", "/v1/me/notifications?limit=1", who=ada)).json["items"][0]
    read = {"read_until": newest["id"]}
    await recorder.play("markNotificationsRead", "Ada has read all", who=ada, body=read, headers=key(7))
    await recorder.play("makeFeed", "Ada's, for her reader of feeds", who=ada, headers=key(11))
    await recorder.play("endFeed", "Ada's", who=ada)
    here = {"ref": newest["post_id"]}
    await recorder.play("followPost", "Ada follows what was said there", who=ada, path=here, headers=key(9))
    await recorder.play("unfollowPost", "Ada has heard enough", who=ada, path=here, headers=key(10))
    await recorder.play("editMailSettings", "Only replies", who=ada, body={"scope": "replies"}, headers=key(8))
    await recorder.play("editMailSettings", "No more mail", who=ada, body={"notifications": False})
    await recorder.play("getMailSettings", "Ada's", who=ada)


async def take_back(recorder: Recorder, ada: Person, ben: Person, post_id: str, comment_id: str, reply_id: str) -> None:
    await recorder.play("deleteComment", "Ben takes it back", who=ben, path={"comment_id": comment_id}, headers=key(6))
    await recorder.play("getComment", "A tombstone, because of the reply", path={"comment_id": comment_id})
    await recorder.play("withdrawPost", "Ada takes it back", who=ada, path={"ref": post_id})
    await recorder.play("listPosts", "Ada's withdrawn ones", who=ada, query={"status": "withdrawn"})


async def leave(recorder: Recorder, client: Client, ben: Person) -> None:
    await recorder.play("exportMe", "Ben takes everything along", who=ben)
    again = await client.sign_in("Ben", BEN)
    await recorder.play("endSession", "Ben signs out", who=again)
    await recorder.play("deleteMe", "Ben deletes his account", who=ben)
