"""The mail about one comment to one person: its headers and its two bodies."""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from uuid import UUID
from weakref import WeakKeyDictionary

import jinja2
from markupsafe import Markup

from services.chassis.mail import html_page, message
from services.chassis.mail.sender import Sender
from services.chassis.mail.subjects import without_answer_marks
from services.chassis.text.html_to_text import plain
from services.chassis.text.inert import inert
from services.contracts.characters import is_visible, isolated, without_unwanted
from services.contracts.faces import ground, letter
from services.contracts.links import comment_path, post_path
from services.contracts.shortening import shortened
from services.notify.domain import Claimed, in_mails
from services.notify.objections import Answers, CommentNow, Waiting, WaitingComment
from services.notify.tokens import Tokens

MOST_ANCESTORS = 10
MOST_LINES = 20  # of a mail that tells a moderator what waits
LONGEST_TITLE = 240  # so that a subject has room for more than the title
LONGEST_COMMENTER = 100
LONGEST_SITE = 40  # behind the name of the commenter; both together are shorter than the longest display name
COLUMNS = 76
MOST_QUOTED = 12_000  # a comment has 10,000 characters, but its marks and addresses may be many
UNTITLED = "a post without a title"
NAMELESS = "Somebody"


@dataclass(frozen=True)
class PreparedMail:
    """A mail whose bytes are frozen into its row, and what they were built from.

    Attributes:
        reused: the bytes are those of an earlier attempt, whose outcome is unknown.
        frozen_at: the time before they were frozen, on the monotonic clock; notify's own part was read after it.
        named: the waiting comments that they name to a moderator.
    """

    claimed: Claimed
    answers: Answers
    recipient: str
    address_version: int
    content: bytes
    reused: bool
    frozen_at: float
    named: frozenset[UUID] = frozenset()


@dataclass(frozen=True)
class _Rendering:
    """What a comment says, as text and as HTML; links in the text are relative to the page."""

    page: str
    quoted: str
    html: Markup


class MessageBuilder:
    """Builds notification messages.

    Args:
        public_url: where people reach the site.
    """

    def __init__(self, *, sender: Sender, public_url: str, tokens: Tokens) -> None:
        self.sender = sender.address
        self._site, self._domain = sender.site, sender.domain
        self._public_url = public_url.rstrip("/")
        self._tokens = tokens
        self._renderings: WeakKeyDictionary[CommentNow, _Rendering] = WeakKeyDictionary()
        folder = files("services.notify") / "templates"
        text = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701  # plain text
        page = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True)
        self._text, self._moderation_text = (
            text.from_string((folder / name).read_text()) for name in ("notification.txt", "moderation.txt")
        )
        self._html, self._moderation_html = (
            page.from_string(
                html_page.template(
                    "{{ title }}", (folder / name).read_text(), site="{{ site }}", mark="{{ mark }}", hue=sender.hue
                ),
                globals={"site": sender.site, "mark": letter(sender.site)},
            )
            for name in ("notification.html", "moderation.html")
        )
        for template in (self._text, self._moderation_text, self._html, self._moderation_html):
            template.globals = dict(template.globals)  # every rendering copies them, one by one out of a ChainMap

    def message_id(self, claimed: Claimed) -> str:
        """Return the Message-ID of the mail: the same for every attempt."""
        return self._tokens.message_id(claimed.about, claimed.comment_id, claimed.person_id)

    def build(self, claimed: Claimed, answers: Answers, recipient: str) -> bytes:
        """Build the whole message as of now, all its headers and bodies.

        Raises:
            Unsafe: the message would not contain what was meant.
        """
        if answers.waiting is not None:
            return self._moderation_mail(claimed, answers.waiting, recipient)
        comment, post = answers.comment, answers.post
        assert comment is not None and post is not None
        commenter = _shown_or(message.header_text(answers.commenter_name or "", LONGEST_COMMENTER), NAMELESS)
        title = _title(post.title)
        deed, because = in_mails(claimed.reasons)
        token = self._tokens.unsubscribe(claimed.person_id)
        unsubscribe_url = f"{self._public_url}/unsubscribe/{token}"
        said = self._rendered(comment, self._public_url + post_path(post.slug))
        words = {
            "commenter": commenter,
            "title": title,
            "deed": deed,
            "because": because,
            "url": self._public_url + comment_path(post.slug, claimed.comment_id),
            "choices_url": f"{self._public_url}/mail/{token}",
            "unsubscribe_url": unsubscribe_url,
        }
        return message.compose(
            sender=message.Mailbox(self.sender, f"{commenter} (via {shortened(self._site, LONGEST_SITE)})"),
            recipient=message.Mailbox(recipient),
            subject=_subject(title if answers.thread_title is None else _title(answers.thread_title)),
            message_id=self.message_id(claimed),
            date=datetime.now(UTC),
            text=self._text.render(
                words | {"commenter": isolated(commenter), "title": isolated(title)},
                quoted=said.quoted,
            ),
            html=self._html.render(
                words,
                face=ground(str(claimed.author_id or claimed.comment_id)),
                letter=letter(commenter),
                said=said.html,
            ),
            headers=[
                *self._thread(claimed, comment),
                ("List-Id", message.list_id(self._site, f"notifications.{self._domain}")),
                ("List-Unsubscribe", f"<{unsubscribe_url}>"),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
                ("Auto-Submitted", "auto-generated"),
                ("X-Auto-Response-Suppress", "All"),
            ],
        )

    def _moderation_mail(self, claimed: Claimed, waiting: Waiting, recipient: str) -> bytes:
        """Build the mail that tells a moderator what waits. It names who wrote where, and shows no text.

        What nobody has approved is often spam: in a mail it would be spam that we send, and outlive its removal.
        """
        token = self._tokens.stop_moderation(claimed.person_id)
        unsubscribe_url = f"{self._public_url}/unsubscribe/{token}"
        total = max(waiting.total, len(waiting.comments))
        subject = "1 comment waits for approval" if total == 1 else f"{total} comments wait for approval"
        lines = [self._line(comment) for comment in waiting.comments[:MOST_LINES]]
        words = {
            "title": subject,
            "more": total - len(lines),
            "queue_url": f"{self._public_url}/moderate",
            "choices_url": f"{self._public_url}/mail/{token}",
            "unsubscribe_url": unsubscribe_url,
        }
        isolating = [line | {name: isolated(line[name]) for name in ("author", "post")} for line in lines]
        return message.compose(
            sender=message.Mailbox(self.sender, shortened(self._site, LONGEST_SITE)),
            recipient=message.Mailbox(recipient),
            subject=subject,
            message_id=self.message_id(claimed),
            date=datetime.now(UTC),
            text=self._moderation_text.render(words, lines=isolating),
            html=self._moderation_html.render(words, lines=lines),
            headers=[
                ("List-Id", message.list_id(self._site, f"moderation.{self._domain}")),
                ("List-Unsubscribe", f"<{unsubscribe_url}>"),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
                ("Auto-Submitted", "auto-generated"),
                ("X-Auto-Response-Suppress", "All"),
            ],
        )

    def _rendered(self, comment: CommentNow, page: str) -> "_Rendering":
        """Render what was said, once for all mails about the comment that were asked about together."""
        known = self._renderings.get(comment)
        if known is None or known.page != page:
            known = _Rendering(page, _quoted(comment.body_html, page), _said(comment.body_html))
            self._renderings[comment] = known  # as long as their answers live
        return known

    def _line(self, comment: WaitingComment) -> dict[str, str]:
        return {
            "author": _shown_or(message.header_text(comment.author_name, LONGEST_COMMENTER), NAMELESS),
            "post": _title(comment.post.title),
            "when": f"{comment.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            "url": self._public_url + comment_path(comment.post.slug, comment.comment_id),
        }

    def _thread(self, claimed: Claimed, comment: CommentNow) -> list[tuple[str, str]]:
        """Return In-Reply-To and References: the root of the post's thread, then the comments above, oldest first.

        They are the ids of this recipient's mails about those comments, sent or not; of each those by every secret,
        because nobody knows here by which one it was sent.
        """
        line = [("post", claimed.post_id), *(("comment", one) for one in comment.ancestors[-MOST_ANCESTORS:])]
        references = [" ".join(self._tokens.message_ids(kind, one, claimed.person_id)) for kind, one in line]
        return [("In-Reply-To", references[-1]), ("References", " ".join(references))]


def _shown_or(line: str, substitute: str) -> str:
    return line if is_visible(line) else substitute


def _title(title: str) -> str:
    return _shown_or(message.header_text(title, LONGEST_TITLE), UNTITLED)


def _subject(title: str) -> str:
    """Return the subject of every mail of a thread: one `Re:`, and the title that the thread is named after."""
    return f"Re: {isolated(_shown_or(without_answer_marks(title), UNTITLED))}"


def _said(body_html: str) -> Markup:
    return Markup(inert(without_unwanted(body_html)))  # noqa: S704  # fresh from the sanitiser


def _quoted(body_html: str, page: str) -> str:
    quotation = plain(f"<blockquote>{body_html}</blockquote>", columns=COLUMNS, most=MOST_QUOTED, base=page)
    return without_unwanted(quotation)
