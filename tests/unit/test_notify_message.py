"""What stands in the mail about a comment: it threads, can be stopped, and nothing a user wrote is alive in it."""

import html
import itertools
import random
import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from html.parser import HTMLParser
from uuid import uuid4

import pytest

from services.chassis.mail.sender import Sender
from services.contracts.colours import srgb
from services.contracts.faces import ground
from services.notify import message
from services.notify.domain import Claimed
from services.notify.message import MessageBuilder
from services.notify.objections import Answers, CommentNow, Contact, PostNow
from services.notify.settings import NotifySettings
from services.notify.tokens import Tokens

DATABASE = "postgresql://notify@db/notify"
TOKENS = Tokens("s" * 32, "rapport.test")
MESSAGES = MessageBuilder(
    sender=Sender.parse("Rapport <notifications@rapport.test>"), public_url="https://rapport.test/", tokens=TOKENS
)
CLAIMED = Claimed(
    id=uuid4(),
    version=1,
    person_id=uuid4(),
    comment_id=uuid4(),
    post_id=uuid4(),
    author_id=uuid4(),
    reasons=("reply_to_you",),
    lease_token=uuid4(),
    tried_for=None,
    frozen=None,
    frozen_for=None,
    correlation_id=None,
    causation_id=None,
)
GRANDPARENT, PARENT = uuid4(), uuid4()
COMMENT = CommentNow("visible", "<p>I <em>do</em>.</p>", False, 1, (GRANDPARENT, PARENT))
POST = PostNow("published", "On messages", "on-messages")
ANSWERS = Answers(0, Contact("anna@example.com", True, 1), "Ben", COMMENT, POST)
HEADERS = [
    *("From", "To", "Subject", "Message-ID", "Date", "In-Reply-To", "References", "List-Id", "List-Unsubscribe"),
    *("List-Unsubscribe-Post", "Auto-Submitted", "X-Auto-Response-Suppress", "Content-Type", "MIME-Version"),
]


def written(answers: Answers = ANSWERS, claimed: Claimed = CLAIMED) -> EmailMessage:
    content = MESSAGES.build(claimed, answers, "anna@example.com")
    return message_from_bytes(content, policy=policy.default)


def said(body_html: str) -> Answers:
    return replace(ANSWERS, comment=replace(COMMENT, body_html=body_html))


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert found is not None
    return str(found.get_content())


def display_name(content: bytes) -> str:
    """Return the name of the sender; the library's newer parser leaves spaces between encoded words (Python 3.11)."""
    value = "".join(str(message_from_bytes(content)["From"]).splitlines())
    return str(make_header(decode_header(value.rpartition(" <")[0].strip('"'))))


def alive(page: str) -> list[str]:
    """Every address in the page that a mail client would follow or fetch."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value or "" for name, value in attrs if name in ("href", "src", "background", "cite"))

    Reader().feed(page)
    return found


def test_a_mail_has_exactly_these_headers() -> None:
    mail = written()
    assert sorted(mail.keys()) == sorted(HEADERS)
    assert mail["From"] == '"Ben (via Rapport)" <notifications@rapport.test>'
    assert mail["To"] == "anna@example.com"
    assert mail["Subject"] == "Re: On messages"
    assert mail["List-Id"] == '"Rapport" <notifications.rapport.test>'
    token = TOKENS.unsubscribe(CLAIMED.person_id)
    assert mail["List-Unsubscribe"] == f"<https://rapport.test/unsubscribe/{token}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_a_mail_threads_below_the_comment_that_is_answered() -> None:
    mail = written()

    def own(kind: str, subject: object) -> str:
        return TOKENS.message_id(kind, subject, CLAIMED.person_id)  # type: ignore[arg-type]  # ids of both kinds

    assert mail["Message-ID"] == own("comment", CLAIMED.comment_id)
    assert mail["In-Reply-To"] == own("comment", PARENT)
    references = [own("post", CLAIMED.post_id), own("comment", GRANDPARENT), own("comment", PARENT)]
    assert mail["References"].split() == references


def test_a_top_level_comment_threads_below_the_root_of_the_post() -> None:
    mail = written(replace(ANSWERS, comment=replace(COMMENT, ancestors=())))
    root = TOKENS.message_id("post", CLAIMED.post_id, CLAIMED.person_id)
    assert mail["In-Reply-To"] == mail["References"] == root


def test_references_stay_short_in_a_deep_thread() -> None:
    deep = tuple(uuid4() for _ in range(100))
    references = written(replace(ANSWERS, comment=replace(COMMENT, ancestors=deep)))["References"].split()
    assert len(references) == 11
    assert references[-1] == TOKENS.message_id("comment", deep[-1], CLAIMED.person_id)


@pytest.mark.parametrize(
    ("reasons", "deed", "because"),
    [
        (("reply_to_you",), "Ben answered you under", "somebody answered your comment."),
        (("on_your_post",), "Ben commented on your post", "somebody commented on your post."),
        (
            ("reply_to_you", "on_your_post"),
            "Ben answered you under",
            "somebody answered your comment and somebody commented on your post.",
        ),
    ],
)
def test_both_parts_name_the_event_and_the_reason(reasons: tuple[str, ...], deed: str, because: str) -> None:
    mail = written(claimed=replace(CLAIMED, reasons=reasons))
    text, page = part(mail, "plain"), part(mail, "html")
    for phrase in (
        deed,
        because,
        "On messages",
        f"/posts/on-messages?comment={CLAIMED.comment_id}#c-{CLAIMED.comment_id}",
    ):
        assert phrase in text
    assert because in page
    assert "> I do." in text
    assert "<em>do</em>" in page
    assert TOKENS.unsubscribe(CLAIMED.person_id) in text


def test_styles_stand_at_the_elements_and_rules_for_dark_screens_in_the_head() -> None:
    page = part(written(), "html")
    assert '<meta name="viewport"' in page
    assert '<meta name="color-scheme" content="light dark">' in page
    assert page.count("<style") == 1
    assert "prefers-color-scheme: dark" in page
    body = re.search(r"<body style=\"([^\"]*)", page)
    assert body is not None
    assert "overflow-wrap: anywhere" in body[1]


def test_a_mail_wears_the_clothes_of_the_site() -> None:
    builder = MessageBuilder(
        sender=Sender("n@r.test", "<Ink> {{ 7 * 7 }}", 30), public_url="https://r.test", tokens=TOKENS
    )
    page = part(message_from_bytes(builder.build(CLAIMED, ANSWERS, "a@example.com"), policy=policy.default), "html")
    assert "&lt;Ink&gt; {{ 7 * 7 }}" in page
    assert srgb(0.42, 0.12, 30) in page
    mark, face = re.findall(r'<span class="(?:mark|face)" aria-hidden="true" style="([^"]*)">(.)</span>', page)
    assert mark[1] == "I"
    assert face[1] == "B"
    assert ground(str(CLAIMED.author_id)) in face[0]
    assert page.count('class="button"') == 1


def test_nothing_a_user_wrote_can_be_followed_or_fetched() -> None:
    mail = written(
        said(
            '<p><a href="https://evil.example/x" rel="nofollow">my <b>bank</b></a> '
            '<img src="https://evil.example/pixel.gif" alt="a cat">'
            '<blockquote cite="https://evil.example/q">so</blockquote></p>'
            '<table background="https://evil.example/t"><tr><td>cell</td></tr></table>'
        )
    )
    page, text = part(mail, "html"), part(mail, "plain")
    assert len(alive(page)) == 3  # the comment, the choice of mail, the end of it
    assert all(url.startswith("https://rapport.test/") for url in alive(page))
    assert "evil.example" not in page
    assert "my <b>bank</b>" in page
    assert "> my bank (https://evil.example/x) an image: a cat" in text
    assert text.count("evil.example") == 1
    assert "an image: a cat" in page


ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
HEBREW = "דנה כהן"


@pytest.mark.parametrize(
    ("href", "address"),
    [
        ("/posts/x?a=1", "https://rapport.test/posts/x?a=1"),
        ("//h.example/p", "https://h.example/p"),
        ("other", "https://rapport.test/posts/other"),
        ("?comment=1#c-1", "https://rapport.test/posts/a-post?comment=1#c-1"),
        ("../about", "https://rapport.test/about"),
        ("http://h.example/p", "http://h.example/p"),
        ("mailto:a@b.example", "a@b.example"),
    ],
)
def test_links_have_whole_addresses_in_the_text(href: str, address: str) -> None:
    answers = replace(said(f'<p><a href="{href}">here</a></p>'), post=replace(POST, slug="a-post"))
    assert f"> here ({address})" in part(written(answers), "plain").splitlines()


def test_a_link_inside_the_comment_has_no_address_in_the_text() -> None:
    assert "> here" in part(written(said('<p><a href="#fn-1">here</a></p>')), "plain").splitlines()


def test_names_and_titles_are_isolated() -> None:
    title = "שלום! 27"
    mail = written(replace(ANSWERS, commenter_name=HEBREW, post=replace(POST, title=title)))
    assert mail["Subject"] == f"Re: \u2068{title}\u2069"
    assert f"\u2068{HEBREW}\u2069 answered you under “\u2068{title}\u2069”:" in part(mail, "plain")
    page = part(mail, "html")
    assert f"<bdi>{HEBREW}</bdi>" in page
    assert f"“<bdi>{title}</bdi>”" in page
    assert '<p dir="auto">I <em>do</em>' in page


def test_an_isolated_title_ends_however_long_it_is() -> None:
    mail = written(replace(ANSWERS, post=replace(POST, title="ש" * 300)))
    assert mail["Subject"] == "Re: \u2068" + "ש" * 239 + "…\u2069"


def test_names_titles_and_comments_have_wanted_characters_only() -> None:
    hostile = f"a\u202eb\u2066\u2068\ufffe\ufdd0\U000e0041{ENGLAND}\u200f"
    answers = replace(said(f"<p>{hostile}</p>"), commenter_name=hostile, post=replace(POST, title=hostile))
    mail = written(answers)
    kept = f"ab{ENGLAND}\u200f"
    assert mail["Subject"] == f"Re: \u2068{kept}\u2069"
    assert mail["From"].addresses[0].display_name.startswith(f"{kept} (via ")
    assert f"> {kept}" in part(mail, "plain").splitlines()
    assert f'<p dir="auto">{kept}</p>' in part(mail, "html")
    for one in ("\u202e", "\u2066", "\ufffe", "\ufdd0", "\U000e0041"):
        assert one not in part(mail, "plain") + part(mail, "html") + mail["Subject"]


@pytest.mark.parametrize("blank", ["\u200b", "\u2800", "\ufffe", "\u202e"])
def test_a_name_or_title_that_shows_nothing_has_a_substitute(blank: str) -> None:
    mail = written(replace(ANSWERS, commenter_name=blank, post=replace(POST, title=blank)))
    assert mail["From"].addresses[0].display_name == "Somebody (via Rapport)"
    assert mail["Subject"] == "Re: a post without a title"
    assert "Somebody answered you under “a post without a title”" in part(mail, "plain")


@pytest.mark.parametrize("title", ["x", "Re: x", "RE: x", "Re[2]: x", "AW: x", "Antw: x", "Re: Re: x", "re : x"])
def test_a_subject_has_one_re(title: str) -> None:
    mail = written(replace(ANSWERS, post=replace(POST, title=title)))
    assert mail["Subject"] == "Re: x"
    assert f"“{title}”" in part(mail, "plain")


def test_a_title_of_marks_alone_has_a_substitute_in_the_subject() -> None:
    assert written(replace(ANSWERS, post=replace(POST, title="Re:")))["Subject"] == "Re: a post without a title"


def test_a_subject_is_named_after_the_title_of_the_thread() -> None:
    mail = written(replace(ANSWERS, post=replace(POST, title="A new title"), thread_title="Re: The old title"))
    assert mail["Subject"] == "Re: The old title"
    for kind in ("plain", "html"):
        assert "A new title" in part(mail, kind)
        assert "The old title" not in part(mail, kind)


@pytest.mark.parametrize(
    "name", ["a" * 100, "word " * 19 + "ended", "é" * 100, "日" * 100, "👩‍👧" * 33, "(" * 100, "=?" * 80]
)
def test_a_long_name_keeps_what_stands_behind_it(name: str) -> None:
    sender = display_name(MESSAGES.build(CLAIMED, replace(ANSWERS, commenter_name=name), "anna@example.com"))
    assert sender.endswith(" (via Rapport)")
    assert sender.startswith(name[0])
    assert len(sender) > 50


def test_a_long_name_of_the_site_is_cut_before_its_bracket() -> None:
    messages = MessageBuilder(
        sender=Sender.parse(f"{'S' * 200} <n@rapport.test>"), public_url="https://rapport.test", tokens=TOKENS
    )
    answers = replace(ANSWERS, commenter_name="a" * 100)
    sender = display_name(messages.build(CLAIMED, answers, "anna@example.com"))
    assert sender == "a" * 100 + " (via " + "S" * 39 + "…)"


def test_a_name_in_ascii_is_a_quoted_string() -> None:
    content = MESSAGES.build(CLAIMED, ANSWERS, "anna@example.com")
    assert b'From: "Ben (via Rapport)" <notifications@rapport.test>\r\n' in content


@pytest.mark.parametrize("reasons", [("quotes_you",), ("mentions_you", "quotes_you"), ()])
def test_a_reason_of_a_newer_version_has_words(reasons: tuple[str, ...]) -> None:
    text = part(written(claimed=replace(CLAIMED, reasons=reasons)), "plain")
    assert "Ben commented on “On messages”:" in text
    assert "because it concerns you.\n" in text.replace("\r", "")


def test_a_comment_that_becomes_too_long_as_text_is_cut() -> None:
    text = part(written(said("<blockquote>" * 40 + "<p>" + "x<br>" * 4000 + "</p>" + "</blockquote>" * 40)), "plain")
    assert len(text) < 13_000
    assert "[…]" in text
    assert "Read it and answer: https://" in text


HOSTILE = [
    "=?utf-8?q?hi=0ABcc=3A_evil=40x?=",
    "x\r\nBcc: evil@example.com",
    "x\u2028Bcc: evil@example.com",
    '"><script>alert(1)</script>',
    "{{ 7 * 7 }}{% raw %}",
    "Ben\u202e<evil@example.com>",
    '"Anna" <anna@evil.example>, x',
    "a" * 300,
    "日本語" * 30,
    "",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_and_titles_are_only_text(hostile: str) -> None:
    answers = replace(ANSWERS, commenter_name=hostile, post=replace(POST, title=hostile))
    content = MESSAGES.build(CLAIMED, answers, "anna@example.com")
    mail = message_from_bytes(content, policy=policy.default)
    assert sorted(mail.keys()) == sorted(HEADERS)
    assert [box.addr_spec for box in mail["From"].addresses] == ["notifications@rapport.test"]
    assert mail["Subject"].startswith("Re: ")
    page = part(mail, "html")
    assert "<script" not in page
    assert "49" not in part(mail, "plain").partition(">")[0]
    assert all(url.startswith("https://rapport.test/") for url in alive(page))


FRAGMENTS = [
    *("\r\n", "\n", "\r", "\x00", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\ufeff", "\ud800", "\t", " "),
    *("Bcc: evil@example.com", "Content-Type: text/html", "To:", "=?utf-8?q?=0ABcc=3A_x=40y?=", "=?utf-8?b?", "?="),
    *('"', "\\", "<", ">", "<evil@example.com>", ",", ";", "(", ")", ":", "@", ".", "=", "%0a", "&#10;", "\r\n\r\n"),
    *("<script>", "</title>", "{{ url }}", "{% x %}", "é", "日", "👩‍👧", "a\u0301", "x" * 90, "--=_", "From "),
]


def test_no_mixture_of_dangerous_strings_becomes_a_header_or_a_tag() -> None:
    chance = random.Random(20261123)
    for _ in range(1500):
        name, title, text = ("".join(chance.choices(FRAGMENTS, k=chance.randint(1, 8))) for _ in range(3))
        answers = replace(
            ANSWERS,
            commenter_name=name,
            post=replace(POST, title=title),
            comment=replace(COMMENT, body_html=f"<p>{html.escape(text)}</p>".replace("\ud800", "")),
        )
        content = MESSAGES.build(CLAIMED, answers, "anna@example.com")
        mail = message_from_bytes(content, policy=policy.default)
        assert sorted(mail.keys()) == sorted(HEADERS), (name, title)
        assert [box.addr_spec for box in mail["From"].addresses] == ["notifications@rapport.test"]
        assert [box.addr_spec for box in mail["To"].addresses] == ["anna@example.com"]
        assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
        assert "<script" not in part(mail, "html")


def test_template_syntax_in_a_comment_is_only_text() -> None:
    mail = written(said("<p>{{ unsubscribe_url }} {% x %}</p>"))
    assert "{{ unsubscribe_url }} {% x %}" in part(mail, "plain")
    assert "{{ unsubscribe_url }} {% x %}" in part(mail, "html")


def test_a_slug_of_any_script_makes_a_valid_address() -> None:
    mail = written(replace(ANSWERS, post=replace(POST, slug="über-日本")))
    assert f"/posts/%C3%BCber-%E6%97%A5%E6%9C%AC?comment={CLAIMED.comment_id}#c-" in part(mail, "plain")


def test_missing_names_and_titles_have_a_substitute() -> None:
    mail = written(replace(ANSWERS, commenter_name=None, post=replace(POST, title="")))
    assert mail["From"].startswith('"Somebody (via Rapport)"') or "Somebody" in str(mail["From"])
    assert mail["Subject"] == "Re: a post without a title"


@pytest.mark.parametrize("name", ["Zoë’s Café", 'the "best" site', "a <b>", "=?utf-8?q?x?=", "", "日本"])
def test_any_name_of_a_site_gives_valid_headers(name: str) -> None:
    mail_from = f'"{name}" <n@rapport.test>'.replace('"the "best" site"', '"the \\"best\\" site"')
    messages = MessageBuilder(sender=Sender.parse(mail_from), public_url="https://rapport.test", tokens=TOKENS)
    mail = message_from_bytes(messages.build(CLAIMED, ANSWERS, "anna@example.com"), policy=policy.default)
    assert mail["List-Id"].endswith("<notifications.rapport.test>")
    assert [box.addr_spec for box in mail["From"].addresses] == ["n@rapport.test"]


def test_production_needs_an_https_public_url() -> None:
    with pytest.raises(ValueError, match="PUBLIC_URL must be https"):
        NotifySettings(notify_database_url=DATABASE, environment="production", public_url="http://rapport.test")
    settings = NotifySettings(notify_database_url=DATABASE, environment="production", public_url="https://rapport.test")
    assert settings.notify_settle_seconds == 10


def thread_of(mails: list[EmailMessage]) -> set[str]:
    """Return the root of each mail as mail clients that thread by `References` see it (RFC 5256, REFERENCES)."""
    parents: dict[str, str] = {}

    def root(one: str) -> str:
        return root(parents[one]) if one in parents else one

    for mail in mails:
        line = [*mail["References"].split(), mail["Message-ID"]]
        for parent, child in itertools.pairwise(line):
            if child not in parents and root(parent) != child:
                parents[child] = parent
    return {root(mail["Message-ID"]) for mail in mails}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_a_thread_stays_one_while_the_secret_is_replaced(order: tuple[int, ...]) -> None:
    old, new = "s" * 32, "t" * 32
    steps = [Tokens(old, "r.test"), Tokens(old, "r.test", [new]), Tokens(new, "r.test", [old])]
    line, mails = [uuid4() for _ in steps], []
    for depth, tokens in enumerate(steps):
        builder = MessageBuilder(sender=Sender.parse("Rapport <n@r.test>"), public_url="https://r.test", tokens=tokens)
        answers = replace(ANSWERS, comment=replace(COMMENT, ancestors=tuple(line[:depth])))
        claimed = replace(CLAIMED, comment_id=line[depth])
        mails.append(message_from_bytes(builder.build(claimed, answers, "a@example.com"), policy=policy.default))
    assert len({mail["Message-ID"] for mail in mails}) == 3
    assert len(thread_of([mails[place] for place in order])) == 1
    assert mails[1]["Message-ID"] in mails[2]["In-Reply-To"].split()


def test_what_a_comment_says_is_rendered_once_for_the_mails_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the address of its page is another one: links in the text part begin with it."""
    rendered, quoted = [], message._quoted

    def counting(body_html: str, page: str) -> str:
        rendered.append(page)
        return quoted(body_html, page)

    monkeypatch.setattr(message, "_quoted", counting)
    answers = said('<p>See <a href="/about">here</a>.</p>')
    for slug in ("one", "one", "two", "two"):
        mail = written(replace(answers, post=replace(POST, slug=slug)))
        part = mail.get_body(("plain",))
        assert part is not None
        assert "> See here" in part.get_content()
    assert rendered == ["https://rapport.test/posts/one", "https://rapport.test/posts/two"]
