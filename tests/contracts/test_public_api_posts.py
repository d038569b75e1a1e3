"""Posts in the public contract."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.client import Client, Person
from tests.contracts import shapes
from tests.contracts.shapes import check_invalid, check_problem, check_read, check_times, is_id
from tests.stack import Stack
from tests.waiting import eventually


async def written(client: Client, author: Person, **fields: Any) -> dict[str, Any]:
    """Create a post, a draft by default."""
    answer = await client.call("POST", "/v1/posts", {"title": "A title", "body": "A *text*."} | fields, who=author)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


async def test_a_post_has_its_fields(client: Client, author: Person, stack: Stack) -> None:
    title = f"Über Briefe {uuid4().hex[:6]}"
    answer = await client.call("POST", "/v1/posts", {"title": title, "body": "A *text*.", "publish": True}, who=author)
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v1/posts/{answer.json['id']}"
    assert shapes.TAG.fullmatch(answer.headers["ETag"])
    post = answer.json
    assert set(post) == shapes.POST
    assert is_id(post["id"])
    check_times(post)
    assert post["kind"] == "post"
    assert post["author"] == {"id": author.id, "name": "Ada Author", "avatar_url": None}
    assert (post["status"], post["discussion"], post["revision"]) == ("published", "open", 1)
    assert post["comment_count"] == 0
    assert post["format"] == "markdown"
    assert "<em>text</em>" in post["body_html"]
    assert post["excerpt"] == "A text."
    assert post["edited_at"] is None
    assert post["edit_note"] is None
    assert post["url"] == f"{stack.url}/posts/{quote(post['slug'], safe='')}"
    assert post["slug"].startswith("über-briefe")
    for ref in (post["id"], quote(post["slug"], safe="")):
        read = await client.call("GET", f"/v1/posts/{ref}", who=author)
        check_read(read, private=True)
        assert read.json == post
        assert read.headers["ETag"] == answer.headers["ETag"]


async def test_a_draft_is_visible_to_its_author_and_admins_only(
    client: Client, author: Person, anna: Person, moderator: Person, admin: Person
) -> None:
    draft = await written(client, author)
    assert (draft["status"], draft["published_at"], draft["comment_count"]) == ("draft", None, 0)
    for path in (f"/v1/posts/{draft['id']}", f"/v1/posts/{draft['slug']}", f"/v1/posts/{draft['id']}/revisions"):
        for who in (None, anna, moderator):
            check_problem(await client.call("GET", path, who=who), 404, "not-found")
        for who in (author, admin):
            check_read(await client.call("GET", path, who=who), private=True)
    for who in (None, author, admin):
        answer = await client.call("GET", f"/v1/posts/{draft['id']}/comments", who=who)
        check_problem(answer, 404, "not-found")
    answer = await client.call("POST", f"/v1/posts/{draft['id']}/comments", {"body": "x"}, who=author)
    check_problem(answer, 404, "not-found")


async def test_roles_that_may_write(client: Client, author: Person, anna: Person, admin: Person) -> None:
    check_problem(await client.call("POST", "/v1/posts", {"title": "x", "body": "y"}, who=anna), 403, "forbidden")
    post = await written(client, author, publish=True)
    path = f"/v1/posts/{post['id']}"
    for method, more, body in (("PATCH", "", {"title": "z"}), ("POST", "/publish", None), ("POST", "/withdraw", None)):
        check_problem(await client.call(method, path + more, body, who=anna), 403, "forbidden")
        assert (await client.call(method, path + more, body, who=admin)).status == 200
    draft = await written(client, author)
    answer = await client.call("PATCH", f"/v1/posts/{draft['id']}", {"title": "z"}, who=anna)
    check_problem(answer, 404, "not-found")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"title", "body"}),
        ({"title": "", "body": "x"}, {"title"}),
        ({"title": "  ", "body": " \n "}, {"title", "body"}),
        ({"title": "x" * 301, "body": "x"}, {"title"}),
        ({"title": "x", "body": "x" * 60_001}, {"body"}),
        ({"title": "x\0", "body": "x"}, {"title"}),
        ({"title": 1, "body": None}, {"title", "body"}),
        ({"title": "x", "body": "x", "discussion": "ajar"}, {"discussion"}),
        ({"title": "x", "body": "x", "publish": "yes"}, {"publish"}),
        ({"title": "x", "body": "x", "colour": "red"}, {"colour"}),
        ({"title": "x", "body": "x", "slug": "A B"}, {"slug"}),
        ({"title": "x", "body": "x", "slug": "01936f6e-0000-7000-8000-000000000001"}, {"slug"}),
        ({"title": "x", "body": "x", "slug": "x" * 201}, {"slug"}),
        ([], {""}),
    ],
)
async def test_an_invalid_field_is_named(client: Client, author: Person, body: Any, fields: set[str]) -> None:
    check_invalid(await client.call("POST", "/v1/posts", body, who=author), *fields)


async def test_a_lone_surrogate_names_its_field(client: Client, author: Person) -> None:
    headers = {"Content-Type": "application/json"}
    data = rb'{"title": "x\ud800", "body": "x"}'
    check_invalid(await client.call("POST", "/v1/posts", who=author, data=data, headers=headers), "title")


async def test_slugs(client: Client, author: Person) -> None:
    title = f"Same {uuid4().hex[:6]}"
    first, second = [await written(client, author, title=title) for _ in range(2)]
    assert second["slug"] == first["slug"] + "-2"
    answer = await client.call("POST", "/v1/posts", {"title": "x", "body": "y", "slug": first["slug"]}, who=author)
    check_invalid(answer, "slug")


async def test_an_edit_creates_a_revision_with_its_note(client: Client, author: Person) -> None:
    post = await written(client, author, publish=True)
    path = f"/v1/posts/{post['id']}"
    read = await client.call("GET", path, who=author)
    answer = await client.call("PATCH", path, {"title": "Another", "edit_note": "a better title"}, who=author)
    assert answer.status == 200
    edited = answer.json
    assert (edited["title"], edited["edit_note"], edited["revision"]) == ("Another", "a better title", 2)
    assert edited["edited_at"] is not None
    assert edited["published_at"] == post["published_at"]
    assert edited["slug"] == post["slug"]
    assert (await client.call("GET", path)).json["title"] == "Another"
    revisions = await client.call("GET", path + "/revisions")
    check_read(revisions)
    assert [set(one) for one in revisions.json["items"]] == [shapes.REVISION] * 2
    assert [one["revision"] for one in revisions.json["items"]] == [2, 1]
    for listed in revisions.json["items"]:
        one = await client.call("GET", f"{path}/revisions/{listed['revision']}")
        check_read(one)
        assert one.json == listed
    for number in ("0", "3", str(2**31), "x"):
        assert (await client.call("GET", f"{path}/revisions/{number}")).status == 404
    stale = await client.call("PATCH", path, {"title": "Third"}, who=author, headers={"If-Match": read.headers["ETag"]})
    check_problem(stale, 412, "stale")
    for tag in ('"0-x"', f"W/{answer.headers['ETag']}", "x"):
        refused = await client.call("PATCH", path, {"title": "Third"}, who=author, headers={"If-Match": tag})
        check_problem(refused, 412, "stale")
    current = {"If-Match": answer.headers["ETag"]}
    assert (await client.call("PATCH", path, {"title": "Third"}, who=author, headers=current)).status == 200
    check_invalid(await client.call("PATCH", path, {"edit_note": "nothing"}, who=author), "edit_note")


async def test_revisions_are_compared_and_a_former_one_is_blanked(client: Client, author: Person, anna: Person) -> None:
    post = await written(client, author, body="Beans at three.", publish=True)
    path = f"/v1/posts/{post['id']}/revisions"
    await client.call("PATCH", f"/v1/posts/{post['id']}", {"body": "Beans at four.", "edit_note": "x"}, who=author)
    compared = await client.call("GET", f"{path}/2?against=1")
    check_read(compared)
    assert set(compared.json) == shapes.REVISION | {"diff"}
    assert [(one["op"], one["text"]) for one in compared.json["diff"]] == [
        *(("equal", "Beans at "), ("delete", "three"), ("insert", "four"), ("equal", ".")),
    ]
    for wrong in ("0", "3", "x", "", "1.5", str(2**31)):
        check_invalid(await client.call("GET", f"{path}/2?against={wrong}"), "against")
    assert (await client.call("GET", f"{path}/3?against=1")).status == 404
    check_problem(await client.call("DELETE", f"{path}/1"), 401, "sign-in-required")
    check_problem(await client.call("DELETE", f"{path}/1", who=anna), 403, "forbidden")
    check_problem(await client.call("DELETE", f"{path}/3", who=anna), 404, "not-found")
    check_problem(await client.call("DELETE", f"{path}/2", who=author), 409, "wrong-state")
    key = {"Idempotency-Key": str(uuid4())}
    for _ in range(2):
        assert (await client.call("DELETE", f"{path}/1", who=author, headers=key)).status == 204
    assert (await client.call("DELETE", f"{path}/1", who=author)).status == 204
    for who in (None, anna, author):
        listed = (await client.call("GET", path, who=who)).json["items"]
        assert [(one["title"], one["body"]) for one in listed] == [(post["title"], "Beans at four."), (None, None)]
        assert (await client.call("GET", f"{path}/1", who=who)).json == listed[1]
        assert (await client.call("GET", f"{path}/2?against=1", who=who)).json["diff"] is None
    assert (await client.call("GET", f"/v1/posts/{post['id']}")).json["body"] == "Beans at four."


async def test_publish_and_withdraw(client: Client, author: Person, anna: Person) -> None:
    draft = await written(client, author)
    path = f"/v1/posts/{draft['id']}"
    check_problem(await client.call("POST", path + "/withdraw", who=author), 409, "wrong-state")
    published = (await client.call("POST", path + "/publish", who=author)).json
    assert published["status"] == "published"
    again = (await client.call("POST", path + "/publish", who=author)).json
    assert again == published
    withdrawn = (await client.call("POST", path + "/withdraw", who=author)).json
    assert (withdrawn["status"], withdrawn["published_at"]) == ("withdrawn", published["published_at"])
    for who in (None, anna):
        check_problem(await client.call("GET", path, who=who), 404, "not-found")
    back = (await client.call("POST", path + "/publish", who=author)).json
    assert back["published_at"] == published["published_at"]


async def test_drafts_are_listed_to_their_author(client: Client, author: Person, admin: Person, anna: Person) -> None:
    drafts = [(await written(client, author))["id"] for _ in range(3)]
    check_problem(await client.call("GET", "/v1/posts?status=draft"), 401, "sign-in-required")
    check_invalid(await client.call("GET", "/v1/posts?status=lost", who=author), "status")
    assert (await client.call("GET", "/v1/posts?status=draft", who=anna)).json["items"] == []
    for who in (author, admin):
        page = await client.call("GET", "/v1/posts?status=draft&limit=2", who=who)
        check_read(page, private=True)
        rest = await client.call("GET", f"/v1/posts?status=draft&limit=2&cursor={page.json['next']}", who=who)
        shown = [post["id"] for post in page.json["items"] + rest.json["items"]]
        assert shown[:3] == drafts[::-1]
    await client.call("POST", f"/v1/posts/{drafts[2]}/publish", who=author)
    await client.call("POST", f"/v1/posts/{drafts[2]}/withdraw", who=author)
    (first, *_) = (await client.call("GET", "/v1/posts?status=withdrawn", who=author)).json["items"]
    assert (first["id"], first["status"]) == (drafts[2], "withdrawn")


async def test_a_slug_works_in_every_path_of_a_post(client: Client, author: Person, anna: Person) -> None:
    draft = await written(client, author, title=f"Ein Brief über Öl {uuid4().hex[:6]}")
    path = f"/v1/posts/{quote(draft['slug'])}"
    check_problem(await client.call("POST", path + "/comments", {"body": "x"}, who=author), 404, "not-found")
    check_problem(await client.call("PATCH", path, {"title": "x"}, who=anna), 404, "not-found")
    assert (await client.call("PATCH", path, {"body": "Changed."}, who=author)).json["revision"] == 1
    assert (await client.call("POST", path + "/publish", who=author)).json["id"] == draft["id"]
    (only,) = (await client.call("GET", path + "/revisions")).json["items"]
    assert only["body"] == "Changed.", "nobody reads what a draft was"
    comment = await client.comment(anna, quote(draft["slug"]))
    assert comment["post_id"] == draft["id"]
    listed = await client.call("GET", path + "/comments")
    check_read(listed)
    assert [item["id"] for item in listed.json["items"]] == [comment["id"]]
    assert (await client.call("POST", path + "/withdraw", who=author)).json["status"] == "withdrawn"


async def test_the_list_is_newest_first_and_paged(client: Client, author: Person) -> None:
    made = [(await written(client, author, publish=True))["id"] for _ in range(3)]
    draft = await written(client, author)
    first = await client.call("GET", "/v1/posts?limit=2")
    check_read(first)
    assert [set(one) for one in first.json["items"]] == [shapes.POST_IN_LIST] * 2
    assert [one["id"] for one in first.json["items"]] == made[:0:-1]
    link = first.headers["Link"]
    assert link.endswith('>; rel="next"')
    second = await client.call("GET", link[1 : link.index(">")])
    assert second.json["items"][0]["id"] == made[0]
    by_hand = await client.call("GET", f"/v1/posts?limit=1&cursor={quote(first.json['next'], safe='')}")
    assert by_hand.json["items"] == second.json["items"][:1]
    everything, cursor = [], ""
    while cursor is not None:
        page = (await client.call("GET", f"/v1/posts?limit=200{cursor and '&cursor=' + cursor}")).json
        everything += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert len(everything) == len(set(everything))
    assert draft["id"] not in everything
    elsewhere = f"/v1/posts/{made[0]}/revisions?cursor={quote(first.json['next'], safe='')}"
    check_problem(await client.call("GET", elsewhere), 400, "malformed-cursor")


async def test_the_page(client: Client, author: Person, anna: Person, moderator: Person) -> None:
    post = await client.publish(author)
    top = await client.comment(anna, post["id"], "First")
    reply = await client.comment(author, post["id"], "Second", parent_id=top["id"])
    answer = await client.call("GET", f"/v1/posts/{post['slug']}/page")
    check_read(answer)
    page = answer.json
    assert set(page) == shapes.PAGE
    assert set(page["post"]) == shapes.POST
    assert page["viewer"] is None
    assert page["unavailable"] == []
    assert page["comment_count"] == page["post"]["comment_count"] == 2
    listed = (await client.call("GET", f"/v1/posts/{post['id']}/comments")).json
    assert page["comments"] == listed
    assert listed["items"][0]["replies"]["items"][0]["id"] == reply["id"]
    mine = (await client.call("GET", f"/v1/posts/{post['id']}/page", who=anna)).json["viewer"]
    assert set(mine) == shapes.VIEWER
    assert (mine["id"], mine["name"], mine["roles"]) == (anna.id, "Anna", ["reader"])
    assert (mine["can_comment"], mine["can_moderate"], mine["can_edit_post"]) == (True, False, False)
    theirs = (await client.call("GET", f"/v1/posts/{post['id']}/page", who=author)).json["viewer"]
    assert (theirs["can_moderate"], theirs["can_edit_post"]) == (False, True)
    other = (await client.call("GET", f"/v1/posts/{post['id']}/page", who=moderator)).json["viewer"]
    assert (other["can_moderate"], other["can_edit_post"]) == (True, False)


async def test_a_published_post_accepts_comments_soon_and_is_never_unknown(
    client: Client, author: Person, anna: Person
) -> None:
    for _ in range(5):
        post = await written(client, author, publish=True)
        answer = await client.call("POST", f"/v1/posts/{post['id']}/comments", {"body": "Quick."}, who=anna)
        assert answer.status in (201, 503), answer.body
        if answer.status == 503:
            assert answer.headers["Retry-After"] == "1"


async def test_a_key_is_replayed(client: Client, author: Person) -> None:
    key = {"Idempotency-Key": f"k {uuid4()}"}
    body = {"title": "Once", "body": "Only."}
    first = await client.call("POST", "/v1/posts", body, who=author, headers=key)
    again = await client.call("POST", "/v1/posts", dict(reversed(body.items())), who=author, headers=key)
    assert (again.status, again.json, again.headers["Location"]) == (201, first.json, first.headers["Location"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    other = await client.call("POST", "/v1/posts", body | {"title": "Twice"}, who=author, headers=key)
    check_problem(other, 422, "idempotency-key-reused")
    path = f"/v1/posts/{first.json['id']}"
    edited = await client.call("PATCH", path, {"title": "Later"}, who=author)
    replay = await client.call("POST", "/v1/posts", body, who=author, headers=key)
    assert replay.json["title"] == "Once"
    assert replay.headers["ETag"].split("-")[0] == edited.headers["ETag"].split("-")[0]


@pytest.mark.parametrize("key", ["", "x" * 256, "ü"])
async def test_a_malformed_key_is_refused(client: Client, author: Person, key: str) -> None:
    answer = await client.call(
        "POST", "/v1/posts", {"title": "x", "body": "y"}, who=author, headers={"Idempotency-Key": key}
    )
    check_problem(answer, 400, "malformed-idempotency-key")


async def test_what_was_changed_in_a_discussion_holds_at_once(client: Client, author: Person, anna: Person) -> None:
    post = await client.publish(author)
    path = f"/v1/posts/{post['id']}"
    for turn in range(5):
        for discussion in ("held", "closed", "open"):
            changed = await client.call("PATCH", path, {"discussion": discussion}, who=author)
            assert changed.status == 200
            assert "unavailable" not in changed.json
            answer = await client.call("POST", path + "/comments", {"body": f"{turn} {discussion}"}, who=anna)
            if discussion == "closed":
                check_problem(answer, 409, "discussion-closed")
            else:
                assert (answer.status, answer.json["state"]) == (201, "held" if discussion == "held" else "visible")
    assert (await client.call("POST", path + "/withdraw", who=author)).status == 200
    check_problem(await client.call("GET", path + "/comments"), 404, "not-found")


async def test_a_scheduled_post_is_hidden_until_it_is_published_at_its_time(
    client: Client, author: Person, anna: Person, admin: Person
) -> None:
    far = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    post = await written(client, author, publish_at=far)
    path = f"/v1/posts/{post['id']}"
    assert (post["status"], post["published_at"]) == ("scheduled", None)
    assert datetime.fromisoformat(post["publish_at"]) <= datetime.fromisoformat(far)
    for who in (None, anna):
        check_problem(await client.call("GET", path, who=who), 404, "not-found")
    check_problem(await client.call("POST", f"{path}/withdraw", who=author), 409, "wrong-state")
    check_problem(await client.call("DELETE", path, who=author), 409, "wrong-state")
    check_problem(await client.call("GET", "/v1/posts?status=scheduled"), 401, "sign-in-required")
    for who, sees in ((author, True), (admin, True), (anna, False)):
        listed = (await client.call("GET", "/v1/posts?status=scheduled&limit=200", who=who)).json["items"]
        assert (post["id"] in [item["id"] for item in listed]) is sees
        assert {item["status"] for item in listed} <= {"scheduled"}
    back = (await client.call("PATCH", path, {"publish_at": None}, who=author)).json
    assert (back["status"], back["publish_at"], back["revision"]) == ("draft", None, 1)

    soon = datetime.now(UTC) + timedelta(seconds=1)
    assert (await client.call("PATCH", path, {"publish_at": soon.isoformat()}, who=author)).status == 200

    async def everybody_sees_it() -> bool:
        return (await client.call("GET", path)).status == 200

    await eventually(everybody_sees_it)
    shown = (await client.call("GET", path)).json
    assert (shown["status"], shown["publish_at"]) == ("published", None)
    assert datetime.fromisoformat(shown["published_at"]) >= soon - timedelta(milliseconds=1)  # how late: tests/chaos
    for publish_at in (far, None):
        refused = await client.call("PATCH", path, {"publish_at": publish_at}, who=author)
        check_problem(refused, 409, "wrong-state")


@pytest.mark.parametrize(
    "fields",
    [
        {"publish_at": "2020-01-01T00:00:00Z"},
        {"publish_at": "2099-01-01T00:00:00Z"},
        {"publish_at": "9999-12-31T23:59:59-23:59"},
        {"publish_at": "0001-01-01T00:00:00+23:59"},
        {"publish_at": "2030-01-01T00:00:00"},
        {"publish_at": 1900000000},
        {"publish_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(), "publish": True},
    ],
)
async def test_a_time_that_cannot_be_is_refused(client: Client, author: Person, fields: dict[str, Any]) -> None:
    body = {"title": "A title", "body": "A text."} | fields
    check_invalid(await client.call("POST", "/v1/posts", body, who=author), "publish_at")
