"""The first pass over an export: counts, authors, files and the blog's identity, before anything is imported."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from services.operator.failures import Failed
from services.operator.wordpress import rules
from services.operator.wordpress.code import with_code_escaped
from services.operator.wordpress.links import comments_linked_in
from services.operator.wordpress.players import Attachment
from services.operator.wordpress.reader import Record, records
from services.operator.wordpress.shortcodes import names_in

VERSION = re.compile(r"1\.[0-2](\.\d+)?")


@dataclass
class Survey:
    """The contents of an export.

    Attributes:
        blog: the address of the blog.
        site: its identity, under which imports are repeated.
        attachments: its files by their ids.
        uploads: the ids of the files that were uploaded for a post, by the id of that post.
        shortcodes: names that are shortcodes somewhere in the file.
        linked_comments: the ids of comments that texts lead to.
    """

    blog: str = ""
    version: str = ""
    authors: list[Record] = field(default_factory=list)
    items: int = 0
    comments: int = 0
    written: datetime | None = None
    attachments: dict[str, Attachment] = field(default_factory=dict)
    uploads: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    shortcodes: set[str] = field(default_factory=set)
    linked_comments: set[str] = field(default_factory=set)

    @property
    def site(self) -> str:
        return rules.site_of(self.blog)


def survey(path: Path, blog: str = "") -> Survey:
    """Read the whole file once and return its survey.

    Args:
        blog: the address of the blog, if it is not to be taken from the file.

    Raises:
        Failed: the file is broken, hostile or not a WordPress export of a known version.
    """
    found, is_wordpress, shown_by_items = Survey(blog), False, ""
    for record in records(path):
        if record.kind == "channel":
            found.blog, found.version = found.blog or rules.address_of(record), record.get("wp:wxr_version")
            found.written = rules.moment_of(record, "")
        elif record.kind == "author":
            found.authors.append(record)
        else:
            found.items += 1
            found.comments += len(record.comments)
            is_wordpress = is_wordpress or bool(record.get("wp:post_type"))
            shown_by_items = shown_by_items or rules.address_of(record)
            _note_texts_and_files(record, found)
    found.blog = found.blog or shown_by_items
    if not found.version and not is_wordpress:
        raise Failed(f"{path} is not a WordPress export: it is a feed without WordPress's own elements.")
    if found.version and not VERSION.fullmatch(found.version):
        raise Failed(f"{path} is a WordPress export of version {found.version[:20]}; known are 1.0, 1.1 and 1.2.")
    if not found.site:
        raise Failed(f"{path} does not say which blog it comes from: name its address with --site https://….")
    return found


def _note_texts_and_files(item: Record, found: Survey) -> None:
    for comment in item.comments:
        found.linked_comments |= comments_linked_in(comment.get("wp:comment_content"))
    if item.get("wp:post_type") in rules.KINDS:
        found.linked_comments |= comments_linked_in(item.get("content:encoded"))
        found.shortcodes |= names_in(with_code_escaped(item.get("content:encoded")))
    elif address := item.get("wp:attachment_url"):
        number, parent = item.get("wp:post_id"), item.get("wp:post_parent")
        found.attachments.setdefault(number, Attachment(address, item.get("excerpt:encoded")))
        found.uploads[parent].append(number)
