"""Describe a post and its discussion to search engines, as JSON-LD of schema.org's `DiscussionForumPosting`."""

import orjson

from services.gateway.composition.request_context import Json
from services.gateway.languages import gettext


def discussion_data(post: Json, comment_count: int | None) -> str:
    """Return JSON that may stand inside a `script` element: without `<`, so that nothing can end the element."""
    author = {"@type": "Person", "name": post["author"]["name"] or gettext("Somebody")}
    data: Json = {
        "@context": "https://schema.org",
        "@type": "DiscussionForumPosting",
        "@id": f"urn:uuid:{post['id']}",
        "url": post["url"],
        "headline": post["title"] or gettext("Untitled"),
        "text": post["excerpt"],
        "author": author,
        "datePublished": post["published_at"],
        "dateModified": post["edited_at"] or post["published_at"],
    }
    if comment_count is not None:
        data["interactionStatistic"] = {
            "@type": "InteractionCounter",
            "interactionType": "https://schema.org/CommentAction",
            "userInteractionCount": comment_count,
        }
    return orjson.dumps(data).decode().replace("<", "\\u003c")
