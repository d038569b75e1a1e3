"""Public representations, field by field."""

from typing import Any

from services.gateway.composition import representations
from tests.unit.gateway_fakes import raw_comment, raw_post

ANNA: dict[str, Any] = {"id": "01936f6e-0000-7000-8000-00000000000a", "name": "Anna", "avatar_url": None}
BEN: dict[str, Any] = {
    "id": "01936f6e-0000-7000-8000-00000000000b",
    "name": "Ben",
    "avatar_url": "https://x.test/b.png",
}
PEOPLE: dict[str, dict[str, Any]] = {ANNA["id"]: ANNA, BEN["id"]: BEN}

POST = {
    *("id", "kind", "slug", "url", "title", "body", "format", "body_html", "excerpt", "author", "status"),
    *("discussion", "created_at", "published_at", "edited_at", "edit_note", "revision", "cover_url", "comment_count"),
    *("tags", "word_count", "publish_at"),
}
COMMENT = {
    *("id", "post_id", "parent_id", "depth", "author", "body_html", "state", "created_at", "edited_at"),
    *("answered_revision", "reply_count", "replies"),
}


def test_a_post_has_exactly_the_fields_of_the_contract() -> None:
    shown = representations.post(raw_post(secret="x"), PEOPLE, "https://rapport.test", 4)
    assert set(shown) == POST
    assert shown["author"] == ANNA
    assert shown["comment_count"] == 4


def test_a_post_in_a_list_has_no_text() -> None:
    shown = representations.post(raw_post(), PEOPLE, "https://rapport.test", 4, text=False)
    assert set(shown) == POST - {"body", "body_html"}


def test_a_slug_is_percent_encoded_only_in_the_url() -> None:
    shown = representations.post(raw_post(slug="grüße"), PEOPLE, "https://rapport.test/", 0)
    assert shown["slug"] == "grüße"
    assert shown["url"] == "https://rapport.test/posts/gr%C3%BC%C3%9Fe"


def test_an_author_who_could_not_be_looked_up_has_no_name() -> None:
    shown = representations.post(raw_post(), {}, "https://rapport.test", None)
    assert shown["author"] == {"id": ANNA["id"], "name": None, "avatar_url": None}


def test_a_comment_has_its_source_text_only_where_comments_gave_it() -> None:
    assert set(representations.comment(raw_comment(), PEOPLE)) == COMMENT
    mine = representations.comment(raw_comment(body="Hi", format="markdown"), PEOPLE)
    assert set(mine) == COMMENT | {"body", "format"}


def test_the_author_of_the_post_is_marked_at_every_depth() -> None:
    tree = raw_comment(1, replies=[raw_comment(2, author_id=ANNA["id"])], post_author_id=ANNA["id"])
    shown = representations.comment(tree, PEOPLE)
    assert shown["author"] == BEN | {"is_post_author": False}
    assert shown["replies"]["items"][0]["author"] == ANNA | {"is_post_author": True}
    assert ANNA.keys() == {"id", "name", "avatar_url"}, "what is remembered of people stays as it is"


def test_a_tombstone_has_no_author() -> None:
    stone = raw_comment(author_id=None, body_html=None, state="removed")
    assert representations.comment(stone, PEOPLE)["author"] is None
    assert representations.comment_authors([stone]) == set()


def test_replies_keep_their_order_and_cursors_at_every_depth() -> None:
    deep = raw_comment(1, replies=[raw_comment(2, replies=[raw_comment(3)]), raw_comment(4)])
    deep["replies"]["next"] = "more"
    shown = representations.comment(deep, PEOPLE)
    assert [reply["id"] for reply in shown["replies"]["items"]] == [raw_comment(2)["id"], raw_comment(4)["id"]]
    assert shown["replies"]["next"] == "more"
    assert shown["replies"]["items"][0]["replies"]["items"][0]["id"] == raw_comment(3)["id"]
    assert representations.comment_authors([deep]) == {BEN["id"]}


def test_replies_may_be_a_hundred_levels_deep() -> None:
    chain = raw_comment(100)
    for number in range(99, 0, -1):
        chain = raw_comment(number, replies=[chain])
    shown = representations.comment(chain, PEOPLE)
    depth = 1
    while shown["replies"]["items"]:
        shown = shown["replies"]["items"][0]
        depth += 1
    assert depth == 100
