"""Read the characters of an XML file in any encoding, without those that XML 1.0 forbids.

Exports of old blogs contain control characters and broken UTF-8, which an XML parser must refuse. Forbidden characters
are removed, undecodable bytes become U+FFFD, everything else is kept.
"""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from services.operator.failures import Failed

CHUNK = 256 * 1024
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
DECLARED = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
KNOWN = re.compile(
    r"utf-?(8|16)|us-?ascii|iso-?8859-\d+|latin-?1|(windows-|cp)125\d|koi8-[ru]|gbk|gb2312|gb18030|big5|shift_jis|"
    r"euc-(jp|kr)"
)
FORBIDDEN = dict.fromkeys([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF])
REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]{1,8})|([0-9]{1,8}));")
CUT_REFERENCE = re.compile(r"&[#0-9a-zA-Z]{0,12}\Z")


def encoding_of(start: bytes) -> str:
    """Return the encoding: by its byte order mark or the XML declaration, else UTF-8.

    Raises:
        Failed: it declares an unknown encoding.
    """
    for mark, name in MARKS:
        if start.startswith(mark):
            return name
    declared = DECLARED.match(start.lstrip())
    name = declared[1].decode().lower() if declared else "utf-8"
    if not KNOWN.fullmatch(name):
        raise Failed(f"The file declares the encoding {name!r}, which is unknown.")
    return name if not name.startswith("utf") else "utf-8"


def characters(path: Path) -> Iterator[bytes]:
    """Yield the file in pieces of clean UTF-8.

    Raises:
        Failed: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield from _clean(file)
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}.") from error


def _clean(file: BinaryIO) -> Iterator[bytes]:
    data = file.read(CHUNK)
    decoder = codecs.getincrementaldecoder(encoding_of(data[:512]))(errors="replace")
    held, started = "", False
    while data:
        text = held + decoder.decode(data)
        if not started:  # plugins often print blank lines before the XML declaration
            text = text.lstrip("\ufeff \t\r\n")
            started = bool(text)
        cut = CUT_REFERENCE.search(text)
        text, held = (text[: cut.start()], cut[0]) if cut else (text, "")
        yield _allowed(text)
        data = file.read(CHUNK)
    yield _allowed(held + decoder.decode(b"", final=True))


def _allowed(text: str) -> bytes:
    return REFERENCE.sub(_reference, text.translate(FORBIDDEN)).encode()


def _reference(match: re.Match[str]) -> str:
    """Keep a character reference, unless XML forbids the character."""
    code = int(match[1], 16) if match[1] else int(match[2])
    return "" if code in FORBIDDEN or code > 0x10FFFF else match[0]
