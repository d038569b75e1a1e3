"""The sign-in mail: one link, one code, and no text of a user."""

import secrets
from datetime import UTC, datetime
from html import escape
from string import Template

from services.chassis.mail import html_page, message
from services.chassis.mail.sender import Sender
from services.contracts.characters import isolated
from services.contracts.faces import letter
from services.contracts.people import LINK_LIFE_WORDS
from services.people.tokens import Tokens

SUBJECT = "Sign in to {site}"
TEXT = """\
Open this link and press the button to sign in to {site}:

{link}

{code}It works once, within {life}.

Somebody asked for it with this address. If that was not you, ignore this mail: without the link nothing happens.
"""
CODE = "Or type the code {code} where you asked for it, and nowhere else."
BODY = """\
<p>Open this page and press the button there to sign in to <bdi>$site</bdi>:</p>
<p><a class="button" href="$link">Open the page</a></p>
{digits}<p>Its address works once, within $life. If the button does nothing, copy it: <bdi>$link</bdi></p>
<p class="foot">Somebody asked for it with this address. If that was not you, ignore this mail: without the link nothing
happens.</p>
"""
DIGITS = """\
<p>Or type this code where you asked for it, and nowhere else:</p>
<p class="digits">$code</p>
"""


class SignInMessageBuilder:
    """Builds sign-in messages.

    Args:
        public_url: where people reach the site.
        tokens: makes the code.
    """

    def __init__(self, *, sender: Sender, public_url: str, tokens: Tokens) -> None:
        self.sender = sender.address
        self._site, self._domain = sender.site, sender.domain
        self._public_url = public_url.rstrip("/")
        self._tokens = tokens
        self._html, self._html_without_code = (
            Template(
                html_page.template(
                    "Sign in to $site", BODY.format(digits=digits), site="$site", mark="$mark", hue=sender.hue
                )
            )
            for digits in (DIGITS, "")
        )

    def build(self, mailbox: str, token: str, public_id: str | None) -> bytes:
        """Build the whole message, with a new Message-ID, because each link is new.

        Args:
            public_id: the request's; without one there is no code.

        Raises:
            Unsafe: the message would not contain what was meant.
        """
        link = f"{self._public_url}/sign-in/{token}"
        code = "" if public_id is None else self._tokens.code(public_id)
        return message.compose(
            sender=message.Mailbox(self.sender, self._site),
            recipient=message.Mailbox(mailbox),
            subject=SUBJECT.format(site=isolated(self._site)),
            message_id=f"<sign-in.{secrets.token_hex(16)}@{self._domain}>",
            date=datetime.now(UTC),
            text=TEXT.format(
                site=isolated(self._site),
                link=link,
                life=LINK_LIFE_WORDS,
                code=code and CODE.format(code=code) + "\n\n",
            ),
            html=(self._html if code else self._html_without_code).substitute(
                site=escape(self._site),
                link=escape(link),
                life=LINK_LIFE_WORDS,
                code=code,
                mark=escape(letter(self._site)),
            ),
            headers=[("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "All")],
        )
