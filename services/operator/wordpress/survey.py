"""The first pass over an export: counts, authors and the blog's identity, before anything is imported."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from services.operator.failures import Failed
from services.operator.wordpress import rules
from services.operator.wordpress.reader import Record, records

VERSION = re.compile(r"1\.[0-2](\.\d+)?")


@dataclass
class Survey:
    """The contents of an export."""

    site: str = ""
    version: str = ""
    authors: list[Record] = field(default_factory=list)
    items: int = 0
    comments: int = 0
    written: datetime | None = None


def survey(path: Path) -> Survey:
    """Read the whole file once and return its survey.

    Raises:
        Failed: the file is broken, hostile or not a WordPress export of a known version.
    """
    found, is_wordpress = Survey(), False
    for record in records(path):
        if record.kind == "channel":
            found.site, found.version = rules.site_of(record), record.get("wp:wxr_version")
            found.written = rules.moment_of(record, "")
        elif record.kind == "author":
            found.authors.append(record)
        else:
            found.items += 1
            found.comments += len(record.comments)
            is_wordpress = is_wordpress or bool(record.get("wp:post_type"))
    if not found.version and not is_wordpress:
        raise Failed(f"{path} is not a WordPress export: it is a feed without WordPress's own elements.")
    if found.version and not VERSION.fullmatch(found.version):
        raise Failed(f"{path} is a WordPress export of version {found.version[:20]}; known are 1.0, 1.1 and 1.2.")
    if not found.site:
        raise Failed(f"{path} does not say which blog it comes from: it has neither a base_blog_url nor a link.")
    return found
