"""Quote a comment in the form of a reply to it."""

from services.chassis.text.html_to_text import plain
from services.contracts.shortening import beginning

MOST = 1_000  # characters of a quotation; a reply has 10,000
READ = 4 * MOST  # of a text, so that what is not quoted of a long one is not read


def quotation(html: str) -> str:
    """Return what somebody wrote as a Markdown quotation, without what they quoted themselves, and room to answer."""
    lines = plain(html, most=READ).splitlines()
    own = [line for line in lines if not line.startswith(">")]
    text = "\n".join(own if any(line.strip() for line in own) else lines).strip()
    if len(text) > MOST:
        text = beginning(text, MOST).rpartition(" ")[0].rstrip() or beginning(text, MOST)
        text += " …"
    return "".join(f"> {line}".rstrip() + "\n" for line in text.split("\n")) + "\n"
