"""Turn the services' representations into public ones: authors get names, posts a URL and a count, versions go.

Each is written field by field, so that what a service adds for itself never leaks.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from services.contracts.links import image_path, post_path

Json = dict[str, Any]

POST_AFTER_TITLE = ("body", "format", "body_html", "excerpt")
POST_AFTER_AUTHOR = ("status", "discussion", "created_at", "published_at", "edited_at", "edit_note", "revision")


def post_url(public_url: str, slug: str) -> str:
    """Return the URL of a post's page; the slug percent-encoded."""
    return public_url.rstrip("/") + post_path(slug)


def image_url(public_url: str, image_id: str | None) -> str | None:
    """Return the URL of a picture of a post; None without one."""
    return None if image_id is None else absolute(public_url, image_path(image_id))


def nameless(person_id: str) -> Json:
    """Return an author whose name could not be looked up."""
    return {"id": person_id, "name": None, "avatar_url": None}


def author(person_id: str | None, people: Mapping[str, Json]) -> Json | None:
    """Return the author; None in a tombstone."""
    if person_id is None:
        return None
    return people.get(person_id) or nameless(person_id)


def post(
    raw: Json, people: Mapping[str, Json], public_url: str, comment_count: int | None, *, text: bool = True
) -> Json:
    """Return a post; without `body` and `body_html` in lists."""
    shown = {
        "id": raw["id"],
        "kind": raw["kind"],
        "slug": raw["slug"],
        "url": post_url(public_url, raw["slug"]),
        "title": raw["title"],
    }
    shown |= {name: raw[name] for name in (POST_AFTER_TITLE if text else ("format", "excerpt"))}
    shown["author"] = author(raw["author_id"], people)
    shown |= {name: raw[name] for name in POST_AFTER_AUTHOR}
    shown["cover_url"] = image_url(public_url, raw.get("cover"))  # an older version of posts has none
    shown |= {"tags": raw.get("tags", []), "word_count": raw.get("word_count")}  # nor these
    shown["publish_at"] = raw.get("publish_at")  # nor a time
    shown["comment_count"] = comment_count
    return shown


def image(raw: Json, public_url: str) -> Json:
    """Return a picture that was stored."""
    return {"id": raw["id"], "url": image_url(public_url, raw["id"]), "width": raw["width"], "height": raw["height"]}


def revision(raw: Json) -> Json:
    """Return one revision of a post, with what differs from another one if that was asked for."""
    shown = {name: raw[name] for name in ("revision", "title", "body", "edit_note", "created_at")}
    return shown | ({"diff": raw["diff"]} if "diff" in raw else {})


def revision_note(raw: Json) -> Json:
    """Return one revision of a post without its text; blanked ones have no title."""
    return {name: raw[name] for name in ("revision", "title", "edit_note", "created_at")}


def comment(raw: Json, people: Mapping[str, Json]) -> Json:
    """Return a comment with the beginning of its replies, at any depth."""
    post_author = raw.get("post_author_id")  # an older version of comments does not say it
    top = _one(raw, people, post_author)
    open_ends = [(raw, top)]
    while open_ends:
        source, shown = open_ends.pop()
        replies = source["replies"]
        for item in replies["items"]:
            reply = _one(item, people, post_author)
            shown["replies"]["items"].append(reply)
            open_ends.append((item, reply))
    return top


def _one(raw: Json, people: Mapping[str, Json], post_author: str | None) -> Json:
    by = author(raw["author_id"], people)
    shown = {
        "id": raw["id"],
        "post_id": raw["post_id"],
        "parent_id": raw["parent_id"],
        "depth": raw["depth"],
        "author": by and {**by, "is_post_author": by["id"] == post_author},
    }
    if "body" in raw:
        shown["body"] = raw["body"]
        shown["format"] = raw["format"]
    shown["body_html"] = raw["body_html"]
    shown["state"] = raw["state"]
    shown["created_at"] = raw["created_at"]
    shown["edited_at"] = raw["edited_at"]
    shown["answered_revision"] = raw.get("answered_revision")
    shown["reply_count"] = raw["reply_count"]
    shown["replies"] = {"items": [], "next": raw["replies"]["next"]}
    return shown


def comment_list(raw: Json, people: Mapping[str, Json]) -> Json:
    """Return a list of comments."""
    return {"items": [comment(item, people) for item in raw["items"]], "next": raw["next"]}


def comment_authors(items: Iterable[Json]) -> set[str]:
    """Return the ids of the authors of these comments and all replies in them."""
    needed: set[str] = set()
    waiting = list(items)
    while waiting:
        item = waiting.pop()
        if item["author_id"] is not None:
            needed.add(item["author_id"])
        waiting.extend(item["replies"]["items"])
    return needed


def absolute(public_url: str, path: str | None) -> str | None:
    """Return the URL of a path of this site; None without one."""
    return None if path is None else public_url.rstrip("/") + path


def profile(raw: Json, comment_count: int | None, public_url: str) -> Json:
    """Return the public profile of a person."""
    return {
        "id": raw["id"],
        "name": raw["name"],
        "avatar_url": absolute(public_url, raw["avatar_url"]),
        "about": raw.get("about"),
        "created_at": raw["created_at"],
        "comment_count": comment_count,
    }


def me(raw: Json, public_url: str) -> Json:
    """Return a person's own profile."""
    names = ("id", "name", "email", "email_confirmed", "avatar_url", "roles", "created_at")
    more = {"avatar_url": absolute(public_url, raw["avatar_url"]), "about": raw.get("about")}
    return {name: raw[name] for name in names} | more


def open_session(raw: Json, current: str | None) -> Json:
    """Return an open session of a person, who uses the `current` one."""
    shown = {name: raw[name] for name in ("id", "created_at", "last_used_at", "user_agent")}
    return shown | {"current": raw["id"] == current}


def session(raw: Json, public_url: str) -> Json:
    """Return the tokens of a session, and whose it is."""
    return raw | {"person": me(raw["person"], public_url)}


def exported_post(raw: Json, public_url: str) -> Json:
    """Return a post of any status as its author takes it along."""
    names = ("id", "kind", "slug", "title", "body", "format", "excerpt", *POST_AFTER_AUTHOR)
    return {name: raw[name] for name in names} | {
        "url": post_url(public_url, raw["slug"]),
        "cover_url": image_url(public_url, raw.get("cover")),
    }


def exported_revision(raw: Json) -> Json:
    """Return a revision of a post as its author takes it along."""
    return {"post_id": raw["post_id"]} | revision(raw)


def exported_comment(raw: Json) -> Json:
    """Return a comment in any state as its author takes it along."""
    names = ("id", "post_id", "parent_id", "body", "format", "state", "created_at", "edited_at")
    return {name: raw[name] for name in (*names, "answered_revision", "imported")}


def follow(raw: Json) -> Json:
    """Return a discussion that a person follows."""
    return {name: raw[name] for name in ("post_id", "since")}


def notification(raw: Json) -> Json:
    """Return one notification."""
    return {
        name: raw[name]
        for name in ("id", "comment_id", "post_id", "reasons", "state", "why", "created_at", "sent_at", "read")
    }


def explanation(raw: Json) -> Json:
    """Return why a person was, or was not, notified of a comment."""
    return {
        name: raw[name]
        for name in ("comment_id", "post_id", "state", "reasons", "why", "text", "created_at", "sent_at")
    }


def mail(raw: Json) -> Json:
    """Return which mail a person gets."""
    return {name: raw[name] for name in ("notifications", "scope", "moderation")}
