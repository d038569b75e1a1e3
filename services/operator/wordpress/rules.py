"""Mapping of WordPress items and comments to Rapport. Pure: no I/O.

Nothing becomes public that was not public in WordPress: an item is published only if it was published, without a
password and without a future date; a comment is visible only if it was approved.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import nh3

from services.chassis.text.tokens import resolved
from services.contracts.characters import LINE_BREAKS, is_visible, without_unwanted
from services.contracts.comments import DEEPEST
from services.contracts.tags import LONGEST as LONGEST_TAG
from services.contracts.tags import MOST_TAGS, RELATIVE, without_doubles
from services.contracts.text import readable
from services.operator.wordpress.reader import Record

KINDS: dict[str, Literal["post", "page"]] = {"post": "post", "page": "page"}
HIDDEN = {"draft": "draft", "pending": "pending", "future": "scheduled", "private": "private"}
DISCUSSIONS: dict[str, Literal["open", "closed"]] = {"open": "open", "registered_only": "open"}
ADDRESS = re.compile(r"https?://([^/?#\s@]{1,260})(/[^?#\s]{0,200})?", re.IGNORECASE)
NUMBERED = re.compile(r"(https?://[^?#\s]{1,460}/)(?:index\.php)?\?(?:p|page_id|attachment_id)=\d", re.IGNORECASE)
HOST = re.compile(r"https?://[^/?#\s@]{1,260}/?", re.IGNORECASE)
STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)")
FEED_DATE = re.compile(r"(\w{3}, )?\d{1,2} \w{3} \d{4} \d\d:")  # a draft has one in the year -0001
NOT_IN_TAGS = re.compile(rf"[/,]|{LINE_BREAKS.pattern}")


@dataclass(frozen=True)
class Decision:
    """The mapping of an item or a comment.

    Attributes:
        label: the line of the report that counts it.
        status: `published` or `draft` for an item, `visible` or `held` for a comment; None if it is not imported.
    """

    label: str
    status: Literal["published", "draft", "visible", "held"] | None = None


def decide_item(item: Record, now: datetime) -> Decision:
    kind, status = item.get("wp:post_type"), item.get("wp:status")
    if kind not in KINDS:
        return Decision(f"skipped: {_word(kind) or 'without a type'}")
    if status == "trash":
        return Decision(f"skipped: {kind} in the trash")
    if status == "auto-draft":
        return Decision(f"skipped: {kind} never saved")
    if status != "publish":
        return Decision(f"{kind}, as a draft: {HIDDEN.get(status) or _word(status) or 'without a status'}", "draft")
    if _has_password(item):
        return Decision(f"{kind}, as a draft: password-protected", "draft")
    if (moment := moment_of(item, "wp:post_date")) is not None and moment > now:
        return Decision(f"{kind}, as a draft: scheduled", "draft")
    return Decision(f"{kind}, published", "published")


def _has_password(item: Record) -> bool:
    """Return whether the item has a password. Blanks alone are a password, but line ends come from formatting."""
    password = item.fields.get("wp:post_password", "")
    return bool(password) and (bool(password.strip()) or "\n" not in password)


def decide_comment(comment: Record, item: Decision) -> Decision:
    kind, approved = comment.get("wp:comment_type"), comment.get("wp:comment_approved")
    if kind in ("pingback", "trackback"):
        return Decision(f"skipped: {kind}")
    if kind not in ("", "comment"):
        return Decision(f"skipped: {_word(kind)}, which is not a comment")
    if approved == "spam":
        return Decision("skipped: spam")
    if approved in ("trash", "post-trashed"):
        return Decision("skipped: trash")
    if item.status is None:
        return Decision("skipped: of an item that was skipped")
    return Decision("visible", "visible") if approved == "1" else Decision("held", "held")


def _word(text: str) -> str:
    """Return a type or status from the file, made safe for a line of the report."""
    return re.sub(r"[^\w.-]+", " ", text).strip()[:40]


def discussion_of(item: Record) -> Literal["open", "closed"]:
    return DISCUSSIONS.get(item.get("wp:comment_status"), "closed")


def moment_of(record: Record, name: str) -> datetime | None:
    """Return the time of writing: in UTC if the file has it, else by the blog's clock, else by the feed."""
    for text in (record.get(name + "_gmt"), record.get(name)):
        if (match := STAMP.match(text)) is not None:
            try:
                return datetime.strptime(match[0].replace("T", " ") + "+0000", "%Y-%m-%d %H:%M:%S%z")
            except ValueError:
                continue  # 0000-00-00, the date of a draft
    if not FEED_DATE.match(record.get("pubDate")):
        return None
    try:
        moment = parsedate_to_datetime(record.get("pubDate"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def plain_text(text: str) -> str:
    """Return a title or name, which WordPress stores as HTML, as plain text."""
    return resolved(nh3.clean(text, tags=set()))


def tags_of(item: Record) -> list[str]:
    """Return the first of an item's categories and tags, as far as tags here can say the same."""
    names = (readable(plain_text(name).replace("\0", "")) for name in item.categories)
    tags = (" ".join(NOT_IN_TAGS.sub(" ", name).split())[:LONGEST_TAG].rstrip() for name in names)
    return without_doubles([tag for tag in tags if is_visible(tag) and tag not in RELATIVE])[:MOST_TAGS]


def address_of(record: Record) -> str:
    """Return the address of the blog as its channel says it, or as an item of it shows it; empty if it does not.

    The address of the blog precedes that of the site, which all blogs of one network share. The permanent address of an
    item, `http://blog/?p=1`, begins with that of the blog; any other shows only its host.
    """
    if record.kind == "channel":
        given = (record.get(name) for name in ("wp:base_blog_url", "link", "wp:base_site_url"))
        return next((one for one in given if ADDRESS.match(one)), "")
    given = (record.get(name) for name in ("guid", "link"))
    found = [match[1] for one in given if (match := NUMBERED.match(one))]
    found += [match[0] for name in ("link", "guid") if (match := HOST.match(record.get(name)))]
    return next(iter(found), "")


def site_of(address: str) -> str:
    """Return the blog's address without scheme and trailing slash, so that moving to https keeps the identity."""
    match = ADDRESS.match(address)
    return match[1].lower() + (match[2] or "").rstrip("/") if match is not None else ""


@dataclass(frozen=True)
class Writer:
    """An author, identified by the blog's own user id, else by address and name; never by the address alone."""

    user_id: str | None
    name: str
    email: str


def writer_of_item(item: Record, authors: dict[str, Record]) -> Writer:
    login = _login(item.get("dc:creator"))
    author = authors.get(login.lower())
    if author is None:
        return Writer(f"login:{login.lower()}" if login else None, login, "")
    author_id = author.get("wp:author_id")
    return Writer(
        f"user:{author_id}" if author_id else f"login:{login.lower()}",
        plain_text(author.get("wp:author_display_name")) or login,
        author.get("wp:author_email"),
    )


def authors_by_login(authors: Iterable[Record]) -> dict[str, Record]:
    return {_login(author.get("wp:author_login")).lower(): author for author in authors}


def names_by_id(authors: Iterable[Record]) -> dict[str, str]:
    """Return the names under which the accounts of the file are shown, by their ids."""
    return {
        author.get("wp:author_id"): plain_text(author.get("wp:author_display_name")) or author.get("wp:author_login")
        for author in authors
    }


def _login(text: str) -> str:
    """Return a login without the characters that only badly edited exports contain."""
    return text.strip("<>\"'` \t\r\n")


def writer_of_comment(comment: Record, accounts: dict[str, str]) -> Writer:
    """Return the writer under the name that the comment shows, which need not be that of the account.

    Args:
        accounts: names of accounts by their ids; a writer of that name is the author of that account's posts.
    """
    user_id = comment.get("wp:comment_user_id")
    name, email = resolved(comment.get("wp:comment_author")), comment.get("wp:comment_author_email")
    if user_id in ("", "0"):
        return Writer(None, name, email)
    account = accounts.get(user_id)
    if not name or name == account:
        return Writer(f"user:{user_id}", name or account or "", email)
    return Writer(f"user:{user_id} as {without_unwanted(name)[:300]}", name, email)


@dataclass(frozen=True)
class Placed:
    """A comment and the id of its parent, if the parent is imported too.

    `moved` says why the comment got another place: its parent is missing, or deeper than the greatest depth.
    """

    comment: Record
    source_id: str
    parent_id: str | None
    moved: str | None


def in_order(comments: list[tuple[str, Record]]) -> list[Placed]:
    """Return the comments of one item, given with their ids, each after its parent, in any order of the file.

    A comment whose parent is missing or below itself moves to the top; one deeper than `DEEPEST` moves to that depth.
    """
    by_id = dict(comments)
    placed: list[Placed] = []
    lineage: dict[str, tuple[str, ...]] = {}  # ids from the top-level comment down to each placed comment
    for source_id in by_id:
        chain: dict[str, None] = {}
        current = source_id
        while current in by_id and current not in lineage and current not in chain:
            chain[current] = None
            current = _parent(by_id[current])
        placed.extend(_place(link, by_id[link], lineage) for link in reversed(chain))
    return placed


def _parent(comment: Record) -> str:
    parent = comment.get("wp:comment_parent")
    return "" if parent == "0" else parent


def _place(source_id: str, comment: Record, lineage: dict[str, tuple[str, ...]]) -> Placed:
    parent, moved = _parent(comment), None
    above = lineage.get(parent, ())
    if parent and not above:
        moved = "shown at the top level, because the comment above is not in the file or was skipped"
    if len(above) > DEEPEST:
        above, moved = above[:DEEPEST], f"shown at depth {DEEPEST}, below which there are no replies"
    lineage[source_id] = (*above, source_id)
    return Placed(comment, source_id, above[-1] if above else None, moved)
