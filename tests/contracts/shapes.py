"""Fields of every public representation, and the checks that hold for every answer."""

import re
from typing import Any
from uuid import UUID

from tests.client import HttpResponse

AUTHOR = {"id", "name", "avatar_url"}
COMMENT_AUTHOR = AUTHOR | {"is_post_author"}
POST_IN_LIST = {
    *("id", "kind", "slug", "url", "title", "format", "excerpt", "author", "status", "discussion", "created_at"),
    *("published_at", "edited_at", "edit_note", "revision", "cover_url", "comment_count"),
    *("tags", "word_count", "publish_at"),
}
POST = POST_IN_LIST | {"body", "body_html"}
COMMENT = {
    *("id", "post_id", "parent_id", "depth", "author", "body_html", "state", "created_at", "edited_at"),
    *("answered_revision", "reply_count", "replies"),
}
MY_COMMENT = COMMENT | {"body", "format"}
PAGE = {"post", "comments", "comment_count", "viewer", "unavailable"}
VIEWER = AUTHOR | {"roles", "can_comment", "can_moderate", "can_edit_post", "unread"}
PROFILE = AUTHOR | {"about", "created_at", "comment_count"}
ME = {"id", "name", "email", "email_confirmed", "avatar_url", "about", "roles", "created_at"}
EXPORT = {
    *("exported_at", "me", "sessions", "posts", "revisions", "images", "comments", "mail", "follows", "notifications")
}
OPEN_SESSION = {"id", "created_at", "last_used_at", "user_agent", "current"}
SESSION = {"access_token", "token_type", "expires_in", "refresh_token", "person"}
IMAGE = {"id", "url", "width", "height"}
REVISION = {"revision", "title", "body", "edit_note", "created_at"}
NOTIFICATION = {"id", "comment_id", "post_id", "reasons", "state", "why", "created_at", "sent_at", "read"}
MAIL = {"notifications": True, "scope": "all", "moderation": "hourly"}
EXPLANATION = {"comment_id", "post_id", "state", "reasons", "why", "text", "created_at", "sent_at"}

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TAG = re.compile(r'"\d+-[A-Za-z0-9_-]+"')
EXPOSED = {
    *("ETag", "Link", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID"),
    "Idempotency-Replayed",
}


def is_id(value: Any) -> bool:
    return isinstance(value, str) and value == str(UUID(value)) and UUID(value).version == 7


def check_times(thing: dict[str, Any]) -> None:
    for name, value in thing.items():
        if name.endswith("_at") and value is not None:
            assert TIME.fullmatch(value), (name, value)


def check_cors(answer: HttpResponse) -> None:
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")} == EXPOSED


def check_read(answer: HttpResponse, *, private: bool = False) -> None:
    """Check the headers of a 200 of a GET under /v1."""
    assert answer.status == 200, answer.body
    assert TAG.fullmatch(answer.headers["ETag"])
    assert {name.strip() for name in answer.headers["Vary"].split(",")} == {
        *("Authorization", "Cookie", "Accept-Encoding"),
    }
    assert answer.headers["Cache-Control"] == ("private, no-cache" if private else "public, no-cache")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-ID"]
    check_cors(answer)


def check_problem(answer: HttpResponse, status: int, kind: str) -> None:
    """Check a 4xx or 5xx under /v1."""
    assert (answer.status, answer.json and answer.json["type"]) == (status, f"/problems/{kind}"), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["title"]
    assert answer.json["detail"]
    assert answer.json["instance"] == answer.headers["X-Request-ID"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("errors" in answer.json) == (kind == "invalid")
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    check_cors(answer)


def check_invalid(answer: HttpResponse, *fields: str) -> None:
    check_problem(answer, 422, "invalid")
    assert {error["field"] for error in answer.json["errors"]} == set(fields), answer.body
    assert all(error["message"] for error in answer.json["errors"])
