"""Comments in the public contract."""

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.client import Client, Person
from tests.contracts import shapes
from tests.contracts.shapes import check_invalid, check_problem, check_read, check_times, is_id
from tests.waiting import eventually

MISSING = "0193f000-0000-7000-8000-000000000000"


@pytest.fixture
async def post(client: Client, author: Person) -> dict[str, Any]:
    return await client.publish(author)


async def state_for(client: Client, comment_id: str, who: Person | None) -> Any:
    answer = await client.call("GET", f"/v1/comments/{comment_id}", who=who)
    return answer.json["state"] if answer.status == 200 else answer.status


async def listed(client: Client, post_id: str, who: Person | None = None) -> list[Any]:
    return list((await client.call("GET", f"/v1/posts/{post_id}/comments", who=who)).json["items"])


async def count(client: Client, post_id: str) -> Any:
    return (await client.call("GET", f"/v1/posts/{post_id}")).json["comment_count"]


async def test_a_comment_has_its_fields(client: Client, post: dict[str, Any], anna: Person, moderator: Person) -> None:
    answer = await client.call("POST", f"/v1/posts/{post['id']}/comments", {"body": " A *word*. "}, who=anna)
    assert answer.status == 201
    made = answer.json
    assert answer.headers["Location"] == f"/v1/comments/{made['id']}"
    assert set(made) == shapes.MY_COMMENT
    assert is_id(made["id"])
    check_times(made)
    assert (made["post_id"], made["parent_id"], made["depth"]) == (post["id"], None, 0)
    assert made["author"] == {"id": anna.id, "name": "Anna", "avatar_url": None, "is_post_author": False}
    assert made["answered_revision"] == 1
    assert (made["body"], made["format"], made["state"]) == (" A *word*. ", "markdown", "visible")
    assert made["body_html"].strip() == "<p>A <em>word</em>.</p>"
    assert (made["edited_at"], made["reply_count"]) == (None, 0)
    assert made["replies"] == {"items": [], "next": None}
    path = f"/v1/comments/{made['id']}"
    read = await client.call("GET", path, who=anna)
    check_read(read, private=True)
    assert (read.json, read.headers["ETag"]) == (made, answer.headers["ETag"])
    stranger = await client.call("GET", path)
    check_read(stranger)
    assert set(stranger.json) == shapes.COMMENT
    assert set((await client.call("GET", path, who=moderator)).json) == shapes.MY_COMMENT


async def test_raw_html_is_text(client: Client, post: dict[str, Any], anna: Person) -> None:
    made = await client.comment(anna, post["id"], "<script>alert(1)</script> [x](javascript:alert(1))")
    assert "<script" not in made["body_html"]
    assert 'href="javascript' not in made["body_html"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"body"}),
        ({"body": ""}, {"body"}),
        ({"body": " \n\t"}, {"body"}),
        ({"body": "x" * 10_001}, {"body"}),
        ({"body": "x\0"}, {"body"}),
        ({"body": 5}, {"body"}),
        ({"body": "x", "parent_id": "x"}, {"parent_id"}),
        ({"body": "x", "parent_id": MISSING}, {"parent_id"}),
        ({"body": "x", "post_id": MISSING}, {"post_id"}),
    ],
)
async def test_an_invalid_field_is_named(
    client: Client, post: dict[str, Any], anna: Person, body: Any, fields: set[str]
) -> None:
    check_invalid(await client.call("POST", f"/v1/posts/{post['id']}/comments", body, who=anna), *fields)


async def test_lengths_are_counted_in_code_points_after_nfc(client: Client, post: dict[str, Any], anna: Person) -> None:
    decomposed = '{"body": "' + "e\u0301" * 10_000 + '"}'
    answer = await client.call(
        "POST",
        f"/v1/posts/{post['id']}/comments",
        who=anna,
        data=decomposed.encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 201
    assert answer.json["body"] == "é" * 10_000


async def test_a_parent_is_of_the_same_post_and_visible(
    client: Client, post: dict[str, Any], author: Person, anna: Person, ben: Person, moderator: Person
) -> None:
    elsewhere = await client.comment(anna, (await client.publish(author))["id"])
    path = f"/v1/posts/{post['id']}/comments"
    check_invalid(await client.call("POST", path, {"body": "x", "parent_id": elsewhere["id"]}, who=ben), "parent_id")
    held = await client.comment(anna, post["id"])
    assert (await client.call("POST", f"/v1/comments/{held['id']}/hold", who=moderator)).status == 200
    check_invalid(await client.call("POST", path, {"body": "x", "parent_id": held["id"]}, who=ben), "parent_id")


async def test_missing_posts_take_no_comments(client: Client, anna: Person) -> None:
    answer = await client.call("POST", f"/v1/posts/{MISSING}/comments", {"body": "x"}, who=anna)
    check_problem(answer, 404, "not-found")
    check_problem(await client.call("GET", f"/v1/posts/{MISSING}/comments"), 404, "not-found")


async def test_the_tree_shows_everything_exactly_once(
    client: Client, post: dict[str, Any], anna: Person, ben: Person
) -> None:
    ids = set()
    for number in range(5):
        top = await client.comment(anna, post["id"], f"Top {number}")
        ids.add(top["id"])
        for inner in range(3):
            reply = await client.comment(ben, post["id"], f"Reply {inner}", parent_id=top["id"])
            deep = await client.comment(anna, post["id"], "Deep", parent_id=reply["id"])
            ids |= {reply["id"], deep["id"]}
    for sort in ("oldest", "newest"):
        for limit in (1, 2, 50):
            found = await walk(client, f"/v1/posts/{post['id']}/comments?sort={sort}&limit={limit}")
            assert len(found) == len(set(found)) == len(ids)
            assert set(found) == ids
    tops = [one["id"] for one in await listed(client, post["id"])]
    newest = (await client.call("GET", f"/v1/posts/{post['id']}/comments?sort=newest")).json["items"]
    assert [one["id"] for one in newest] == tops[::-1]
    assert await count(client, post["id"]) == len(ids)
    first = (await client.call("GET", f"/v1/posts/{post['id']}/comments?limit=1")).json
    other_sort = f"/v1/posts/{post['id']}/comments?sort=newest&cursor={quote(first['next'], safe='')}"
    check_problem(await client.call("GET", other_sort), 400, "malformed-cursor")
    check_invalid(await client.call("GET", f"/v1/posts/{post['id']}/comments?sort=best"), "sort")


async def walk(client: Client, path: str) -> list[str]:
    """Return the ids of all comments, following every `next`."""
    found: list[str] = []
    waiting = [path]
    while waiting:
        here = waiting.pop()
        answer = await client.call("GET", here)
        check_read(answer)
        page = answer.json
        if page["next"]:
            waiting.append(f"{here.partition('&cursor=')[0]}&cursor={quote(page['next'], safe='')}")
        open_ends = list(page["items"])
        while open_ends:
            item = open_ends.pop()
            assert set(item) == shapes.COMMENT
            found.append(item["id"])
            open_ends += item["replies"]["items"]
            if item["replies"]["next"]:
                cursor = quote(item["replies"]["next"], safe="")
                waiting.append(f"/v1/comments/{item['id']}/replies?limit=2&cursor={cursor}")
    return found


async def test_edit(client: Client, post: dict[str, Any], anna: Person, ben: Person, moderator: Person) -> None:
    made = await client.comment(anna, post["id"], "First")
    path = f"/v1/comments/{made['id']}"
    for who in (ben, moderator):
        check_problem(await client.call("PATCH", path, {"body": "Mine"}, who=who), 403, "forbidden")
    before = (await client.call("GET", path, who=anna)).headers["ETag"]
    answer = await client.call("PATCH", path, {"body": "Second"}, who=anna, headers={"If-Match": before})
    assert answer.status == 200
    assert answer.json["body"] == "Second"
    assert answer.json["edited_at"] is not None
    assert (await client.call("GET", path)).json["body_html"] == answer.json["body_html"]
    stale = await client.call("PATCH", path, {"body": "Third"}, who=anna, headers={"If-Match": before})
    check_problem(stale, 412, "stale")
    await client.comment(ben, post["id"], "A reply", parent_id=made["id"])
    now = {"If-Match": answer.headers["ETag"]}
    assert (await client.call("PATCH", path, {"body": "Third"}, who=anna, headers=now)).status == 200


async def test_a_removed_comment_stays_blank(
    client: Client, post: dict[str, Any], anna: Person, ben: Person, moderator: Person
) -> None:
    top = await client.comment(anna, post["id"], "Regrettable")
    reply = await client.comment(ben, post["id"], "Indeed", parent_id=top["id"])
    path = f"/v1/comments/{top['id']}"
    check_problem(await client.call("DELETE", path, who=ben), 403, "forbidden")
    for who in (anna, anna, moderator):
        answer = await client.call("DELETE", path, who=who)
        assert (answer.status, answer.body) == (204, b"")
    for viewer in (None, anna, ben):
        stone = (await client.call("GET", path, who=viewer)).json
        assert set(stone) == shapes.COMMENT
        assert (stone["state"], stone["author"], stone["body_html"], stone["edited_at"]) == (
            *("removed", None, None, None),
        )
    assert await count(client, post["id"]) == 1
    check_problem(await client.call("POST", path + "/restore", who=moderator), 409, "wrong-state")
    check_problem(await client.call("PATCH", path, {"body": "x"}, who=anna), 404, "not-found")
    assert (await client.call("DELETE", f"/v1/comments/{reply['id']}", who=ben)).status == 204
    for gone in (top["id"], reply["id"]):
        check_problem(await client.call("GET", f"/v1/comments/{gone}"), 404, "not-found")
    assert await listed(client, post["id"]) == []


async def test_moderation(client: Client, post: dict[str, Any], anna: Person, ben: Person, moderator: Person) -> None:
    made = await client.comment(anna, post["id"], "Judge me")
    path = f"/v1/comments/{made['id']}"
    for step in ("hold", "approve", "reject", "restore"):
        check_problem(await client.call("POST", f"{path}/{step}", who=anna), 403, "forbidden")
    for step, state, stranger in (
        ("hold", "held", 404),
        ("hold", "held", 404),
        ("approve", "visible", "visible"),
        ("approve", "visible", "visible"),
        ("hold", "held", 404),
        ("reject", "removed", 404),
        ("reject", "removed", 404),
        ("restore", "visible", "visible"),
        ("restore", "visible", "visible"),
    ):
        answer = await client.call("POST", f"{path}/{step}", who=moderator)
        assert (answer.status, answer.json["state"]) == (200, state), step
        assert set(answer.json) == shapes.MY_COMMENT
        assert await state_for(client, made["id"], moderator) == state
        assert await state_for(client, made["id"], ben) == stranger
        assert await state_for(client, made["id"], None) == stranger
    assert (await client.call("POST", f"{path}/reject", who=moderator)).status == 200
    for step in ("hold", "approve"):
        check_problem(await client.call("POST", f"{path}/{step}", who=moderator), 409, "wrong-state")
    check_problem(await client.call("POST", f"/v1/comments/{MISSING}/hold", who=moderator), 404, "not-found")


async def test_a_held_comment_is_shown_to_its_author_and_moderators(
    client: Client, author: Person, anna: Person, ben: Person, moderator: Person
) -> None:
    post = await client.publish(author, discussion="held")
    made = await client.comment(anna, post["id"], "May I?")
    assert made["state"] == "held"
    own = await client.comment(author, post["id"], "Mine is visible")
    assert own["state"] == "visible"
    assert [one["id"] for one in await listed(client, post["id"])] == [own["id"]]
    for who in (anna, moderator):
        assert [one["id"] for one in await listed(client, post["id"], who)] == [made["id"], own["id"]]
    queue = await client.call("GET", "/v1/comments?state=held&limit=200", who=moderator)
    check_read(queue, private=True)
    assert made["id"] in [one["id"] for one in queue.json["items"]]
    for who in (anna, ben):
        check_problem(await client.call("GET", "/v1/comments?state=held", who=who), 403, "forbidden")
    check_invalid(await client.call("GET", "/v1/comments?state=lost", who=moderator), "state")
    edited = await client.call("PATCH", f"/v1/comments/{made['id']}", {"body": "Please?"}, who=anna)
    assert edited.json["state"] == "held"


async def test_a_closed_discussion(client: Client, author: Person, anna: Person) -> None:
    post = await client.publish(author)
    top = await client.comment(anna, post["id"])
    assert (await client.call("PATCH", f"/v1/posts/{post['id']}", {"discussion": "closed"}, who=author)).status == 200

    async def closed() -> bool:
        body = {"body": "Too late", "parent_id": top["id"]}
        answer = await client.call("POST", f"/v1/posts/{post['id']}/comments", body, who=anna)
        if answer.status == 201:
            return False
        check_problem(answer, 409, "discussion-closed")
        return True

    await eventually(closed, timeout=10)
    viewer = (await client.call("GET", f"/v1/posts/{post['id']}/page", who=anna)).json["viewer"]
    assert viewer["can_comment"] is False


async def test_comments_of_a_withdrawn_post_are_hidden_but_can_be_removed(
    client: Client, author: Person, anna: Person, moderator: Person
) -> None:
    post = await client.publish(author)
    made = await client.comment(anna, post["id"])
    assert (await client.call("POST", f"/v1/posts/{post['id']}/withdraw", who=author)).status == 200

    async def gone() -> bool:
        return (await client.call("GET", f"/v1/comments/{made['id']}", who=anna)).status == 404

    await eventually(gone, timeout=10)
    for who in (None, anna, author, moderator):
        check_problem(await client.call("GET", f"/v1/posts/{post['id']}/comments", who=who), 404, "not-found")
    answer = await client.call("POST", f"/v1/posts/{post['id']}/comments", {"body": "x"}, who=anna)
    check_problem(answer, 404, "not-found")
    assert (await client.call("DELETE", f"/v1/comments/{made['id']}", who=anna)).status == 204


async def test_a_key_is_replayed_until_its_comment_is_removed(
    client: Client, post: dict[str, Any], anna: Person
) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    path, body = f"/v1/posts/{post['id']}/comments", {"body": "Once"}
    first = await client.call("POST", path, body, who=anna, headers=key)
    again = await client.call("POST", path, body, who=anna, headers=key)
    assert (again.status, again.json, again.headers["Location"]) == (201, first.json, first.headers["Location"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"]
    assert len(await listed(client, post["id"])) == 1
    check_problem(
        await client.call("POST", path, {"body": "Twice"}, who=anna, headers=key), 422, "idempotency-key-reused"
    )
    assert (await client.call("DELETE", f"/v1/comments/{first.json['id']}", who=anna)).status == 204
    blank = await client.call("POST", path, body, who=anna, headers=key)
    assert (blank.status, blank.json["body_html"]) == (201, None)
    assert "Once" not in blank.body.decode()


async def test_a_write_is_visible_to_its_author(client: Client, post: dict[str, Any], anna: Person) -> None:
    for number in range(20):
        made = await client.call("POST", f"/v1/posts/{post['id']}/comments", {"body": f"No. {number}"}, who=anna)
        page = (await client.call("GET", f"/v1/posts/{post['id']}/page", who=anna)).json
        assert made.json["id"] in [one["id"] for one in page["comments"]["items"]]
        stranger = (await client.call("GET", f"/v1/posts/{post['id']}/comments?sort=newest&limit=1")).json
        assert stranger["items"][0]["id"] == made.json["id"]


async def test_what_was_rejected_is_listed_for_moderators(
    client: Client, post: dict[str, Any], anna: Person, moderator: Person
) -> None:
    older, newer = [await client.comment(anna, post["id"], text) for text in ("Nonsense", "More nonsense")]
    for one in (older, newer):
        assert (await client.call("POST", f"/v1/comments/{one['id']}/reject", who=moderator)).status == 200
    for state in ("rejected", "removed"):
        page = await client.call("GET", f"/v1/comments?state={state}&limit=2", who=moderator)
        check_read(page, private=True)
        assert [item["id"] for item in page.json["items"]] == [newer["id"], older["id"]]
        assert {item["state"] for item in page.json["items"]} == {"removed"}
        assert page.json["items"][1]["body"] == "Nonsense"
    check_problem(await client.call("GET", "/v1/comments?state=rejected", who=anna), 403, "forbidden")
    check_invalid(await client.call("GET", "/v1/comments?state=visible", who=moderator), "state")


async def test_the_author_of_the_post_is_marked(
    client: Client, post: dict[str, Any], author: Person, anna: Person
) -> None:
    asked = await client.comment(anna, post["id"], "Why?")
    answer = await client.comment(author, post["id"], "Because.", parent_id=asked["id"])
    assert answer["author"]["is_post_author"]
    (listed_one,) = await listed(client, post["id"])
    page = (await client.call("GET", f"/v1/posts/{post['id']}/page")).json["comments"]["items"][0]
    one = (await client.call("GET", f"/v1/comments/{asked['id']}")).json
    for shown in (listed_one, page, one):
        (reply,) = shown["replies"]["items"]
        assert (shown["author"]["is_post_author"], reply["author"]["is_post_author"]) == (False, True)
        assert set(reply["author"]) == shapes.COMMENT_AUTHOR
    (reply,) = (await client.call("GET", f"/v1/comments/{asked['id']}/replies")).json["items"]
    assert reply["author"]["is_post_author"]


async def test_a_comment_says_which_revision_it_answers(
    client: Client, post: dict[str, Any], author: Person, anna: Person
) -> None:
    path = f"/v1/posts/{post['id']}/comments"
    edited = await client.call("PATCH", f"/v1/posts/{post['id']}", {"body": "Another text."}, who=author)
    assert edited.json["revision"] == 2

    async def answers_the_second() -> bool:
        made = await client.call("POST", path, {"body": f"Hm {uuid4()}"}, who=anna)
        return bool(made.json["answered_revision"] == 2)

    await eventually(answers_the_second)
    for sent, kept in ((1, 1), (2, 2), (7, 2), (None, 2)):
        made = await client.call("POST", path, {"body": f"Yes {uuid4()}", "answered_revision": sent}, who=anna)
        assert made.json["answered_revision"] == kept
        assert (await client.call("GET", f"/v1/comments/{made.json['id']}")).json["answered_revision"] == kept
    for wrong in (0, "1", 1.5, True):
        refused = await client.call("POST", path, {"body": "No", "answered_revision": wrong}, who=anna)
        check_invalid(refused, "answered_revision")


async def test_the_context_of_a_comment(client: Client, post: dict[str, Any], author: Person, anna: Person) -> None:
    top = await client.comment(anna, post["id"], "One")
    middle = await client.comment(author, post["id"], "Two", parent_id=top["id"])
    low = await client.comment(anna, post["id"], "Three", parent_id=middle["id"])
    await client.comment(author, post["id"], "Four", parent_id=low["id"])
    answer = await client.call("GET", f"/v1/comments/{low['id']}/context")
    check_read(answer)
    assert set(answer.json) == {"post", "above", "comment"}
    assert set(answer.json["post"]) == shapes.POST
    assert answer.json["post"]["id"] == post["id"]
    assert [one["id"] for one in answer.json["above"]] == [top["id"], middle["id"]]
    first = answer.json["above"][0]["replies"]
    assert first["items"] == []
    replies = await client.call("GET", f"/v1/comments/{top['id']}/replies?cursor={quote(first['next'])}")
    assert [one["id"] for one in replies.json["items"]] == [middle["id"]]
    assert answer.json["comment"] == (await client.call("GET", f"/v1/comments/{low['id']}")).json
    check_problem(await client.call("GET", f"/v1/comments/{MISSING}/context"), 404, "not-found")
    await client.call("POST", f"/v1/posts/{post['id']}/withdraw", who=author)

    async def gone() -> bool:
        return (await client.call("GET", f"/v1/comments/{low['id']}/context")).status == 404

    await eventually(gone)


async def test_comments_are_counted_for_lists_elsewhere(
    client: Client, post: dict[str, Any], author: Person, anna: Person
) -> None:
    draft = (await client.call("POST", "/v1/posts", {"title": "Hidden", "body": "x"}, who=author)).json
    await client.comment(anna, post["id"], "One")
    await client.comment(anna, post["id"], "Two")
    refs = [post["slug"], post["id"], post["id"].upper(), draft["id"], draft["slug"], "nothing-here", MISSING]
    path = "/v1/comment-counts?" + "&".join(f"post={quote(ref)}" for ref in [*refs, post["slug"]])

    async def counts() -> Any:
        answer = await client.call("GET", path)
        check_read(answer)
        return answer.json["counts"]

    expected = {ref: 2 if number < 3 else 0 for number, ref in enumerate(refs)}
    assert await counts() == expected
    third = await client.comment(anna, post["id"], "Three")
    assert (await counts())[post["slug"]] == 3, "a kept answer is evicted"
    await client.call("DELETE", f"/v1/comments/{third['id']}", who=anna)
    assert await counts() == expected
    for wrong in ("", "?" + "&".join(f"post=p{number}" for number in range(101))):
        check_invalid(await client.call("GET", f"/v1/comment-counts{wrong}"), "post")


async def test_a_page_says_what_waits_for_its_reader(
    client: Client, author: Person, anna: Person, moderator: Person
) -> None:
    post = await client.publish(author, discussion="held")

    async def viewer(who: Person) -> Any:
        return (await client.call("GET", f"/v1/posts/{post['id']}/page", who=who)).json["viewer"]

    before = await viewer(moderator)
    assert set(before) == shapes.VIEWER | {"waiting"}
    assert set(await viewer(anna)) == shapes.VIEWER
    held = await client.comment(anna, post["id"], "May I?")
    assert (await viewer(moderator))["waiting"] == before["waiting"] + 1
    unread = (await viewer(author))["unread"]
    await client.call("POST", f"/v1/comments/{held['id']}/approve", who=moderator)
    assert (await viewer(moderator))["waiting"] == before["waiting"]

    async def told() -> bool:
        return bool((await viewer(author))["unread"] == unread + 1)

    await eventually(told)
    (newest,) = (await client.call("GET", "/v1/me/notifications?limit=1", who=author)).json["items"]
    await client.call("PATCH", "/v1/me/notifications", {"read_until": newest["id"]}, who=author)
    assert (await viewer(author))["unread"] == 0
