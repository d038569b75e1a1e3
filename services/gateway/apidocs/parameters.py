"""Parameters of requests and headers of answers, each described once. A test fails where one has no description."""

from typing import Any

Json = dict[str, Any]

PATH: dict[str, str] = {
    "ref": "The post: its id, or its slug, percent-encoded. What has the form of a UUID is an id.",
    "post_id": "The post: its id, or its slug, percent-encoded. What has the form of a UUID is an id.",
    "number": "The number of the revision; the first is 1.",
    "comment_id": "The id of the comment.",
    "person_id": "The id of the person: `author.id` of what they wrote.",
    "session_id": "The id of the session, as your open sessions are listed.",
}

QUERY: dict[str, Json] = {
    "cursor": {
        "schema": {"type": "string"},
        "description": "Where the page begins: `next` of the page before, unchanged. Without it, or empty, the list "
        "begins. A cursor belongs to one list and one `sort`; anywhere else it is refused as `malformed-cursor`. It "
        "has no meaning to a client and does not expire.",
        "example": "eyJ0aGUiOiJuZXh0IHBhZ2UifQ",
    },
    "limit": {
        "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
        "description": "The most entries of the page. It may change from page to page. Of a tree it counts the outer "
        "list only. Another value is refused, never clamped.",
        "example": 50,
    },
    "sort": {
        "schema": {"type": "string", "enum": ["oldest", "newest"], "default": "oldest"},
        "description": "The order of the comments at the top, by the time at which they were posted. Replies are "
        "always oldest first.",
        "example": "newest",
    },
    "status": {
        "schema": {
            "type": "string",
            "enum": ["draft", "scheduled", "published", "withdrawn"],
            "default": "published",
        },
        "description": "Which posts to list. All but `published` need a sign-in (401) and list your own posts; to an "
        "admin, everybody's.",
        "example": "withdrawn",
    },
    "tag": {
        "schema": {"type": "string", "minLength": 1, "maxLength": 50},
        "description": "Only posts with this tag, in any case of letters.",
        "example": "Letters",
    },
    "author": {
        "schema": {"type": "string", "pattern": "^(me|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$"},
        "description": "Only posts of this person: an id, or `me`, which needs a sign-in (401).",
        "example": "me",
    },
    "kind": {
        "schema": {"type": "string", "enum": ["post", "page"], "default": "post"},
        "description": "Which kind of posts to list.",
        "example": "page",
    },
    "state": {
        "schema": {"type": "string", "enum": ["held", "rejected", "removed"]},
        "required": True,
        "description": "Which comments to list: `held` ones wait for a moderator, oldest first; `rejected` ones were "
        "removed by a moderator or a rule; `removed` are all removed ones that moderators may still read. These two "
        "are listed newest first; what its author removed is in neither, because its text is gone.",
        "example": "held",
    },
    "post": {
        "schema": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100},
        "required": True,
        "description": "A post, by id or slug; once for each post.",
        "example": ["01936f6e-0000-7000-8000-000000000004", "rain-on-the-beans"],
    },
    "against": {
        "schema": {"type": "integer", "minimum": 1, "maximum": 2147483647},
        "description": "Another revision of the post: `diff` leads from its text to this one.",
        "example": 1,
    },
    "comment": {
        "schema": {"type": "string", "format": "uuid"},
        "required": True,
        "description": "The id of the comment that a mail was, or was not, sent about.",
        "example": "01936f6e-0000-7000-8000-000000000005",
    },
}

HEADER: dict[str, Json] = {
    "Idempotency-Key": {
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        "description": "A name of your choice for this request, such as a UUID. Repeated with the same method, path "
        "and body within 24 hours it is carried out once: the repetition gets the first answer, with "
        "`Idempotency-Replayed: true`. With something else it is refused as `idempotency-key-reused`. Keys count per "
        "person, and only successes are kept.",
        "example": "5f0c7a52-3c1b-4a8e-9d43-0b7a2f6f7e11",
    },
    "If-Match": {
        "schema": {"type": "string"},
        "description": "The `ETag` of the thing as you read it: if it has changed since, the request is refused as "
        "`stale`. Only the version in the tag is compared.",
        "example": '"1-qX8mZ2v0RkE"',
    },
    "If-None-Match": {
        "schema": {"type": "string"},
        "description": "The `ETag` of the copy that you have: if it is still the same, the answer is 304 without a "
        "body.",
        "example": '"1-qX8mZ2v0RkE"',
    },
}

ANSWER_HEADER: dict[str, Json] = {
    "X-Request-ID": {
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "description": "The id of this request, for logs and questions: yours, if the request had an acceptable one.",
        "example": "8d7f3a0c2b9e4f61",
    },
    "ETag": {
        "schema": {"type": "string"},
        "description": 'Names these very bytes, strongly: `"<version>-<digest>"`. For `If-None-Match`, and for '
        "`If-Match` when the thing is to be changed.",
        "example": '"1-qX8mZ2v0RkE"',
    },
    "Cache-Control": {
        "schema": {"type": "string"},
        "description": "`public, no-cache` without a sign-in, `private, no-cache` with one: keep it, and ask with "
        "`If-None-Match` before each use. `no-store` when a part is missing.",
        "example": "public, no-cache",
    },
    "Vary": {
        "schema": {"type": "string"},
        "description": "What the answer depends on, for caches.",
        "example": "Authorization, Cookie, Accept-Encoding",
    },
    "Link": {
        "schema": {"type": "string"},
        "description": 'The next page (RFC 8288, `rel="next"`), the same as `next`; absent on the last one.',
        "example": '</v1/posts?cursor=eyJsIjoicG9zdHMifQ>; rel="next"',
    },
    "Location": {
        "schema": {"type": "string", "format": "uri-reference"},
        "description": "The absolute path of what was created, or of where it is now.",
        "example": "/v1/comments/01936f6e-0000-7000-8000-000000000001",
    },
    "Idempotency-Replayed": {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "Present when nothing was done, because it was done before: this is the first answer again.",
        "example": "true",
    },
    "RateLimit": {
        "schema": {"type": "string"},
        "description": "Requests that remain (`r`) and the seconds until they start anew (`t`), for each policy.",
        "example": '"posting";r=119;t=42',
    },
    "RateLimit-Policy": {
        "schema": {"type": "string"},
        "description": "The policies that count this request: at most `q` requests in `w` seconds.",
        "example": '"posting";q=120;w=60',
    },
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 1},
        "description": "Whole seconds to wait before the same request is worth repeating.",
        "example": 42,
    },
    "WWW-Authenticate": {
        "schema": {"type": "string"},
        "description": "How to sign in: with a Bearer token.",
        "example": "Bearer",
    },
}
