"""Messages that contain exactly what was meant, whatever stands in the strings they are made from.

The header block is written here, line by line, because Python 3.11's own serialiser lets an encoded word in a subject
or a display name become a header (CVE-2024-6923) and breaks long URLs into encoded words. The body is
quoted-printable. The result is read again and compared before it may be sent, by Python's parser too where it holds
anything but printable ASCII without encoded words.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.errors import MultipartInvariantViolationDefect
from email.parser import HeaderParser
from email.utils import format_datetime
from functools import lru_cache

from services.chassis.mail.addresses import DOMAIN, LOCAL_PART, envelope_address
from services.contracts.characters import LINE_BREAKS, without_unwanted
from services.contracts.normal_form import nfc
from services.contracts.shortening import shortened

LONGEST_SUBJECT = 250
LONGEST_NAME = 150
LONGEST_LINE = 998  # RFC 5322, 2.1.1
FOLD_AT = 76
ENCODED_BYTES = 45  # so that an encoded word has 72 characters (RFC 2047, 2: at most 75)

BODY_CONTROLS = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
PLAIN_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 .'_-]{0,40}[A-Za-z0-9.'_-])?\Z")
TO_ESCAPE = re.compile(r'["\\]')  # what needs a backslash in a quoted string (RFC 5322, 3.2.4)
# An address alone, or behind a quoted name without `@`, `<` and `>`, or behind words of base64: even to a parser that
# knows no quoting there is one address.
ENCODED_WORD = r"=\?utf-8\?b\?[A-Za-z0-9+/]+={0,2}\?="
ONE_MAILBOX = re.compile(
    rf"""(?P<name>(?:"(?:[ !#-;=?A-\[\]-~]|\\[\\"])+"|{ENCODED_WORD}(?: {ENCODED_WORD})*) <)?"""
    rf"(?P<address>{LOCAL_PART}@{DOMAIN})(?(name)>)\Z"
)
HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}\Z")
HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=^_`{|}~.-]+@[A-Za-z0-9.-]+>\Z")
HEAD_END = "</head>\n"
NOT_PRINTABLE = re.compile(rb"[^\x20-\x7e]")
OWN_HEADERS = ("From", "To", "Subject", "Message-ID", "Date")
MIME_HEADERS = {"mime-version", "content-type", "content-transfer-encoding"}
HEADERS = HeaderParser(policy=policy.compat32)
# What may appear only once (RFC 5322, 3.6) or says who gets the mail; never given from outside.
RESERVED = {*(name.lower() for name in OWN_HEADERS), *MIME_HEADERS, "cc", "bcc", "sender", "return-path"}


class Unsafe(ValueError):
    """The message would not contain what was meant. It must not be sent."""


@dataclass(frozen=True)
class Mailbox:
    """An address and the name of its owner (may be empty)."""

    address: str
    name: str = ""


def compose(
    *,
    sender: Mailbox,
    recipient: Mailbox,
    subject: str,
    message_id: str,
    date: datetime,
    text: str,
    html: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Compose one message to one recipient, ready for `Smtp.dialogue`: 7-bit, CRLF, lines of at most 998 characters.

    Args:
        subject: any string; characters that a subject cannot hold are removed, and it is cut at 250 code points. In it
            and in the bodies stay the pairs that `isolated` has put around names and titles.
        message_id: with its angle brackets.
        headers: more headers in order, such as `In-Reply-To`; their values are printable ASCII.

    Raises:
        Unsafe: an address, id or header is not what it must be, or the result does not read as it was meant.
    """
    try:
        to, by = envelope_address(recipient.address), envelope_address(sender.address)
    except ValueError as error:
        raise Unsafe(str(error)) from None
    if not MESSAGE_ID.match(message_id) or not (to + by).isascii():
        raise Unsafe("the Message-ID is malformed, or an address needs SMTPUTF8")
    shown = _line(subject, LONGEST_SUBJECT, keep_isolates=True) or "(no subject)"
    fields = [
        ("From", _mailbox(sender.name, by)),
        ("To", _mailbox(recipient.name, to)),
        ("Subject", _words(shown)),
        ("Message-ID", message_id),
        ("Date", _date(date.replace(microsecond=0))),
        *headers,
    ]
    taken = set(RESERVED)
    for name, value in headers:
        if not HEADER_NAME.match(name) or name.lower() in taken or not HEADER_VALUE.match(value) or "=?" in value:
            raise Unsafe(f"the header {name!r} is not a plain one")
        taken.add(name.lower())
    mime, body = _body(text, html, message_id)
    fields += mime
    message = _lines(fields).encode("ascii") + b"\r\n" + body
    _compare(message, fields, by, to, shown)
    return message


_date = lru_cache(maxsize=4)(format_datetime)


def header_text(text: str, longest: int = LONGEST_SUBJECT) -> str:
    """Return one line that is safe in a header: no controls or encoded words, at most `longest` code points."""
    return _line(text, longest)


def list_id(name: str, identifier: str) -> str:
    """Return the value of List-Id (RFC 2919). The name is optional: it is left out when it would need encoding."""
    return f'"{name}" <{identifier}>' if PLAIN_NAME.match(name) else f"<{identifier}>"


def _line(text: str, longest: int, *, keep_isolates: bool = False) -> str:
    text = without_unwanted(LINE_BREAKS.sub(" ", text), keep_isolates=keep_isolates)
    text = nfc(text)
    return shortened(" ".join(text.replace("=?", "= ?").replace("?=", "? =").split()), longest)


def _mailbox(name: str, address: str) -> str:
    """Return a mailbox whose name does not look like an address and is one token to the simplest parser."""
    shown = _line(name.replace("@", "＠").replace("<", "").replace(">", ""), LONGEST_NAME)
    if not shown:
        return address
    if shown.isascii():
        escaped = TO_ESCAPE.sub(r"\\\g<0>", shown)
        return f'"{escaped}" <{address}>'
    return f"{_encoded(shown)} <{address}>"


def _words(text: str) -> str:
    return text if text.isascii() else _encoded(text)


def _encoded(text: str) -> str:
    """Return encoded words (RFC 2047), none of which splits a character."""
    words, chunk = [], b""
    for character in text:
        raw = character.encode()
        if len(chunk) + len(raw) > ENCODED_BYTES:
            words.append(chunk)
            chunk = b""
        chunk += raw
    return " ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in [*words, chunk])


def _fold(name: str, value: str) -> str:
    """Return the header's lines; they are broken at spaces only, and never in the quoted name of a mailbox.

    There it is allowed (RFC 5322, 3.2.4), but the older parser of Python's library ends the name at the break.
    """
    if len(name) + 2 + len(value) <= FOLD_AT:
        return f"{name}: {value}\r\n"
    lines, line = [], f"{name}:"
    for word in value.rsplit(" ", 1) if value.startswith('"') and value.endswith(">") else value.split(" "):
        if len(line) + 1 + len(word) > FOLD_AT and line.strip() and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    lines.append(line)
    if max(map(len, lines)) > LONGEST_LINE:
        raise Unsafe(f"the header {name} has a word that is too long for a line")
    return "\r\n".join(lines) + "\r\n"


def _body(text: str, html: str | None, message_id: str) -> tuple[list[tuple[str, str]], bytes]:
    """Return the MIME headers and the body: text alone, or text and HTML as alternatives."""
    version = ("MIME-Version", "1.0")
    if html is None:
        return [version, *_part_headers("plain")], _quoted_printable(text)
    # `=_` never occurs in quoted-printable, so no text can hold the boundary.
    boundary = "=_" + hashlib.sha256(message_id.encode()).hexdigest()[:32]
    body = b"".join(
        f"--{boundary}\r\n{_lines(_part_headers(subtype))}\r\n".encode() + _quoted_printable(content) + b"\r\n"
        for subtype, content in (("plain", text), ("html", html))
    )
    kind = f'multipart/alternative; boundary="{boundary}"'
    return [version, ("Content-Type", kind)], body + f"--{boundary}--\r\n".encode()


def _part_headers(subtype: str) -> list[tuple[str, str]]:
    return [("Content-Type", f"text/{subtype}; charset=utf-8"), ("Content-Transfer-Encoding", "quoted-printable")]


def _lines(fields: Sequence[tuple[str, str]]) -> str:
    return "".join(_fold(name, value) for name, value in fields)


def _quoted_printable(text: str) -> bytes:
    """Encode a body line by line; the head of a page, which is the same in many mails, once for all of them."""
    head, end, body = text.partition(HEAD_END)
    return _encoded_head(head + end) + _encoded_lines(body) if body else _encoded_lines(text)


@lru_cache(maxsize=64)
def _encoded_head(head: str) -> bytes:
    return _encoded_lines(head)


def _encoded_lines(text: str) -> bytes:
    plain = _paragraphs(text).replace("\n", "\r\n").encode()
    return binascii.b2a_qp(plain if plain.endswith(b"\r\n") else plain + b"\r\n")


def _paragraphs(text: str) -> str:
    text = BODY_CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return without_unwanted(text, keep_isolates=True)


def _compare(message: bytes, fields: list[tuple[str, str]], by: str, to: str, subject: str) -> None:
    """Parse the bytes as a recipient would, and compare.

    Raises:
        Unsafe: anything is not as it was meant.
    """
    head = message.partition(b"\r\n\r\n")[0]
    unfolded = re.sub(rb"\r\n[ \t]", b" ", head)
    if b"\r" in unfolded.replace(b"\r\n", b"") or b"\n" in unfolded.replace(b"\r\n", b"") or not message.isascii():
        raise Unsafe("there is a bare line break among the headers, or more than ASCII in the message")
    if unfolded.decode().split("\r\n") != [f"{name}: {value}" for name, value in fields]:
        raise Unsafe("the lines are not the headers that were meant")
    if any(not line.strip() for line in head.split(b"\r\n")) or max(map(len, message.split(b"\r\n"))) > LONGEST_LINE:
        raise Unsafe("a header's line is empty, or some line is too long")
    lines = unfolded.replace(b"\r\n", b"")
    is_plain = b"=?" not in lines and not NOT_PRINTABLE.search(lines)
    values = dict(fields)
    if is_plain and (_only_mailbox(values["From"]), _only_mailbox(values["To"])) == (by, to):
        return  # printable ASCII without encoded words: every parser finds the lines that were compared above
    parsed = HEADERS.parsestr(head.decode() + "\r\n\r\n")
    # Python 3.11.2 calls it a defect that a multipart message read without its body has no parts
    defects = [each for each in parsed.defects if not isinstance(each, MultipartInvariantViolationDefect)]
    if parsed.keys() != [name for name, _ in fields] or defects:
        raise Unsafe("the headers do not parse as they were meant")
    for name, address in (("From", by), ("To", to)):
        value = "".join(parsed[name].splitlines())
        if _only_mailbox(value) != address and not _parses_as_mailbox(name, value, address):
            raise Unsafe(f"{name} does not parse as it was meant")
    shown = "".join(parsed["Subject"].splitlines())
    if (shown if "=?" not in shown else policy.default.header_factory("Subject", shown)) != subject:
        raise Unsafe("the subject does not parse as it was meant")


def _only_mailbox(value: str) -> str | None:
    """Return the address in a value of a form that every parser reads alike; None for any other form."""
    match = ONE_MAILBOX.match(value)
    return match["address"] if match else None


def _parses_as_mailbox(name: str, value: str, address: str) -> bool:
    parsed = policy.default.header_factory(name, value)
    return [box.addr_spec for box in parsed.addresses] == [address] and not parsed.defects
