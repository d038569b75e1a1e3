"""The mail about one comment to one person: what its headers and its two bodies say."""

import html
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from uuid import UUID

import css_inline
import jinja2
import nh3

from services.chassis import mail
from services.chassis.richtext import plain
from services.notify.domain import ON_YOUR_POST, REPLY_TO_YOU, CommentNow, Facts
from services.notify.leases import Claimed
from services.notify.tokens import Tokens

# What a comment may look like in a mail. No links and no images: what a user wrote must not be clicked or fetched
# from a mail that we vouch for. Their text stays.
SHOWN_TAGS = {
    *("b", "blockquote", "br", "code", "dd", "del", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr"),
    *("i", "li", "ol", "p", "pre", "s", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
MOST_REFERENCES = 12

DEEDS = {REPLY_TO_YOU: "answered you under", ON_YOUR_POST: "commented on your post"}
BECAUSE = {REPLY_TO_YOU: "somebody answered your comment", ON_YOUR_POST: "somebody commented on your post"}


@dataclass(frozen=True)
class Letter:
    """A message ready to be frozen and sent; `content` is all of it, headers first."""

    content: bytes
    message_id: str


class Letters:
    """Writes the mails.

    Args:
        mail_from: name of the site and the address that all notifications come from.
        public_url: where people reach Rapport, without a slash at the end.
    """

    def __init__(self, *, mail_from: str, public_url: str, tokens: Tokens) -> None:
        name, self.sender = parseaddr(mail_from)
        self._site = name or "Rapport"
        self._domain = self.sender.rpartition("@")[2]
        self._public_url = public_url.rstrip("/")
        self._tokens = tokens
        loader = jinja2.PackageLoader("services.notify")
        texts = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        self._text = texts.get_template("notification.txt")  # nosemgrep: text, so nothing to escape
        pages = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
        assert loader is not None
        source, _, _ = loader.get_source(texts, "notification.html")
        inliner = css_inline.CSSInliner(load_remote_stylesheets=False)
        self._html = pages.from_string(inliner.inline(source))
