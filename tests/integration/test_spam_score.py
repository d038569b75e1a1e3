"""What SpamAssassin's local rules say of our mails. A word in a template can cost a point."""

import re
import subprocess
from email import message_from_bytes, policy
from shutil import which

import pytest

from tests.sample_mails import notification, sign_in

SPAMASSASSIN = which("spamassassin")
pytestmark = pytest.mark.skipif(SPAMASSASSIN is None, reason="needs SpamAssassin: apt install spamassassin")

MOST = 0.5
RULE = re.compile(r"^ *(-?\d+\.\d) ([A-Z]\w+) ", re.MULTILINE)


def as_text(content: bytes) -> bytes:
    """Return the mail with its text part alone, as some gateways pass it on."""
    mail = message_from_bytes(content, policy=policy.SMTP)
    part = mail.get_body(("plain",))
    assert part is not None
    text = part.get_content()
    mail.clear_content()
    mail.set_content(text)
    return mail.as_bytes()


MAILS = {
    "typical": notification(),
    "short": notification("Thanks!"),
    "reason": notification(reason="on_your_post"),
    "hebrew": notification("שלום, תודה!", name="דנה כהן", title="כותרת"),
    "japanese": notification("ありがとうございます。", name="林 太郎", title="手紙について"),
    "long": notification("A sentence of some words. " * 300, name="n" * 100),
    "table": notification("| a | b |\n|---|---|\n| 1 | 2 |\n\n- [x] done\n\n```\ncode\n```"),
    "image": notification("![a cat](https://example.org/cat.png)"),
    "sign-in": sign_in(),
}


@pytest.mark.parametrize("name", MAILS)
@pytest.mark.parametrize("is_text", [False, True])
def test_a_mail_is_not_taken_for_spam(name: str, is_text: bool) -> None:
    content = as_text(MAILS[name]) if is_text else MAILS[name]
    found = subprocess.run([str(SPAMASSASSIN), "-L", "-t"], input=content, capture_output=True, check=True, timeout=100)
    report = found.stdout.decode("utf-8", "replace").rpartition("Content analysis details:")[2]
    score = re.search(r"(-?\d+\.\d) points", report)
    assert score is not None, found.stderr
    rules = RULE.findall(report)
    print(name, "text" if is_text else "multipart", score[1], rules)
    assert float(score[1]) <= MOST, rules
