"""Read the characters of XML files in any encoding, without those that XML 1.0 forbids.

Exports of old blogs contain control characters, broken UTF-8 and bare ampersands, which an XML parser must refuse.
Forbidden characters are removed, undecodable bytes become U+FFFD, everything else is kept.
"""

import codecs
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from services.operator.failures import Failed
from services.operator.wordpress.archive import Stream, streams

CHUNK = 256 * 1024
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
DECLARED = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
KNOWN = re.compile(
    r"utf-?(8|16)|us-?ascii|iso-?8859-\d+|latin-?1|(windows-|cp)125\d|koi8-[ru]|gbk|gb2312|gb18030|big5|shift_jis|"
    r"euc-(jp|kr)|mac-?roman|tis-620|cp8\d\d|viscii"
)
FORBIDDEN = dict.fromkeys([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF])
REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]{1,8})|([0-9]{1,8}));")
CUT = re.compile(r"(?:&[#0-9a-zA-Z]{0,31}|<(?:!(?:\[(?:C(?:D(?:A(?:TA?)?)?)?)?)?)?|\]\]?)\Z")  # may go on
CDATA = re.compile(r"(<!\[CDATA\[|\]\]>)")
AMPERSAND = re.compile(r"&(?!(?:#[0-9]+|#x[0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]*);)")  # that begins no reference
STANDALONE = re.compile(r"""\A(<\?xml[^>]*?)\sstandalone\s*=\s*["']\w*["']""")  # would forbid HTML's entities
LONGEST_DECLARATION = 1000


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


def documents(path: Path) -> Iterator[Iterator[bytes]]:
    """Yield the XML documents of a file as pieces of clean UTF-8: one, or those of an archive.

    Raises:
        Failed: the file cannot be read.
    """
    try:
        with closing(streams(path)) as found:
            for stream in found:
                yield _clean(stream)
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror or error}.") from error


def _clean(file: Stream) -> Iterator[bytes]:
    data = file.read(CHUNK)
    decoder = codecs.getincrementaldecoder(encoding_of(data[:512]))(errors="replace")
    text, started, in_cdata = "", False, False
    while True:
        text += decoder.decode(data, final=not data)
        if not started:  # plugins often print blank lines before the XML declaration
            text = STANDALONE.sub(r"\1", text.lstrip("\ufeff \t\r\n"), count=1)
            started = ">" in text or len(text) > LONGEST_DECLARATION or not data
            if not started:
                data = file.read(CHUNK)
                continue
        cut = CUT.search(text) if data else None
        whole, text = (text[: cut.start()], cut[0]) if cut else (text, "")
        cleaned, in_cdata = _allowed(whole, in_cdata=in_cdata)
        yield cleaned
        if not data:
            return
        data = file.read(CHUNK)


def _allowed(text: str, *, in_cdata: bool) -> tuple[bytes, bool]:
    """Return the text as XML may have it, and whether it ends inside a CDATA section."""
    out: list[str] = []
    text = REFERENCE.sub(_reference, text.translate(FORBIDDEN))
    for part in CDATA.split(text):
        if part == "<![CDATA[":
            in_cdata = True
        elif part == "]]>" and in_cdata:
            in_cdata = False
        elif not in_cdata:
            part = "]]&gt;" if part == "]]>" else AMPERSAND.sub("&amp;", part)
        out.append(part)
    return "".join(out).encode(), in_cdata


def _reference(match: re.Match[str]) -> str:
    """Keep a character reference, unless XML forbids the character."""
    code = int(match[1], 16) if match[1] else int(match[2])
    return "" if code in FORBIDDEN or code > 0x10FFFF else match[0]
